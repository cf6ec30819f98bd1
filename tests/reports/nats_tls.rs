//! Logins and commands stay inside TLS, whatever the broker or an attacker on the path sends.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;

use crate::world::{AGENT, NatsKind, Process, RELAY, World, eventually, own_address, started};

const KINDS: [NatsKind; 2] = [NatsKind::Debian, NatsKind::New];

const ECHO: &str = "[target.echo]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n";

const PASSWORD: &str = "canary-of-the-login";

/// A proxy in front of a NATS server that adds addresses to INFO, which is sent in clear text before TLS.
struct Mitm {
    ip: String,
    lets_through: Arc<AtomicBool>,
    cut: watch::Sender<u32>,
}

impl Mitm {
    /// With `cut_after`, each connection ends when its client has sent this many bytes.
    async fn before(real: String, announced: Vec<String>, cut_after: Option<usize>) -> Mitm {
        let ip = own_address();
        let listener = TcpListener::bind((ip.as_str(), 4222)).await.unwrap();
        let (lets_through, cut) = (Arc::new(AtomicBool::new(true)), watch::channel(0).0);
        let (passes, cuts) = (lets_through.clone(), cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !passes.load(Ordering::SeqCst) {
                    continue;
                }
                let (real, announced, mut cut) = (real.clone(), announced.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = Mitm::pass(client, &real, &announced, cut_after) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Mitm { ip, lets_through, cut }
    }

    async fn pass(
        mut client: TcpStream,
        real: &str,
        announced: &[String],
        cut_after: Option<usize>,
    ) -> std::io::Result<()> {
        let mut server = BufReader::new(TcpStream::connect((real, 4222)).await?);
        let mut line = String::new();
        server.read_line(&mut line).await?;
        let mut info: serde_json::Value = serde_json::from_str(line.trim_start_matches("INFO ")).unwrap();
        info["connect_urls"] = announced.into();
        client.write_all(format!("INFO {info}\r\n").as_bytes()).await?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let up = async {
            let (mut buffer, mut sent) = ([0; 4096], 0);
            while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
                sent += n;
                if cut_after.is_some_and(|most| sent > most) {
                    return Ok(());
                }
                to_server.write_all(&buffer[..n]).await?;
            }
            Ok(())
        };
        tokio::select! {
            end = up => end,
            end = tokio::io::copy(&mut from_server, &mut to_client) => end.map(|_| ()),
        }
    }

    /// Ends open connections and refuses new ones until [`Mitm::restore`].
    fn cut(&self) {
        self.lets_through.store(false, Ordering::SeqCst);
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    fn restore(&self) {
        self.lets_through.store(true, Ordering::SeqCst);
    }
}

/// A fake NATS server without TLS that only stores what it receives.
#[derive(Clone)]
struct Plain {
    ip: String,
    received: Arc<Mutex<Vec<u8>>>,
    calls: Arc<AtomicUsize>,
    websocket_calls: Arc<AtomicUsize>,
}

impl Plain {
    async fn with_nonce(nonce: &str) -> Plain {
        let plain = Plain {
            ip: own_address(),
            received: Arc::default(),
            calls: Arc::default(),
            websocket_calls: Arc::default(),
        };
        let info = format!(
            "INFO {{\"server_id\":\"X\",\"server_name\":\"x\",\"version\":\"2.9.10\",\"proto\":1,\"host\":\"x\",\
             \"port\":4222,\"headers\":true,\"max_payload\":1048576,\"auth_required\":true,\"nonce\":{}}}\r\n",
            serde_json::Value::from(nonce)
        );
        for (port, calls) in [(4222, plain.calls.clone()), (4223, plain.websocket_calls.clone())] {
            let listener = TcpListener::bind((plain.ip.as_str(), port)).await.unwrap();
            let (received, info) = (plain.received.clone(), info.clone());
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let (received, calls, info) = (received.clone(), calls.clone(), info.clone());
                    tokio::spawn(async move {
                        let _ = client.write_all(info.as_bytes()).await;
                        let mut buffer = [0; 4096];
                        let n = client.read(&mut buffer).await.unwrap_or(0);
                        received.lock().unwrap().extend_from_slice(&buffer[..n]);
                        calls.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
        }
        plain
    }

    /// Its announced URL, also as a websocket, which the library never upgrades to TLS.
    fn addresses(&self) -> Vec<String> {
        ["", "nats://", "ws://"]
            .iter()
            .map(|scheme| format!("{scheme}{}:{}", self.ip, if *scheme == "ws://" { 4223 } else { 4222 }))
            .collect()
    }

    async fn is_dialled(&self) {
        eventually(|| self.calls.load(Ordering::SeqCst) > 0, || "nobody dials it".into()).await;
    }

    fn heard_nothing_in_clear(&self) {
        let received = self.received.lock().unwrap();
        let text = String::from_utf8_lossy(&received);
        assert!(!text.contains("CONNECT") && !text.contains("SUB") && !text.contains("GET "), "{text}");
        assert_eq!(self.websocket_calls.load(Ordering::SeqCst), 0);
    }
}

/// NATS with TLS and one user, and the lines of `[nats]` for it.
fn with_login(world: &mut World, names: &str) -> String {
    let (cert, key) = world.certificate("nats/tls", names);
    world.nats_config = format!(
        "tls {{ cert_file: '{}', key_file: '{}' }}\nauthorization {{ user: u, password: '{PASSWORD}' }}",
        cert.display(),
        key.display()
    );
    let password = world.secret("password", PASSWORD);
    format!("user = 'u'\npassword_file = '{}'\nca_file = '{}'\n", password.display(), cert.display())
}

fn platform_lines(lines: &str) -> String {
    lines.lines().map(|line| format!("nats.{line}\n")).collect()
}

async fn output(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

async fn says_times(process: &Process, text: &str, times: usize) {
    let complaint = || format!("not {times} times `{text}`:\n{}", process.said());
    eventually(|| process.said().matches(text).count() >= times, complaint).await;
}

#[tokio::test]
async fn an_announced_address_gets_no_byte_outside_of_tls() {
    for kind in KINDS {
        let mut world = World::new();
        world.nats_kind = kind;
        let (for_agent, for_platform) =
            (Plain::with_nonce("abcdefgh").await, Plain::with_nonce("abcdefgh").await);
        let agent_way = Mitm::before(world.ip.clone(), for_agent.addresses(), None).await;
        let platform_way = Mitm::before(world.ip.clone(), for_platform.addresses(), None).await;
        let login = with_login(&mut world, &format!("IP:{},IP:{}", agent_way.ip, platform_way.ip));
        world.agent_config = format!("[nats]\nservers = ['tls://{}:4222']\n{login}", agent_way.ip);
        world.nats_at = Some(format!("tls://{}:4222", platform_way.ip));
        world.platform_config = platform_lines(&login);
        world.targets = ECHO.into();
        world.start().await;
        for (way, plain, process, connected) in [
            (&agent_way, &for_agent, world.agent(), "subscribed to stream.v1.host.h1"),
            (&platform_way, &for_platform, world.relay(), "platform: NATS connected"),
        ] {
            says_times(process, connected, 1).await;
            way.cut();
            plain.is_dialled().await;
            way.restore();
            says_times(process, connected, 2).await;
            plain.heard_nothing_in_clear();
        }
    }
}

#[tokio::test]
async fn test_dial_follows_nobody_who_cuts_it_off() {
    for kind in KINDS {
        let mut world = World::new();
        world.nats_kind = kind;
        let plain = Plain::with_nonce("abcdefgh").await;
        let way = Mitm::before(world.ip.clone(), plain.addresses(), Some(2000)).await;
        let login = with_login(&mut world, &format!("IP:{}", way.ip));
        world.agent_config = format!("[nats]\nservers = ['tls://{}:4222']\n{login}", way.ip);
        world.start_nats().await;
        world.write_agent_config();
        let config = world.path("agent/config.toml");
        let test = output(AGENT, &["test-dial", "--config", config.to_str().unwrap()]).await;
        assert!(said(&test).contains("nats-connect"), "{}", said(&test));
        assert_ne!(test.status.code(), Some(0), "{}", said(&test));
        plain.heard_nothing_in_clear();
        assert_eq!(plain.calls.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_cluster_fails_over_to_a_server_that_is_announced_by_address() {
    for kind in KINDS {
        let mut world = World::new();
        world.nats_kind = kind;
        let (first, second) = (world.ip.clone(), own_address());
        // Only the first server's name is in the certificate that both show.
        let mut login = with_login(&mut world, &format!("IP:{first}"));
        let plain = world.nats_config.clone();
        let (ours, key) = world.certificate("nats/ours", "DNS:web1");
        login.push_str(&format!("cert_file = '{}'\nkey_file = '{}'\n", ours.display(), key.display()));
        // The second server accepts only the later certificate.
        let (renewed, renewed_key) = world.certificate("nats/renewed", "DNS:web1");
        let cluster = |name: &str, at: &str, trusted: &Path| {
            let verify = format!("tls {{ verify: true, ca_file: '{}', ", trusted.display());
            let base = plain.replace("tls {", &verify);
            format!(
                "{base}\nserver_name: {name}\ncluster {{ name: c, listen: '{at}:6222', \
                 routes: [ 'nats://{first}:6222', 'nats://{second}:6222' ] }}"
            )
        };
        world.nats_config = cluster("a", &first, &ours);
        world.start_nats().await;
        let config = world.path("nats/second.conf");
        std::fs::write(&config, cluster("b", &second, &renewed)).unwrap();
        let mut command = Command::new(kind.program());
        command.args(["-a", &second, "-p", "4222", "-c"]).arg(config);
        let _second = Process::start(command, world.path("second.log"));
        announces(&first, &second).await;

        world.nats_at = Some(format!("tls://{first}:4222"));
        world.agent_config = format!("[nats]\nservers = ['tls://{first}:4222']\n{login}");
        world.platform_config = platform_lines(&login);
        world.targets = ECHO.into();
        world.start_relay().await;
        world.start_agent().await;
        std::fs::copy(&renewed, &ours).unwrap();
        std::fs::copy(&renewed_key, &key).unwrap();
        world.nats.take().unwrap().kill().await;
        says_times(world.relay(), "platform: NATS connected", 2).await;
        says_times(world.agent(), "subscribed to stream.v1.host.h1", 2).await;
        let mut client = world.open("echo").await;
        client.send(b"on the second".to_vec()).await;
        client.read_until("on the second").await;
    }
}

/// Waits until one server of a cluster announces another.
async fn announces(at: &str, other: &str) {
    let deadline = tokio::time::Instant::now() + crate::world::SOON;
    loop {
        let mut line = String::new();
        let server = TcpStream::connect((at, 4222)).await.unwrap();
        BufReader::new(server).read_line(&mut line).await.unwrap();
        if line.contains(&format!("\"{other}:4222\"")) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "not announced: {line}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_broker_whose_certificate_has_no_configured_name_gets_no_login() {
    let mut world = World::new();
    let second = own_address();
    let way = Mitm::before(world.ip.clone(), vec![format!("{second}:4222")], None).await;
    let login = with_login(&mut world, &format!("IP:{}", way.ip));
    world.start_nats().await;
    // An attacker has another trusted certificate, valid for the announced address.
    let (cert, key) = world.certificate("nats/other", &format!("IP:{second}"));
    let trusted = [world.path("nats/tls.crt"), cert.clone()].map(|file| std::fs::read(file).unwrap());
    std::fs::write(world.path("nats/both.crt"), trusted.concat()).unwrap();
    let login = login.replace("nats/tls.crt", "nats/both.crt");
    let file = world.path("nats/evil.conf");
    let tls = format!("tls {{ cert_file: '{}', key_file: '{}' }}", cert.display(), key.display());
    std::fs::write(&file, tls).unwrap();
    let mut command = Command::new(NatsKind::New.program());
    command.args(["-D", "-a", &second, "-p", "4222", "-c"]).arg(file);
    let evil = Process::start(command, world.path("evil.log"));
    evil.says("Server is ready").await;
    world.relay_config = "# no platform\n".into();
    world.agent_config = format!("[nats]\nservers = ['tls://{}:4222']\n{login}", way.ip);
    world.start_agent().await;
    way.cut();
    world.agent().says(&format!("{second} was announced by a server")).await;
    way.restore();
    says_times(world.agent(), "subscribed to stream.v1.host.h1", 2).await;
    let record = evil.said();
    assert!(record.contains("TLS handshake error") && !record.contains("CONNECT"), "{record}");
}

#[tokio::test]
async fn only_a_nonce_is_signed_and_a_refusal_is_said() {
    let user = nkeys::KeyPair::new_user();
    for nonce in ["abc", "stream-proof-v1\neyJhbGciOiJFZERTQSJ9.e30.c2ln", &"a".repeat(65)] {
        let mut world = World::new();
        let plain = Plain::with_nonce(nonce).await;
        let seed = world.secret("nats.nk", &user.seed().unwrap());
        world.agent_config =
            format!("[nats]\nservers = ['{}']\nnkey_seed_file = '{}'\n", plain.ip, seed.display());
        world.write_agent_config();
        let config = world.path("agent/config.toml");
        let test = output(AGENT, &["test-dial", "--config", config.to_str().unwrap()]).await;
        assert!(
            said(&test).contains("nonce is not 8 to 64 of A-Z a-z 0-9 _ -: not signed"),
            "{}",
            said(&test)
        );
        eventually(|| plain.calls.load(Ordering::SeqCst) > 0, || "nobody dials it".into()).await;
        assert!(plain.received.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_would_travel_in_clear_is_refused_at_load() {
    let world = World::new();
    let password = format!("user = 'u'\npassword_file = '{}'\n", world.secret("password", "x").display());
    let token = format!("token_file = '{}'\n", world.secret("token", "x").display());
    let seed = nkeys::KeyPair::new_user().seed().unwrap();
    let nkey = format!("nkey_seed_file = '{}'\n", world.secret("nk", &seed).display());
    let ca = world.certificate("ca", "DNS:x").0;
    let ca = format!("ca_file = '{}'\n", ca.display());
    let clear = "would travel in clear: use tls://, or set";
    let mixed = "write tls:// (or wss://) for all of them";
    let login = "a URL must not hold a login";
    let cases: &[(&str, &str, Option<&str>)] = &[
        ("'nats://192.0.2.1'", &password, Some(clear)),
        ("'192.0.2.1:4222'", &token, Some(clear)),
        ("'nats://localhost.example.com'", &password, Some(clear)),
        ("'nats://localhost', 'nats://[2001:db8::1]:4222'", &password, Some(clear)),
        ("'ws://nats.example.com'", &password, Some(clear)),
        ("'NATS://NATS.EXAMPLE.COM'", &token, Some(clear)),
        ("'nats://192.0.2.1'", &format!("{password}allow_plaintext = true\n"), None),
        ("'nats://192.0.2.1'", &nkey, None),
        ("'nats://LOCALHOST', 'nats://127.9.9.9', 'nats://[::1]:4222'", &password, None),
        ("'tls://192.0.2.1', 'TLS://NATS.EXAMPLE.COM'", &password, None),
        ("'wss://nats.example.com'", &password, None),
        ("'nats://192.0.2.1'", &format!("{password}tls_first = true\n"), None),
        ("'nats://192.0.2.1'", &format!("{password}{ca}"), None),
        (
            "'ws://192.0.2.1'",
            &format!("{password}{ca}"),
            Some("is never encrypted, and ca_file asks for TLS"),
        ),
        ("'tls://a', 'nats://b'", "", Some(mixed)),
        ("'a', 'wss://b'", "allow_plaintext = true\n", Some(mixed)),
        ("'tls://a', 'ws://localhost'", "", Some(mixed)),
        ("'tls://u:canary@a'", "", Some(login)),
        ("'nats://canary@localhost'", "", Some(login)),
    ];
    for (servers, lines, refusal) in cases {
        let mut world = World::new();
        let lines = format!("servers = [{servers}]\n{lines}");
        world.agent_config = format!("[nats]\n{lines}");
        world.write_agent_config();
        world.write_relay_config();
        let relay = std::fs::read_to_string(world.path("relay/config.toml")).unwrap();
        let own = format!("nats.servers = ['{}']\n", world.nats_url());
        std::fs::write(world.path("relay/config.toml"), relay.replace(&own, &platform_lines(&lines)))
            .unwrap();
        for (program, file) in [(AGENT, "agent/config.toml"), (RELAY, "relay/config.toml")] {
            let config = world.path(file);
            let check = output(program, &["check-config", "--config", config.to_str().unwrap()]).await;
            let text = said(&check);
            match refusal {
                None => {
                    assert_eq!(check.status.code(), Some(0), "{file} {lines}: {text}");
                    let is_remarked = text.contains("remark: NATS: nats://192.0.2.1:4222 is not encrypted");
                    assert_eq!(is_remarked, lines.contains("nkey"), "{file} {lines}: {text}");
                }
                Some(why) => {
                    assert_eq!(check.status.code(), Some(78), "{file} {lines}: {text}");
                    assert!(text.contains(why) && !text.contains("canary"), "{file} {lines}: {text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn simple_mode_in_clear_and_one_key_for_two_purposes_are_refused() {
    let mut world = World::new();
    let key = world.secret("relay.key", "x");
    let check = async |world: &World| {
        world.write_agent_config();
        let config = world.path("agent/config.toml");
        let check = output(AGENT, &["check-config", "--config", config.to_str().unwrap()]).await;
        (check.status.code(), said(&check))
    };
    let simple = |servers: &str| {
        format!(
            "[auth]\nmode = 'opaque'\n[relay]\nallow = ['ws://127.0.0.1:1']\nkey_file = '{}'\n[nats]\nservers = ['{servers}']\n",
            key.display()
        )
    };
    world.agent_config = simple("nats://192.0.2.1");
    let (code, text) = check(&world).await;
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("every token of simple mode would travel in clear"), "{text}");
    for servers in ["tls://192.0.2.1", "nats://127.0.0.1"] {
        world.agent_config = simple(servers);
        assert_eq!(check(&world).await.0, Some(0));
    }

    let (one, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let seed = one.seed().unwrap();
    let (login, other) = (world.secret("login.nk", &seed), world.secret("other.nk", &other.seed().unwrap()));
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let creds = world.secret("login.creds", &creds);
    let copy = world.secret("host.nk", &format!("{seed}\n"));
    for (by, host, is_fine) in [
        (format!("nkey_seed_file = '{}'", login.display()), &copy, false),
        (format!("creds_file = '{}'", creds.display()), &copy, false),
        (format!("nkey_seed_file = '{}'", login.display()), &other, true),
    ] {
        world.agent_config = format!(
            "[auth]\nissuers_dir = 'DIR/agent/issuers.d'\nhost_key_file = '{}'\n[nats]\nservers = ['tls://a']\n{by}\n",
            host.display()
        );
        let (code, text) = check(&world).await;
        assert_eq!(code, Some(if is_fine { 0 } else { 78 }), "{text}");
        assert_eq!(
            text.contains("`auth.host_key_file`: is also the key of the NATS login"),
            !is_fine,
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_way_by_websocket_is_inside_tls_and_tls_may_come_first() {
    for (kind, way) in [(KINDS[0], "wss"), (KINDS[1], "wss"), (KINDS[1], "first")] {
        let mut world = World::new();
        world.nats_kind = kind;
        let names = format!("IP:{}", world.ip);
        let mut login = with_login(&mut world, &names);
        let at = match way {
            "wss" => {
                let tls = world.nats_config.lines().next().unwrap().to_owned();
                world.nats_config.push_str(&format!("\nwebsocket {{ listen: '{}:4443', {tls} }}", world.ip));
                format!("wss://{}:4443", world.ip)
            }
            _ => {
                world.nats_config = world.nats_config.replace("tls {", "tls { handshake_first: true,");
                login.push_str("tls_first = true\n");
                format!("nats://{}:4222", world.ip)
            }
        };
        world.nats_at = Some(at.clone());
        world.agent_config = format!("[nats]\nservers = ['{at}']\n{login}");
        world.platform_config = platform_lines(&login);
        world.targets = ECHO.into();
        world.start().await;
        let mut client = world.open("echo").await;
        client.send(b"through a websocket".to_vec()).await;
        client.read_until("through a websocket").await;
    }
}

/// `test-dial` with one server and `ca_file`.
async fn tested(at: &str, ca: &Path) -> String {
    let mut world = World::new();
    world.agent_config = format!("[nats]\nservers = ['{at}']\nca_file = '{}'\n", ca.display());
    world.write_agent_config();
    let config = world.path("agent/config.toml");
    said(&output(AGENT, &["test-dial", "--config", config.to_str().unwrap()]).await)
}

#[tokio::test]
async fn names_may_be_spelled_in_capitals_and_ipv6_works_and_what_fails_has_a_remedy() {
    let world = World::new();
    let (cert, key) = world.certificate("nats/tls", "DNS:localhost,IP:::1");
    let connected = "PASS  nats-connect";
    for (host, spelt, outcome) in [
        ("::1", "tls://[::1]", connected),
        ("127.0.0.1", "TLS://LOCALHOST", connected),
        ("127.0.0.1", "tls://127.0.0.1", "the server's certificate has another name"),
    ] {
        // These addresses are shared, so it takes a free port.
        let port = TcpListener::bind((host, 0)).await.unwrap().local_addr().unwrap().port().to_string();
        let mut command = Command::new(NatsKind::New.program());
        command.args(["-a", host, "-p", &port, "--tls", "--tlscert"]).arg(&cert).arg("--tlskey").arg(&key);
        let nats = Process::start(command, world.path(&format!("nats-{port}.log")));
        nats.says("Server is ready").await;
        let text = tested(&format!("{spelt}:{port}"), &cert).await;
        assert!(text.contains(outcome), "{spelt}: {text}");
    }
    let mut plain = World::new();
    plain.start_nats().await;
    let text = tested(&plain.nats_url(), &cert).await;
    assert!(text.contains("the server does not speak TLS at that port"), "{text}");
}

#[tokio::test]
async fn a_broken_file_among_the_systems_certificates_does_not_matter_with_ca_file() {
    let mut world = World::new();
    let names = format!("IP:{}", world.ip);
    let login = with_login(&mut world, &names);
    world.agent_config = format!("[nats]\nservers = ['tls://{}:4222']\n{login}", world.ip);
    world.relay_config = "# no platform\n".into();
    world.start_nats().await;
    world.write_agent_config();
    let mut command = world.agent_command();
    command.env("SSL_CERT_FILE", "/nonexistent");
    let agent = started(command, &world.dir, "agent").await;
    agent.says("subscribed to stream.v1.host.h1").await;
    agent.says("servers that are not in nats.servers are not dialled").await;
}
