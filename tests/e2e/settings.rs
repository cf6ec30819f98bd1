//! Configuration: reloads, mistakes, logins, encryption, proxies, and secrets that must not appear in a log.

use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::world::{AGENT, Client, RELAY, World};

const TWO: &str =
    "[target.one]\nkind = 'exec'\nargv = ['/bin/cat']\n[target.two]\nkind = 'exec'\nargv = ['/bin/cat']\n";

async fn echoes(client: &mut Client, text: &str) {
    client.send(text.as_bytes().to_vec()).await;
    assert_eq!(client.read(text.len()).await, text.as_bytes());
}

async fn ran(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A certificate for the world's address.
fn certificate(world: &World, name: &str) {
    let (key, cert) = (world.path(&format!("{name}.key")), world.path(&format!("{name}.crt")));
    let subject = format!("subjectAltName=IP:{}", world.ip);
    let (key, cert) = (key.to_str().unwrap(), cert.to_str().unwrap());
    let ec = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "30",
    ];
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", &subject];
    let rest = ["-subj", "/CN=stream test", "-keyout", key, "-out", cert];
    world.run("openssl", &[&ec[..], &leaf[..], &rest[..]].concat());
    world.run("chmod", &["0600", key]);
}

#[tokio::test]
async fn a_reload_ends_what_was_taken_back_and_nothing_else() {
    let mut world = World::with(TWO).await;
    let (mut one, mut two) = (world.open("one").await, world.open("two").await);
    echoes(&mut one, "1").await;
    echoes(&mut two, "2").await;
    // A file with a mistake changes nothing.
    std::fs::write(world.path("agent/targets.d/test.toml"), "[target.one]\nkind = 'exec'\nargs = []\n")
        .unwrap();
    world.agent().signal(Signal::SIGHUP);
    world.agent().says("configuration not reloaded, the old one stays").await;
    world.agent().says("test.toml:3").await;
    echoes(&mut two, "still allowed").await;
    world.targets = TWO.split("[target.two]").next().unwrap().to_owned();
    world.write_agent_config();
    world.agent().signal(Signal::SIGHUP);
    assert_eq!(two.closed_with(4403).await, "the target was removed by the host's owner");
    echoes(&mut one, "still here").await;
    let (_, answer) = world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "two" })).await;
    assert_eq!(answer["code"], "target_not_allowed");
    // The relay: a bad file, then a good one.
    let good = std::fs::read_to_string(world.path("relay/config.toml")).unwrap();
    std::fs::write(world.path("relay/config.toml"), good.replacen("listen", "lissten", 1)).unwrap();
    world.relay().signal(Signal::SIGHUP);
    world.relay().says("did you mean `listen`").await;
    std::fs::write(world.path("relay/config.toml"), good).unwrap();
    world.relay().signal(Signal::SIGHUP);
    world.relay().says("configuration reloaded").await;
    echoes(&mut one, "through it all").await;
    // A removed key opens nothing any more.
    let hash = std::fs::read_to_string(world.path("api.sha256")).unwrap();
    let config = std::fs::read_to_string(world.path("relay/config.toml")).unwrap();
    std::fs::write(world.path("relay/config.toml"), config.replace(&hash, &"0".repeat(64))).unwrap();
    world.relay().signal(Signal::SIGHUP);
    let said = || world.relay().said().matches("configuration reloaded").count() == 2;
    crate::world::eventually(said, || "no second reload".into()).await;
    let (status, _) = world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "one" })).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn mistakes_end_with_a_code_and_a_sentence() {
    let world = World::new();
    world.write_relay_config();
    world.write_agent_config();
    let (agent, relay) = (world.path("agent/config.toml"), world.path("relay/config.toml"));
    let (agent, relay) = (agent.to_str().unwrap(), relay.to_str().unwrap());
    for (program, file, run) in [(AGENT, agent, "run"), (RELAY, relay, "serve")] {
        let fine = ran(program, &["check-config", "--config", file]).await;
        assert!(fine.status.success() && text(&fine.stdout).contains("configuration is fine"));
        let fine: Value =
            serde_json::from_slice(&ran(program, &["--json", "check-config", "--config", file]).await.stdout)
                .unwrap();
        assert_eq!(fine["ok"], true);
        assert!(fine["origins"].as_object().unwrap().len() > 3);
        let shipped = ran(program, &["--print-default-config"]).await;
        let name = if program == AGENT { "agent" } else { "relay" };
        let file_of = format!("{}/packaging/{name}/config.toml", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(text(&shipped.stdout), std::fs::read_to_string(file_of).unwrap());

        let good = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, good.replace("issuers_dir", "isuers_dir")).unwrap();
        for command in ["check-config", run] {
            let bad = ran(program, &[command, "--config", file]).await;
            assert_eq!(bad.status.code(), Some(78));
            let said = text(&bad.stderr);
            assert!(said.contains("config.toml:") && said.contains("did you mean `issuers_dir`"), "{said}");
        }
        let missing = ran(program, &[run, "--config", "/nowhere/config.toml"]).await;
        assert_eq!(missing.status.code(), Some(78));
        assert!(text(&missing.stderr).contains("/nowhere/config.toml"));
        assert_eq!(ran(program, &["nonsense"]).await.status.code(), Some(64));
        assert!(ran(program, &["--help"]).await.status.success());
    }
    let again = ["keygen", "issuer", "--kid", "k1", "--out", world.path("relay").to_str().unwrap()]
        .map(str::to_owned);
    let again = ran(RELAY, &again.each_ref().map(String::as_str)).await;
    assert!(!again.status.success() && text(&again.stderr).contains("is there already"));
    // A key that everyone can read is not used.
    world.run("chmod", &["0644", world.path("relay/k1.pem").to_str().unwrap()]);
    world.write_relay_config();
    let open = ran(RELAY, &["check-config", "--config", relay]).await;
    assert_eq!(open.status.code(), Some(78));
    assert!(text(&open.stderr).contains("chmod"), "{}", text(&open.stderr));
}

