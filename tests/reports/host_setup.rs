//! What the owner of a host reads while setting it up: each message says what is wrong, with the value, and what to do.

use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::world::{AGENT, NatsKind, Process, World};

async fn output(args: &[&str]) -> Output {
    Command::new(AGENT).args(args).stdin(Stdio::null()).output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The output of an agent command in this world.
async fn says(world: &World, command: &[&str]) -> String {
    let file = world.path("agent/config.toml").display().to_string();
    said(&output(&[&["--config", &file], command].concat()).await)
}

/// A certificate as `openssl req -x509` creates it by default.
fn ca_certificate(world: &World) -> [String; 2] {
    let [cert, key] = ["ca.crt", "ca.key"].map(|name| world.path(name).display().to_string());
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test -addext";
    let name = format!("subjectAltName=IP:{}", world.ip);
    let files = [&name, "-keyout", &key, "-out", &cert];
    world.run("openssl", &[&words.split(' ').collect::<Vec<_>>()[..], &files].concat());
    [cert, key]
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_explained_by_test_dial_and_in_the_log() {
    // The server's setup; what [nats] has besides `servers`; the message of both; the line that test-dial adds.
    let ok = "tls { cert_file: 'DIR/ok.crt', key_file: 'DIR/ok.key' }";
    let ca = "tls { cert_file: 'DIR/ca.crt', key_file: 'DIR/ca.key' }";
    let mutual =
        "tls { cert_file: 'DIR/ok.crt', key_file: 'DIR/ok.key', ca_file: 'DIR/ok.crt', verify: true }";
    let trusts = "ca_file = 'DIR/ok.crt'\n";
    for (server, lines, words, remedy) in [
        (None, "", "connection refused", "that the server runs, and that a firewall lets this host out"),
        (
            Some(ca),
            "ca_file = 'DIR/ca.crt'\n",
            "the server shows a CA's own certificate (self-signed with CA:TRUE), which no client accepts from a server",
            "-addext basicConstraints=critical,CA:FALSE",
        ),
        (
            Some(ok),
            "",
            "the server's certificate is not signed by a CA that is trusted here",
            "set in [nats] of FILE: ca_file = \"/etc/stream-agent/ca.pem\"",
        ),
        (
            Some(ok),
            "ca_file = 'DIR/ca.crt'\n",
            "the server's certificate is not signed by a CA that is trusted here",
            "set in [nats] of FILE: ca_file = \"/etc/stream-agent/ca.pem\"",
        ),
        (
            Some(mutual),
            trusts,
            "the server wants a client certificate, and does not accept ours",
            "cert_file = \"/etc/stream-agent/nats.crt\"",
        ),
        (Some(""), trusts, "the server does not speak TLS at that port", "set up TLS on the server"),
        (
            Some("authorization { user: u, password: p }"),
            "",
            "the server refuses the login",
            "creds_file = \"/etc/stream-agent/nats.creds\"",
        ),
    ] {
        let mut world = World::new();
        world.nats_kind = NatsKind::New;
        let dir = world.dir.path().display().to_string();
        ca_certificate(&world);
        world.certificate("ok", &format!("IP:{}", world.ip));
        if let Some(server) = server {
            world.nats_config = server.replace("DIR", &dir);
            world.start_nats().await;
        }
        world.agent_config = format!("[nats]\nservers = ['{}:4222']\n{lines}", world.ip);
        world.write_agent_config();
        let text = says(&world, &["test-dial"]).await;
        let file = format!("{dir}/agent/config.toml");
        assert!(text.contains(&format!("FAIL  nats-connect: {}:4222: {words}\n", world.ip)), "{text}");
        assert!(text.contains(&remedy.replace("FILE", &file)), "{remedy}:\n{text}");
        let mut agent = Process::start(world.agent_command(), world.path("agent.log"));
        agent.says(&format!("NATS: cannot connect to {}:4222: {words}; ", world.ip)).await;
        agent.signal(Signal::SIGINT);
        assert_eq!(agent.ended().await, 0);
        let log = agent.said();
        assert_eq!(log.matches("NATS: ").count(), 1, "{log}");
        assert!(log.contains("stopping: no stream is open") && !log.contains("record"), "{log}");
    }
}

#[tokio::test]
async fn a_server_whose_name_has_no_address_is_named() {
    let mut world = World::new();
    world.agent_config = "[nats]\nservers = ['tls://nats.invalid']\n".into();
    world.write_agent_config();
    let agent = Process::start(world.agent_command(), world.path("agent.log"));
    agent.says("NATS: cannot connect to nats.invalid:4222: the name of the server has no address; ").await;
}

/// The output of `check-config` for a file added to a good configuration, without its folder.
async fn refusal(world: &World, name: &str, bytes: &[u8]) -> String {
    let file = world.path(&format!("agent/{name}"));
    std::fs::write(&file, bytes).unwrap();
    let config = world.path("agent/config.toml").display().to_string();
    let checked = output(&["--config", &config, "check-config"]).await;
    std::fs::remove_file(file).unwrap();
    assert_eq!(checked.status.code(), Some(78), "{}", String::from_utf8_lossy(bytes));
    let dir = world.path("agent").display().to_string();
    said(&checked).replace("stream-agent: ", "").replace(&format!("{dir}/"), "").trim_end().to_owned()
}

#[tokio::test]
async fn what_is_written_wrong_is_shown_with_what_to_write() {
    let world = World::new();
    world.write_agent_config();
    std::fs::create_dir_all(world.path("agent/config.d")).unwrap();
    let kinds = "tcp, unix, fifo, file, journal, exec, libvirt, qmp, serial, lxc, incus, machine, container";
    for (text, words) in [
        ("host_ids = 'x'", "1: unknown key `host_ids`, did you mean `host_id`?"),
        ("host_id = 'a.b'", "1: `host_id`: \"a.b\" is not a host id, which has 1 to 64 of A-Z a-z 0-9 _ -"),
        ("nats.servers = 'tls://a'", "1: `nats.servers`: a list is needed: write [\"tls://a\"]"),
        ("nats.servers = ['']", "1: `nats.servers`: \"\" names no server: write one such as tls://"),
        (
            "nats.tls_first = 'yes'",
            "1: `nats.tls_first`: true or false is needed: write true, without quotation",
        ),
        (
            "nats.ca_file = ['/x']",
            "1: `nats.ca_file`: one string is needed, and not a list: write it without",
        ),
        (
            "[nats]\nca_file = '/nonexistent/x'",
            "2: `nats.ca_file`: cannot read certificate /nonexistent/x: No such",
        ),
        ("relay.ca_file = '/etc/hostname'", "1: `relay.ca_file`: no certificate in /etc/hostname"),
        (
            "relay.allow = ['https://r']",
            "1: `relay.allow`: \"https://r\" does not begin with wss:// (or ws://): write \"wss://r\"",
        ),
        (
            "relay.allow = ['r']",
            "1: `relay.allow`: \"r\" does not begin with wss:// (or ws://): write \"wss://r\"",
        ),
        ("[relays]\nallow = ['wss://r']", "1: unknown key `relays`, did you mean `relay`?"),
        ("[[relay]]\nallow = ['wss://r']", "1: `relay`: is one section: write [relay], and not [[relay]]"),
        ("relay = 'wss://r'", "1: `relay`: a section is needed: write [relay], and its keys below it"),
        (
            "limits.streams = '64'",
            "1: `limits.streams`: a number is needed: write 64, without quotation marks",
        ),
        (
            "limits.streams = -1",
            "1: `limits.streams`: a whole number from 0 to 4294967295 is needed, and not -1",
        ),
        (
            "limits.session = 10",
            "1: `limits.session`: a duration needs a unit: write \"10s\" for seconds, or \"10m\" for",
        ),
        (
            "limits.session = '10'",
            "1: `limits.session`: a duration needs a unit: write \"10s\" for seconds, or",
        ),
        (
            "limits.session = '-10s'",
            "1: `limits.session`: a duration cannot be negative, as \"-10s\" is: write one",
        ),
        ("auth.mode = 'sined'", "1: `auth.mode`: unknown value `sined`, did you mean `signed`?"),
        ("auth.mode = true", "1: `auth.mode`: a string is needed: write it in quotation marks"),
        ("[targets.x]\nkind = 'exec'", "1: unknown key `targets`, did you mean `target`?"),
        (
            "[target]\nkind = 'exec'",
            "2: `target.kind`: is a key of a target, and the target needs a name: write [target.NAME]",
        ),
        (
            "[[target]]\nkind = 'exec'",
            "1: `target`: a target needs a name: write [target.NAME], such as [target.shell]",
        ),
        (
            "[[target.x]]\nkind = 'exec'",
            "1: `target.x`: is one target: write [target.x], and not [[target.x]]",
        ),
        ("target.x = 'exec'", "1: `target.x`: is no target: write [target.x], and its keys below it"),
        (
            "[target.vm.1]\nkind = 'exec'",
            "1: `target.vm`: is no target: where \"vm.1\" is its name, write [target.\"vm.1\"]",
        ),
        (
            "[target.'a b']\nkind = 'exec'",
            "1: `target.\"a b\"`: \"a b\" cannot name a target: 1 to 64 letters, digits",
        ),
        (
            "[target.x]\nargv = ['/bin/sh']",
            &format!("1: `target.x`: missing key `kind`, which is one of: {kinds}"),
        ),
        (
            "[target.x]\nkind = 'exce'",
            &format!(
                "2: `target.x.kind`: unknown kind \"exce\" (did you mean `exec`?), which is one of: {kinds}"
            ),
        ),
        ("[target.x]\nkind = 'exec'", "1: `target.x`: missing key `argv`, see `man stream-agent.toml`"),
        (
            "[target.x]\nkind = 'exec'\nargv = '/bin/sh -l'",
            "3: `target.x.argv`: a list of words is needed: write [\"/bin/sh\", \"-l\"]",
        ),
        (
            "[target.x]\nkind = 'file'\npath = '/x'\nopen_timeout = 10",
            "4: `target.x.open_timeout`: a duration needs a unit",
        ),
        (
            "[target.x]\nkind = 'file'\npath = '/x'\nmodes = ['rx']",
            "4: `target.x.modes`: unknown value `rx`, did you mean `ro`?",
        ),
        (
            "[target.x]\nkind = 'file'\npath = 'log'",
            "3: `target.x.path`: \"log\" is not an absolute path: begin it with /",
        ),
        ("a = 1\na = 2", "2: not TOML: duplicate key `a`"),
        ("host_id = h1", "1: not TOML: string values must be quoted"),
        ("\r\nlimits.session = 10\r\n", "2: `limits.session`: a duration needs a unit"),
    ] {
        let said = refusal(&world, "config.d/x.toml", text.as_bytes()).await;
        assert!(said.starts_with(&format!("config.d/x.toml:{words}")), "{text}:\n{said}");
    }
    let latin1 = refusal(&world, "targets.d/x.toml", b"# a\n# caf\xe9\n").await;
    assert_eq!(latin1, "targets.d/x.toml:2: not UTF-8: byte 0xe9; save the file as UTF-8");
    let target = "[target.a]\nkind = 'file'\npath = '/x'\n";
    let twice = refusal(&world, "targets.d/x.toml", format!("{target}{target}").as_bytes()).await;
    assert_eq!(twice, "targets.d/x.toml:4: not TOML: duplicate key `a`");
    std::fs::write(world.path("agent/targets.d/w.toml"), target).unwrap();
    let twice = refusal(&world, "targets.d/x.toml", target.as_bytes()).await;
    assert_eq!(twice, "targets.d/x.toml:1: `target.a` is already defined at targets.d/w.toml:1");
    // Editors of other systems may put a byte order mark before the first line.
    std::fs::write(world.path("agent/targets.d/w.toml"), format!("\u{feff}{target}")).unwrap();
    assert!(
        says(&world, &["check-config"]).await.contains("configuration is fine: host h1, 1 target, relays")
    );
}

#[tokio::test]
async fn files_that_are_none_are_told_apart() {
    let world = World::new();
    world.write_agent_config();
    let odd = world.path("agent/targets.d/odd.toml");
    std::os::unix::fs::symlink("/nonexistent/x", &odd).unwrap();
    let text = says(&world, &["check-config"]).await;
    assert!(text.contains("odd.toml: cannot read: it is a link to a file that does not exist"), "{text}");
    std::fs::remove_file(&odd).unwrap();
    std::fs::create_dir(&odd).unwrap();
    let text = says(&world, &["check-config"]).await;
    assert!(text.contains("odd.toml: cannot read: it is a directory, and a file is needed"), "{text}");
    std::fs::remove_dir(&odd).unwrap();
    // Reading it would block for ever.
    nix::unistd::mkfifo(&odd, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let text = says(&world, &["check-config"]).await;
    assert!(text.contains("odd.toml: cannot read: it is not a regular file"), "{text}");
    std::fs::remove_file(&odd).unwrap();

    let file = world.path("agent/config.toml").display().to_string();
    std::fs::remove_file(&file).unwrap();
    let made = format!(
        "{file}: there is no such file: `stream-agent --print-default-config > {file}` makes one, and `man stream-agent.toml` \
         explains it"
    );
    for command in ["run", "check-config", "targets", "test-dial"] {
        assert!(says(&world, &[command]).await.contains(&made), "{command}");
    }
    let first = says(&world, &["check-config", "--configured"]).await;
    let start =
        format!("not configured yet: `stream-agent --print-default-config > {file}`, then set host_id, ");
    assert!(first.starts_with(&start), "{first}");
}

#[tokio::test]
async fn a_host_that_trusts_another_key_says_which_key_to_copy_where() {
    let mut world = World::new();
    let [own, other] = ["k1.pub", "other.pub"].map(|name| world.path(&format!("agent/issuers.d/{name}")));
    std::fs::rename(own, other).unwrap();
    world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n".into();
    world.start().await;
    let (status, answer) =
        world.api("POST", "/api/v1/sessions", serde_json::json!({ "host": "h1", "target": "cat" })).await;
    let unknown = "the grant is signed with the key k1, whose public key is not known here";
    assert!(status >= 400 && answer["message"].as_str().unwrap().contains(unknown), "{status} {answer}");
    // The owner's own log says more than a client receives.
    let dir = world.path("agent/issuers.d").display().to_string();
    assert!(!answer.to_string().contains(&dir), "{answer}");
    let copy = format!(
        "{unknown} (grant_unknown_issuer); {dir} has other.pub: to believe that platform, copy the .pub file of its key to \
         {dir}, and reload"
    );
    world.agent().says(&copy).await;
}

#[tokio::test]
async fn an_unknown_command_gets_the_list_of_those_that_there_are() {
    for (command, words) in [
        ("status", "tip: the commands are run, check-config, targets, target, test-dial"),
        ("start", "tip: the commands are run, check-config, targets, target, test-dial"),
        ("check", "tip: a similar subcommand exists: 'check-config'"),
        ("test_dial", "tip: a similar subcommand exists: 'test-dial'"),
    ] {
        let output = output(&[command]).await;
        assert_eq!(output.status.code(), Some(64), "{command}");
        let text = said(&output);
        assert!(
            text.contains(&format!("unrecognized subcommand '{command}'")) && text.contains(words),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_is_printed_on_a_terminal_is_broken_between_words() {
    let world = World::new();
    world.write_agent_config();
    let config = world.path("agent/config.toml").display().to_string();
    let script = format!("stty cols 60 rows 24; {AGENT} --config {config} test-dial");
    let mut command = Command::new("script");
    command.args(["-qec", &script, "/dev/null"]).stdin(Stdio::null());
    let text = said(&command.output().await.unwrap()).replace('\r', "");
    assert!(text.contains("FAIL  nats-connect") && text.contains("SKIP  service"), "{text}");
    assert!(
        text.contains("no unit is installed\n      here: ") || text.contains("the service runs with"),
        "{text}"
    );
    // What is copied stays complete.
    assert!(text.contains("\n      url = \"http://proxy.example.com:3128\"\n"), "{text}");
    assert!(text.contains(" steps failed"), "{text}");
    for line in text.lines().filter(|line| !line.contains(&config)) {
        assert!(line.chars().count() <= 60, "{line}");
    }
}

#[tokio::test]
async fn an_agent_that_stops_while_nats_is_away_counts_what_it_could_not_publish() {
    let mut world = World::new();
    world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n".into();
    world.agent_config = "[limits]\ndrain_timeout = '100ms'\n".into();
    world.start().await;
    let mut client = world.open("cat").await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    world.nats.take().unwrap().kill().await;
    world.agent().says("NATS: disconnected").await;
    let mut agent = world.agent.take().unwrap();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await, 0);
    let log = agent.said();
    assert!(log.contains("stopping: 1 stream may go on for 100ms"), "{log}");
    assert!(log.contains("NATS is away: 1 record could not be published; the log has them"), "{log}");
}
