//! The programs' error messages: what is wrong, the value, and what to do; with `--json` as JSON.

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::world::{AGENT, RELAY, SOON, World, eventually, own_address};

/// Runs a program to its end, without environment variables that it reads.
fn run(program: &str, line: &str) -> Output {
    let mut command = std::process::Command::new(program);
    command.args(line.split_whitespace()).stdin(Stdio::null());
    for name in ["STREAM_PLATFORM", "STREAM_API_KEY_FILE", "STREAM_CA_FILE"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// The one error of a command with `--json`.
fn as_json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    let error: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    assert_eq!(error["code"].as_i64().map(|code| code as i32), output.status.code(), "{error}");
    error
}

/// Every command of both programs reports every kind of mistake as one line of JSON.
#[test]
fn errors_are_json_where_json_was_asked_for() {
    let world = World::new();
    let grant = world.path("grant");
    std::fs::write(&grant, "no grant").unwrap();
    let url = world.path("url");
    std::fs::write(&url, "no url").unwrap();
    let (grant, url) = (grant.display(), url.display());
    for (program, line, code, kind, words) in [
        (RELAY, "--json", 64, "usage", "a command is needed"),
        (RELAY, "--json nonsense", 64, "usage", "unrecognized subcommand 'nonsense'"),
        (RELAY, "--json serve", 64, "usage", "serve prints no results"),
        (RELAY, "check-config --json --config /nowhere/x.toml", 78, "configuration", "/nowhere/x.toml"),
        (RELAY, "check-config --configured --json", 64, "usage", "--configured"),
        (RELAY, "check-config --jsn --json", 64, "usage", "'--jsn'"),
        (RELAY, "keygen --json", 64, "usage", "requires a subcommand"),
        (RELAY, "keygen issuer --json --kid ../x", 64, "usage", "../x"),
        (RELAY, "keygen issuer --json --out /nowhere", 74, "io", "/nowhere/platform.pem"),
        (RELAY, "keygen api-key --json --name", 64, "usage", "--name <NAME>"),
        (RELAY, "keygen relay-key --json --host a.b", 64, "usage", "a.b"),
        (RELAY, "grant --json inspect /nowhere/grant", 65, "data", "/nowhere/grant"),
        (RELAY, &format!("--json grant inspect {grant}"), 65, "data", "not a grant"),
        (RELAY, "open --json", 64, "usage", "<HOST>"),
        (RELAY, "open --json h1 t", 64, "usage", "--platform"),
        (RELAY, "open --json h1 t --listen 5901", 64, "usage", "5901"),
        (RELAY, "open --json h1 t --config x", 64, "usage", "--config"),
        (RELAY, "open --json --stdio --url-file /nowhere/url", 65, "data", "/nowhere/url"),
        (RELAY, &format!("open --json --stdio --url-file {url}"), 65, "data", "expected a URL"),
        (AGENT, "--json", 64, "usage", "a command is needed"),
        (AGENT, "--json run", 64, "usage", "run prints no results"),
        (AGENT, "--json check-config --config /nowhere/x.toml", 78, "configuration", "/nowhere/x.toml"),
        (AGENT, "check-config --json --target", 64, "usage", "'--target'"),
        (AGENT, "targets --json --config /nowhere/x.toml", 78, "configuration", "/nowhere/x.toml"),
        (AGENT, "targets --json --systemd-dropin", 64, "usage", "--systemd-dropin"),
        (AGENT, "targets --json --log-level info", 64, "usage", "targets writes no log"),
        (AGENT, "test-dial --json --config /nowhere/x.toml", 78, "configuration", "failed"),
        (AGENT, "test-dial --json --target", 64, "usage", "--target <NAME>"),
    ] {
        let error = as_json(&run(program, line));
        assert_eq!(
            (error["code"].as_u64(), error["kind"].as_str()),
            (Some(code), Some(kind)),
            "{line}: {error}"
        );
        assert!(error["error"].as_str().unwrap().contains(words), "{line}: {error}");
    }
}

/// A command neither shows nor accepts options that it does not use.
#[test]
fn a_command_shows_only_what_it_understands() {
    for (program, line, options) in [
        (RELAY, "open h1 t", &["--config", "--log-level"][..]),
        (RELAY, "keygen issuer", &["--config", "--log-level"]),
        (RELAY, "grant inspect file", &["--config", "--log-level"]),
        (RELAY, "check-config", &["--log-level"]),
        (RELAY, "serve", &["--json"]),
        (AGENT, "run", &["--json"]),
        (AGENT, "targets", &["--log-level"]),
    ] {
        let help = String::from_utf8(run(program, &format!("{line} --help")).stdout).unwrap();
        assert!(help.contains("Usage:"), "{help}");
        for option in options {
            assert!(!help.contains(option), "{line}: {help}");
            let value = if *option == "--json" { "" } else { "x" };
            let refused = run(program, &format!("{option} {value} {line}"));
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(64), "{line}: {said}");
            assert!(said.contains(&format!("leave {option} out")), "{line}: {said}");
        }
    }
}