#[tokio::test]
async fn tls_on_both_legs_and_a_certificate_that_is_replaced_while_running() {
    let mut world = World::new();
    world.tls = true;
    certificate(&world, "relay/tls");
    world.targets = TWO.into();
    world.start().await;
    let mut open = world.open_command(&["h1", "one", "--stdio"]);
    let mut open =
        open.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = open.stdin.take().unwrap();
    let mut output = BufReader::new(open.stdout.take().unwrap()).lines();
    input.write_all(b"encrypted\n").await.unwrap();
    assert_eq!(output.next_line().await.unwrap().unwrap(), "encrypted");
    // New connections get the new certificate; the open stream continues.
    certificate(&world, "relay/tls");
    world.relay().signal(Signal::SIGHUP);
    world.relay().says("configuration reloaded").await;
    world.write_agent_config();
    world.agent().signal(Signal::SIGHUP);
    world.agent().says("configuration reloaded").await;
    assert!(world.url("one").await.starts_with("wss://"));
    std::fs::write(world.path("relay/tls.crt"), "broken").unwrap();
    world.relay().signal(Signal::SIGHUP);
    world.relay().says("keeping the old certificate").await;
    input.write_all(b"still\n").await.unwrap();
    assert_eq!(output.next_line().await.unwrap().unwrap(), "still");
}

/// A minimal HTTP CONNECT proxy; reports the request.
async fn proxy(listener: TcpListener, asked: tokio::sync::mpsc::UnboundedSender<String>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let asked = asked.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).await.unwrap();
            }
            asked.send(head.clone()).unwrap();
            if !head.contains("Basic d2ViMTpzZWNyZXQ=") && !head.contains("basic d2ViMTpzZWNyZXQ=") {
                stream.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                return;
            }
            let to = head.split(' ').nth(1).unwrap();
            let mut to = TcpStream::connect(to).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            // Either side may end it.
            let _ = copy_bidirectional(&mut stream, &mut to).await;
        });
    }
}

#[tokio::test]
async fn relays_are_dialled_through_a_proxy_with_a_password() {
    let mut world = World::new();
    let listener = TcpListener::bind((world.ip.as_str(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(proxy(listener, asked));
    let password = world.secret("proxy.password", "secret\n");
    let section = format!(
        "[proxy]\nurl = 'http://{address}'\nuser = 'web1'\npassword_file = '{}'\n",
        password.display()
    );
    world.agent_config = section.clone();
    world.targets = TWO.into();
    world.start().await;
    let mut client = world.open("one").await;
    echoes(&mut client, "through the proxy").await;
    assert!(received.recv().await.unwrap().starts_with(&format!("CONNECT {}:8080 ", world.ip)));
    client.close().await;
    world.secret("proxy.password", "wrong");
    world.agent().signal(Signal::SIGHUP);
    world.agent().says("configuration reloaded").await;
    // Another attempt does not fix a wrong password of the proxy.
    let (status, answer) =
        world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "one" })).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("relay_unreachable")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("407"), "{answer}");
    world.agent_config = format!("{section}no_proxy = ['{}']\n", world.ip);
    world.write_agent_config();
    world.agent().signal(Signal::SIGHUP);
    let said = || world.agent().said().matches("configuration reloaded").count() == 2;
    crate::world::eventually(said, || "no second reload".into()).await;
    echoes(&mut world.open("one").await, "directly").await;
}

#[tokio::test]
async fn nats_knows_us_by_password_nkey_or_token_and_over_tls() {
    let user = nkeys::KeyPair::new_user();
    for login in ["password", "nkey", "token", "tls"] {
        let mut world = World::new();
        let secret = match login {
            "nkey" => user.seed().unwrap(),
            _ => "secret".to_owned(),
        };
        let file = world.secret("nats.secret", &secret).display().to_string();
        let ip = world.ip.clone();
        let (server, ours) = match login {
            "password" => (
                "authorization { user: h1, password: secret }".to_owned(),
                format!("user = 'h1'\npassword_file = '{file}'"),
            ),
            "nkey" => (
                format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key()),
                format!("nkey_seed_file = '{file}'"),
            ),
            "token" => ("authorization { token: secret }".to_owned(), format!("token_file = '{file}'")),
            _ => {
                certificate(&world, "nats/tls");
                let (cert, key) = (world.path("nats/tls.crt"), world.path("nats/tls.key"));
                (
                    format!("tls {{ cert_file: '{}', key_file: '{}' }}", cert.display(), key.display()),
                    format!("ca_file = '{}'", cert.display()),
                )
            }
        };
        world.nats_config = server;
        let scheme = if login == "tls" { "tls" } else { "nats" };
        world.agent_config = format!("[nats]\nservers = ['{scheme}://{ip}:4222']\n{ours}\n");
        world.relay_config = "# no platform\n".into();
        world.targets = TWO.into();
        // Ready means that it has subscribed to its own subject.
        world.start().await;
        world.agent().says("subscribed to stream.v1.host.h1").await;
    }
}

#[tokio::test]
async fn a_host_with_only_its_own_subjects_works_and_one_with_less_says_what_is_missing() {
    let permissions = |subscribe: &str| {
        format!(
            "authorization {{ users: [ {{ user: h1, password: secret, permissions: {{ \
             publish: ['stream.v1.host.h1.>'], subscribe: [{subscribe}], allow_responses: true }} }}, \
             {{ user: platform, password: secret }} ] }}"
        )
    };
    let mut world = World::new();
    let file = world.secret("nats.secret", "secret").display().to_string();
    world.nats_config = permissions("'stream.v1.host.h1.>', '$SRV.>'");
    world.agent_config =
        format!("[nats]\nservers = ['{}']\nuser = 'h1'\npassword_file = '{file}'\n", world.nats_url());
    world.platform_config = format!("nats.user = 'platform'\nnats.password_file = '{file}'\n");
    world.targets = TWO.into();
    world.start().await;
    echoes(&mut world.open("one").await, "allowed").await;
    assert!(!world.agent().said().to_lowercase().contains("violation"), "{}", world.agent().said());
    // Another host's subjects only.
    std::fs::write(world.path("nats/nats.conf"), permissions("'stream.v1.host.h2.>'")).unwrap();
    let config = world.path("agent/config.toml");
    world.nats.as_ref().unwrap().signal(Signal::SIGHUP);
    world.agent().says("ermissions").await;
    let test = ran(AGENT, &["--json", "test-dial", "--config", config.to_str().unwrap()]).await;
    assert_eq!(test.status.code(), Some(77), "{}", text(&test.stdout));
    assert!(text(&test.stdout).contains("stream.v1.host.h1"), "{}", text(&test.stdout));
}