/// The version may name the commit, and nothing else.
#[test]
fn the_version_is_that_of_the_package() {
    for (program, name) in [(RELAY, "stream-relay"), (AGENT, "stream-agent")] {
        let said = String::from_utf8(run(program, "--version").stdout).unwrap();
        let rest = said.trim_end().strip_prefix(&format!("{name} {}", env!("CARGO_PKG_VERSION")));
        let commit = rest.unwrap().strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
        assert!(rest == Some("") || commit.is_some_and(|commit| !commit.is_empty()), "{said}");
    }
}

const TARGETS: &str = "
[target.shell]
kind = 'exec'
argv = ['/bin/cat']
[target.log]
kind = 'file'
path = 'DIR/a.log'
[target.dead]
kind = 'tcp'
address = '127.0.0.1:1'
";

/// The exit code and standard error of `open` with these arguments; `DIR` is the world's folder.
async fn open(world: &World, line: &str) -> (i32, String) {
    let line = line.replace("DIR", &world.dir.path().display().to_string());
    let args: Vec<&str> = line.split('|').filter(|word| !word.is_empty()).collect();
    let mut command = world.open_command(&args);
    let output = timeout(SOON, command.stdin(Stdio::null()).output()).await.unwrap().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Each line has arguments separated by `|`, the exit code, and parts of the message.
async fn says(world: &World, table: &[(&str, i32, &[&str])]) {
    for (line, code, words) in table {
        let (ended, said) = open(world, line).await;
        assert_eq!(ended, *code, "{line}: {said}");
        for word in *words {
            assert!(said.contains(&word.replace("IP", &world.ip)), "{line}: no {word:?} in {said:?}");
        }
    }
}

/// A proxy that redirects clients without TLS.
async fn redirecting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") && stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
            let location = "https://relay.example.com/api/v1/sessions";
            let answer = format!("HTTP/1.1 301 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn open_says_what_is_wrong_and_what_to_do() {
    let mut world = World::new();
    let key: Value = serde_json::from_str(&world.run(RELAY, &["--json", "keygen", "api-key"])).unwrap();
    world.secret("few.key", key["secret"].as_str().unwrap());
    world.key_config = format!(
        "users = ['*']\n[[platform.api_key]]\nname = 'few'\nsha256 = '{}'\nhosts = ['h1']\ntargets = ['shell']\n",
        key["sha256"].as_str().unwrap()
    );
    std::fs::write(world.path("a.log"), "line\n").unwrap();
    world.targets = TARGETS.into();
    world.start().await;
    let own = std::fs::read_to_string(world.path("api.key")).unwrap();
    for (name, text) in [
        ("wrong.key", "stream_wrong\n"),
        ("empty.key", ""),
        ("words.key", "two words\n"),
        ("bom.key", &format!("\u{feff}{own}")),
        ("json.key", "{\"secret\":\"x\"}\n"),
    ] {
        world.secret(name, text);
    }
    world.secret("used.url", &world.url("shell").await);
    assert_eq!(open(&world, "--stdio|--url-file|DIR/used.url").await, (0, String::new()));
    let url = world.url("shell").await;
    world.secret("short.url", url.strip_suffix(url.chars().last().unwrap()).unwrap());
    world.secret("other.url", &format!("{}/elsewhere", world.relay_url()));
    world.secret("garbage.url", "my secret\n");
    let elsewhere = redirecting().await;
    let (plain, nats) = (format!("http://{}:8080", world.ip), format!("http://{}:4222", world.ip));
    let wrong = |rest: &str| format!("h1|shell|--platform|{rest}");

    says(
        &world,
        &[
            // Keys.
            (
                "h1|shell|--api-key-file|DIR/wrong.key",
                77,
                &["http://IP:8080 does not know the key in", "wrong.key"],
            ),
            ("h1|shell|--api-key-file|DIR/empty.key", 78, &["empty.key is empty"]),
            ("h1|shell|--api-key-file|DIR/words.key", 78, &["words.key does not hold an API key"]),
            ("h1|shell|--api-key-file|DIR/bom.key", 78, &["bom.key begins with a byte order mark"]),
            ("h1|shell|--api-key-file|DIR/json.key", 78, &["json.key holds JSON", "jq -j .secret"]),
            ("h1|shell|--api-key-file|/", 78, &["Is a directory"]),
            // URLs.
            ("--stdio|--url-file|DIR/used.url", 69, &["(4404)", "used before, or is older than 60 s"]),
            ("--stdio|--url-file|DIR/short.url", 77, &["(4401)", "copy all of it"]),
            ("--stdio|--url-file|DIR/other.url", 69, &["is the URL whole?"]),
            (
                "--stdio|--url-file|DIR/garbage.url",
                65,
                &["garbage.url: its first line is several words", "expected a URL"],
            ),
            // Targets and hosts: similar names, and all names that the key may open.
            (
                "h1|shel",
                77,
                &["no such target on h1: shel; did you mean shell?", "may open dead, log, shell"],
            ),
            ("h1|shel|--stdio", 77, &["did you mean shell?"]),
            (
                "h1|other|--listen|127.0.0.1:0",
                77,
                &["no such target on h1: other", "may open dead, log, shell"],
            ),
            (
                "h1|log|--api-key-file|DIR/few.key",
                77,
                &["no such target on h1: log; this key may open shell\n"],
            ),
            (
                "h2|shell|--api-key-file|DIR/few.key",
                77,
                &["this key may not open the host h2; did you mean h1?"],
            ),
            ("h2|shell", 69, &["no agent answers", "(host_offline)"]),
            (
                "h1.example.com|shell",
                65,
                &["\"h1.example.com\" is not a host id", "no dots", "may be h1_example_com"],
            ),
            ("h 1|shell|--listen|127.0.0.1:0", 65, &["\"h 1\" is not a host id"]),
            // The platform's address.
            (
                &wrong(&format!("http://{}", elsewhere)),
                69,
                &["leads to https://relay.example.com: write that"],
            ),
            (&wrong(&plain.replace("http", "https")), 69, &["does not speak TLS: write http://IP:8080"]),
            (&wrong(&nats), 69, &["no platform answers there"]),
            (
                &wrong(&format!("{plain}/api/v1")),
                69,
                &["what stands before /api/v1/, such as http://IP:8080"],
            ),
            (&wrong(&plain.replace("http", "ws")), 64, &["write http://IP:8080"]),
            (&wrong("relay.example.com"), 64, &["write https://relay.example.com"]),
            (&wrong(&plain.replace(":8080", ":8081")), 69, &["no platform answers at http://IP:8081"]),
            (&wrong(&plain.replace(":8080", ":1")), 69, &["connect to IP:1", "does stream-relay run?"]),
            // Errors that only opening the target shows.
            ("h1|dead|--stdio", 69, &["(4502); the host's log says why: look for session 0"]),
            ("h1|shell|--max-seconds|0", 64, &["expected 1 or more"]),
            ("h1|shell|--listen|5901", 64, &["write \"127.0.0.1:5901\""]),
            (
                &format!("h1|shell|--listen|{}:8080", world.ip),
                69,
                &["already in use", "port 0 takes a free one"],
            ),
        ],
    )
    .await;

    let (_, said) = open(&world, "--json|h1|dead|--stdio").await;
    let error: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((error["kind"].as_str(), error["close"].as_u64()), (Some("target_failed"), Some(4502)));
    let session = error["session"].as_str().unwrap();
    world.agent().says(session).await;
    let (_, said) = open(&world, "--json|h1|shel").await;
    let error: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((error["kind"].as_str(), error["code"].as_u64()), (Some("target_not_allowed"), Some(77)));

    // Programs that call the platform's API get the same messages.
    for (body, words) in [
        (json!({ "host": "h1.x", "target": "shell" }), "host: \"h1.x\" is not a host id"),
        (json!({ "host": "h1", "target": "shell", "max_seconds": 0 }), "max_seconds is 0"),
        (json!({ "host": "h1", "target": "shell", "max_streams": 0 }), "max_streams is 0"),
        (json!({ "host": "h1", "target": "shell", "max_second": 1 }), "unknown field `max_second`"),
        (json!({ "host": "h1", "target": 1 }), "target: invalid type: integer `1`, expected a string"),
        (json!(1), "invalid type"),
    ] {
        let (status, answer) = world.api("POST", "/api/v1/sessions", body).await;
        let message = answer["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(words) && !message.contains("column"), "{answer}");
        assert_eq!(
            ["max_seconds", "max_streams"].iter().all(|name| message.contains(name)),
            message.contains("expected one of"),
            "{answer}"
        );
    }
}

/// A certificate for the world's address, signed by `issuer` or by itself; `extension` is its only one besides the name.
fn certificate(world: &World, name: &str, extension: &str, issuer: Option<&str>) {
    let path = |name: &str| world.path(name).display().to_string();
    let (key, crt) = (path(&format!("{name}.key")), path(&format!("{name}.crt")));
    let (subject, san) = (format!("/CN={name}"), format!("subjectAltName=IP:{}", world.ip));
    let mut args = vec!["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", &subject, "-days", "2"];
    args.extend(["-addext", &san, "-addext", extension, "-keyout", &key, "-out", &crt]);
    let signer = issuer.map(|issuer| (path(&format!("{issuer}.crt")), path(&format!("{issuer}.key"))));
    if let Some((crt, key)) = &signer {
        args.extend(["-CA", crt, "-CAkey", key]);
    }
    world.run("openssl", &args);
}

#[tokio::test]
async fn certificates_are_refused_in_plain_words() {
    let (of_server, of_authority) =
        ("basicConstraints=critical,CA:FALSE", "basicConstraints=critical,CA:TRUE");
    let mut world = World::new();
    world.tls = true;
    certificate(&world, "our-ca", of_authority, None);
    certificate(&world, "leaf", of_server, Some("our-ca"));
    certificate(&world, "alone", of_server, None);
    certificate(&world, "both", of_authority, None);
    let shows = |world: &World, name: &str| {
        std::fs::copy(world.path(&format!("{name}.crt")), world.path("relay/tls.crt")).unwrap();
        let key = std::fs::read_to_string(world.path(&format!("{name}.key"))).unwrap();
        world.secret("relay/tls.key", &key);
    };
    shows(&world, "leaf");
    world.relay_config = "# no platform\n".into();
    world.start_relay().await;
    let shown = "https://IP:8080".replace("IP", &world.ip);
    let open = |ca: &str| format!("h1|t|--platform|{shown}|--ca-file|DIR/{ca}.crt");
    let plain = format!("h1|t|--platform|http://{}:8080|--ca-file|DIR/our-ca.crt", world.ip);
    says(
        &world,
        &[
            (&plain, 69, &["this port speaks TLS: write https://IP:8080"]),
            (
                &open("alone"),
                69,
                &["CN=leaf, was issued by CN=our-ca, which is not trusted here", "--ca-file names"],
            ),
            // Trusted, and only a relay.
            (
                &open("our-ca"),
                69,
                &["no platform answers at https://IP:8080", "no [platform] in its configuration"],
            ),
        ],
    )
    .await;
    for (name, words) in [
        ("alone", "CN=alone, is self-signed and not trusted here"),
        ("both", "CN=both, is marked as an authority's own (CA:TRUE)"),
    ] {
        shows(&world, name);
        let before = world.relay().said().matches("configuration reloaded").count();
        world.relay().signal(Signal::SIGHUP);
        let reloaded = || world.relay().said().matches("configuration reloaded").count() > before;
        eventually(reloaded, || "no reload".into()).await;
        says(&world, &[(&open("our-ca"), 69, &[words])]).await;
    }
}

#[tokio::test]
async fn a_platform_without_nats_says_since_when_and_why_and_stops_at_once() {
    let mut world = World::new();
    world.start_nats().await;
    world.start_relay().await;
    world.nats.take().unwrap().kill().await;
    world.relay().says("platform: NATS: ").await;
    let words = ["no connection to NATS at IP:4222 since 2", "Z: NATS: ", "(unavailable)"];
    let deadline = Instant::now() + SOON;
    loop {
        // The first attempt after the loss has the reason.
        let (code, said) = open(&world, "h1|shell").await;
        if words.iter().all(|word| said.contains(&word.replace("IP", &world.ip))) {
            assert_eq!(code, 69, "{said}");
            break;
        }
        assert!(Instant::now() < deadline, "{said}");
    }
    let mut relay = world.relay.take().unwrap();
    relay.signal(Signal::SIGINT);
    assert_eq!(relay.ended().await, 0);
    let (_, last_words) =
        relay.said().split_once("SIGINT").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(last_words.contains("stopped") && !last_words.contains("WARN"), "{last_words}");
    // The advice is about the relay, not about a command of the host.
    assert!(relay.said().contains("check servers in [platform.nats]"), "{}", relay.said());
    assert!(!relay.said().contains("test-dial"), "{}", relay.said());
}

#[tokio::test]
async fn a_second_relay_says_which_key_names_the_address_that_is_taken() {
    let mut world = World::new();
    world.relay_config = "# no platform\n".into();
    world.start_relay().await;
    let config = std::fs::read_to_string(world.path("relay/config.toml")).unwrap();
    let other = own_address();
    for (from, to, words) in [
        ("nothing", "", "`listen`: cannot listen at IP:8080"),
        ("IP:8080'", "OTHER:8080'", "`admin`: cannot listen at IP:8081"),
    ] {
        let config = config.replace(&from.replace("IP", &world.ip), &to.replace("OTHER", &other));
        let file = world.path("relay/second.toml");
        std::fs::write(&file, config).unwrap();
        let second = run(RELAY, &format!("serve --config {}", file.display()));
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(69), "{said}");
        assert!(said.contains(&words.replace("IP", &world.ip)) && said.contains("second relay"), "{said}");
    }
}