#[tokio::test]
async fn test_dial_goes_every_step_and_names_what_fails() {
    let mut world = World::new();
    world.tls = true;
    certificate(&world, "relay/tls");
    world.targets = format!("{TWO}[target.gone]\nkind = 'unix'\npath = '/nowhere/socket'\n");
    world.start().await;
    let config = world.path("agent/config.toml");
    let config = config.to_str().unwrap();
    let report = ran(AGENT, &["test-dial", "--config", config]).await;
    let said = text(&report.stdout);
    for step in ["config", "relay-tls", "relay-websocket", "relay-clock", "nats-connect", "nats-hello"] {
        let line =
            said.lines().find(|line| line.contains(step)).unwrap_or_else(|| panic!("no {step} in:\n{said}"));
        assert!(line.contains("PASS"), "{line}");
    }
    assert!(said.contains("/nowhere/socket") && said.contains("FAIL"), "{said}");
    assert!(!report.status.success());
    let one = ran(AGENT, &["--json", "test-dial", "--target", "one", "--config", config]).await;
    assert!(one.status.success(), "{}", text(&one.stdout));
    serde_json::from_slice::<Value>(&one.stdout).unwrap();
    // Without NATS and relay: unavailable.
    world.nats.take().unwrap().kill().await;
    world.relay.take().unwrap().kill().await;
    let dead = ran(AGENT, &["test-dial", "--config", config]).await;
    assert_eq!(dead.status.code(), Some(69), "{}", text(&dead.stdout));
}

fn name(program: &str) -> &str {
    program.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn what_to_do_first_is_said_until_anything_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    for (program, default, steps) in [
        (
            AGENT,
            "config.toml",
            "set host_id, nats.servers and relay.allow in FILE (`man stream-agent.toml`), \
             then run: `stream-agent test-dial && systemctl enable --now stream-agent`",
        ),
        (
            RELAY,
            "relay.toml",
            "set public_urls in FILE (`man stream-relay.toml`), \
             then run: `stream-relay check-config && systemctl enable --now stream-relay`",
        ),
    ] {
        let file = dir.path().join(default).display().to_string();
        let ask = ["--config", &file, "check-config", "--configured"];
        std::fs::write(&file, ran(program, &["--print-default-config"]).await.stdout).unwrap();
        let asked = ran(program, &ask).await;
        assert_eq!(text(&asked.stdout), format!("not configured yet: {}\n", steps.replace("FILE", &file)));
        assert_eq!((asked.status.code(), text(&asked.stderr).as_str()), (Some(1), ""));
        let refused = ran(program, &["--json", "--config", &file, "check-config", "--configured"]).await;
        assert_eq!(refused.status.code(), Some(64));
        // A wrong configuration is not an empty one: running the program shows the error.
        for wrong in ["subject_prefix = 'x'\n", "nonsense"] {
            std::fs::write(&file, wrong).unwrap();
            let asked = ran(program, &ask).await;
            assert_eq!((asked.status.code(), text(&asked.stdout).as_str()), (Some(0), ""), "{wrong}");
        }
        std::fs::remove_file(&file).unwrap();
        let asked = ran(program, &ask).await;
        let made =
            format!("not configured yet: `{} --print-default-config > {file}`, then set ", name(program));
        assert!(text(&asked.stdout).starts_with(&made), "{}", text(&asked.stdout));
        assert_eq!(asked.status.code(), Some(1));
    }
}

#[tokio::test]
async fn test_dial_names_the_line_for_each_thing_that_is_missing() {
    let world = World::new();
    let file = world.path("agent/config.toml").display().to_string();
    let issuers = world.path("agent/issuers.d").display().to_string();
    let mut config = text(&ran(AGENT, &["--print-default-config"]).await.stdout);
    config = config
        .replace("#issuers_dir = \"/etc/stream-agent/issuers.d\"", &format!("issuers_dir = '{issuers}'"));
    std::fs::rename(world.path("agent/issuers.d/k1.pub"), world.path("k1.pub")).unwrap();
    // As an owner would: each line goes where the message puts it.
    let mut steps = vec![
        (
            format!("in [nats] of {file}: servers = [\"tls://nats.example.com:4222\"]"),
            ("#servers = [\"tls://nats.example.com:4222\"]", "servers = ['nats://127.0.0.1:1']"),
        ),
        (
            format!("in [relay] of {file}: allow = [\"wss://relay.example.com\"]"),
            ("#allow = [\"wss://relay.example.com\"]", "allow = ['ws://127.0.0.1:1']"),
        ),
        (format!("cp KID.pub {issuers}/"), ("", "")),
    ];
    while !steps.is_empty() {
        std::fs::write(&file, &config).unwrap();
        let report = ran(AGENT, &["test-dial", "--config", &file]).await;
        let said = text(&report.stdout);
        assert_eq!(report.status.code(), Some(78), "{said}");
        assert_eq!(said.matches("FAIL  config").count(), steps.len(), "{said}");
        for (line, _) in &steps {
            assert!(said.contains(line.as_str()), "no {line} in:\n{said}");
        }
        let (_, (shipped, set)) = steps.remove(0);
        config = config.replacen(shipped, set, 1);
    }
    std::fs::rename(world.path("k1.pub"), world.path("agent/issuers.d/k1.pub")).unwrap();
    let said = text(&ran(AGENT, &["test-dial", "--config", &file]).await.stdout);
    assert!(said.contains("PASS  config") && said.contains(&format!("[nats] of {file}")), "{said}");
}

#[tokio::test]
async fn tokens_keys_and_passwords_are_in_no_log_metric_or_argument() {
    let mut world = World::new();
    let file = world.secret("nats.secret", "canary-password").display().to_string();
    world.nats_config = "authorization { user: h1, password: canary-password }".into();
    let login = format!("user = 'h1'\npassword_file = '{file}'\n");
    world.agent_config = format!("[nats]\nservers = ['{}']\n{login}", world.nats_url());
    world.platform_config = format!("nats.user = 'h1'\nnats.password_file = '{file}'\n");
    world.targets = format!("{TWO}[target.nowhere]\nkind = 'tcp'\naddress = '127.0.0.1:1'\n");
    world.start_nats().await;
    world.write_relay_config();
    world.write_agent_config();
    // The log level is the most detailed one.
    let mut relay = Command::new(RELAY);
    relay.args(["--log-level", "trace", "--config"]).arg(world.path("relay/config.toml")).arg("serve");
    world.relay = Some(crate::world::started(relay, &world.dir, "relay").await);
    let mut agent = Command::new(AGENT);
    agent.args(["--log-level", "trace", "--config"]).arg(world.path("agent/config.toml")).arg("run");
    world.agent = Some(crate::world::started(agent, &world.dir, "agent").await);
    world.relay().says("platform: NATS connected").await;
    let mut secrets =
        vec!["canary-password".to_owned(), std::fs::read_to_string(world.path("api.key")).unwrap()];
    let good = world.url("one").await;
    let token = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    secrets.push(token(&good));
    let mut client = Client::connect(&good, &[]).await;
    echoes(&mut client, "x").await;
    // For a live session, and also for one that fails.
    Client::connect(&good, &[]).await;
    for target in ["nowhere", "two"] {
        let url = world.url(target).await;
        secrets.push(token(&url));
        Client::connect(&url, &[]).await;
    }
    let unknown = "Q".repeat(42) + "A";
    secrets.push(unknown.clone());
    Client::connect(&format!("{}/v1/stream/{unknown}", world.relay_url()), &[]).await.closed_with(4404).await;
    let hidden = format!("stream.token.{unknown}");
    Client::connect(&format!("{}/v1/stream/", world.relay_url()), &[&hidden, "b"])
        .await
        .closed_with(4404)
        .await;
    let metrics = world.run("curl", &["-s", &format!("http://{}:8081/metrics", world.ip)]);
    let mut said = format!("{}{}{metrics}", world.agent().said(), world.relay().said());
    for process in [world.agent(), world.relay()] {
        said.push_str(&text(&std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap()));
        said.push_str(&text(&std::fs::read(format!("/proc/{}/environ", process.pid())).unwrap()));
    }
    assert!(said.contains("DEBUG") && said.contains("TRACE"));
    for secret in secrets {
        // A part of the secret would be too much as well.
        let piece = &secret[..secret.len().min(16)];
        let at =
            said.find(piece).map(|at| said[at.saturating_sub(200)..(at + 60).min(said.len())].to_owned());
        assert_eq!(at, None, "{piece}");
    }
}
