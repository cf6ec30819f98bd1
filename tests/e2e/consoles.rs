//! Consoles as people use them: full screen programs that are resized, floods that are interrupted, containers.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::world::{Client, SOON, World, eventually, within};
use futures_util::{SinkExt, StreamExt};

/// Opens a terminal target and sends its size.
async fn terminal(world: &World, target: &str, cols: u16, rows: u16) -> Client {
    let mut client = Client::connect(&world.url(target).await, &["stream.v1"]).await;
    resize(&mut client, cols, rows).await;
    client
}

async fn resize(client: &mut Client, cols: u16, rows: u16) {
    client.send_text(&format!(r#"{{"type":"resize","cols":{cols},"rows":{rows}}}"#)).await;
}

/// Full screen programs ask their terminal for its size when they are resized, and draw on its last line.
#[tokio::test]
async fn full_screen_programs_are_resized_while_they_run() {
    let world = World::with(
        "[target.vim]\nkind = 'exec'\nargv = ['/usr/bin/vim.tiny', '-u', 'NONE', '-i', 'NONE', '-n', '+set ruler', 'DIR/text']\npty = true\n\
         [target.htop]\nkind = 'exec'\nargv = ['/usr/bin/htop']\npty = true\nenv = { HOME = '/nonexistent' }\n",
    )
    .await;
    std::fs::write(world.path("text"), (1..200).map(|n| format!("text {n}\n")).collect::<String>()).unwrap();
    let mut vim = terminal(&world, "vim", 80, 24).await;
    // The ruler stands on the last line.
    vim.read_until("\x1b[24;").await;
    resize(&mut vim, 120, 50).await;
    let drawn = vim.read_until("\x1b[50;").await;
    assert!(drawn.contains("text 45"), "{drawn:?}");
    resize(&mut vim, 60, 10).await;
    vim.read_until("\x1b[10;").await;
    vim.send(b":q!\r".to_vec()).await;
    let (_, code, _) = vim.rest().await;
    assert_eq!(code, 1000);

    let mut htop = terminal(&world, "htop", 100, 30).await;
    htop.read_until("\x1b[30;").await;
    resize(&mut htop, 140, 44).await;
    htop.read_until("\x1b[44;").await;
    htop.send(b"q".to_vec()).await;
    assert_eq!(htop.rest().await.1, 1000);
}

/// A browser tab that takes nothing: its socket is not read, and its buffer is small.
async fn stalled(world: &World, target: &str) -> tokio_tungstenite::WebSocketStream<TcpStream> {
    let url = world.url(target).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(format!("{}:8080", world.ip).parse().unwrap()).await.unwrap();
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "stream.v1".parse().unwrap());
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

const FLOOD: &str = "[target.flood]\nkind = 'exec'\n\
    argv = ['/bin/sh', '-c', 'echo $$ > DIR/pid; yes | head -c 1G; echo over > DIR/over']\npty = true\n";

/// What either program may grow by while a stream is flooded: buffers of 64 KiB each way, and the allocator's habits.
const BOUND: u64 = 4096;

#[tokio::test]
async fn a_flood_to_a_stalled_browser_is_bounded_and_hears_its_interrupt() {
    let world = World::with(FLOOD).await;
    let mut client = stalled(&world, "flood").await;
    eventually(|| world.path("pid").exists(), || "the flood does not begin".into()).await;
    let pid: i32 = loop {
        if let Ok(pid) = std::fs::read_to_string(world.path("pid")).unwrap().trim().parse() {
            break pid;
        }
    };
    // When it sleeps waiting for its terminal, all buffers on the way are full.
    let stat = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let writes = || {
        let children = std::fs::read_to_string(&children).unwrap_or_default();
        children.split_whitespace().any(|child| stat(child.parse().unwrap()).contains("tty"))
            || children.split_whitespace().any(|child| stat(child.parse().unwrap()).contains("n_tty"))
    };
    let before = (world.agent().rss(), world.relay().rss());
    // A kernel without wait channels leaves the deadline of a second, which is enough for any buffer.
    let quiet = Instant::now();
    eventually(|| writes() || quiet.elapsed() > Duration::from_secs(1), || "it goes on writing".into()).await;
    let after = (world.agent().rss(), world.relay().rss());
    let grown = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    println!("flooded: agent {} KiB (+{}), relay {} KiB (+{})", after.0, grown.0, after.1, grown.1);
    assert!(grown.0 < BOUND && grown.1 < BOUND, "{grown:?}");
    let typed = Instant::now();
    client.send(Message::binary(vec![3])).await.unwrap();
    let is_gone = || !std::path::Path::new(&format!("/proc/{pid}")).exists();
    within(SOON, is_gone, || "Ctrl-C did not get through".into()).await;
    println!("Ctrl-C took {:?}", typed.elapsed());
    assert!(!world.path("over").exists());
    // A browser that wakes up has lost nothing.
    let mut bytes = 0;
    while let Some(Ok(message)) = client.next().await {
        match message {
            Message::Binary(piece) => {
                assert!(piece.iter().all(|byte| b"y\r\n^C".contains(byte)));
                bytes += piece.len();
            }
            Message::Close(close) => {
                assert_eq!(u16::from(close.unwrap().code), 1000);
                break;
            }
            _ => {}
        }
    }
    println!("{bytes} bytes were on the way");
}

#[tokio::test]
async fn a_browser_that_acknowledges_is_never_more_than_its_credit_behind() {
    let world = World::with(FLOOD).await;
    let mut client = Client::connect(&world.url("flood").await, &["stream.v1"]).await;
    client.send_text(r#"{"type":"ack","bytes":0}"#).await;
    // The first bytes may be under way before the first ack arrives.
    let mut got = 0;
    while got < 200_000 {
        match tokio::time::timeout(SOON, client.next()).await.expect("too little comes") {
            Message::Binary(piece) => got += piece.len(),
            other => println!("{other:?}"),
        }
    }
    while let Ok(message) = tokio::time::timeout(Duration::from_millis(500), client.next()).await {
        if let Message::Binary(piece) = message {
            got += piece.len();
        }
    }
    println!("{got} bytes without acknowledgement");
    assert!(got < 1 << 20, "{got}");
    client.send_text(r#"{"type":"signal","name":"INT"}"#).await;
    client.send_text(&format!(r#"{{"type":"ack","bytes":{got}}}"#)).await;
    let (_, code, _) = client.rest().await;
    assert_eq!(code, 1000);
    assert!(!world.path("over").exists());
}

#[tokio::test]
async fn what_is_used_for_injection_is_refused_on_the_whole_way() {
    let world = World::with(
        "[target.unit]\nkind = 'exec'\nargv = ['/bin/echo', '--unit={unit}']\nparams.unit.pattern = '[a-z0-9@.-]+'\n",
    )
    .await;
    let mut client = Client::connect(&world.url_with("unit", &["unit=nginx.service"]).await, &[]).await;
    let (said, code, _) = client.rest().await;
    assert_eq!((&said[..], code), (&b"--unit=nginx.service\n"[..], 1000));
    let long = "x".repeat(4096);
    for (value, rule) in [
        ("-oProxyCommand=id", "begins with a dash"),
        ("--help", "begins with a dash"),
        ("a\nb", "control character"),
        ("a\u{0}b", "NUL"),
        ("$(id)", "does not match the pattern"),
        ("`id`", "does not match the pattern"),
        ("a;id", "does not match the pattern"),
        ("", "does not match the pattern"),
        ("\u{ff0d}o", "not ASCII"),
        (&long, "longer than 256 bytes"),
    ] {
        let body = serde_json::json!({ "host": "h1", "target": "unit", "params": { "unit": value } });
        let (status, answer) = world.api("POST", "/api/v1/sessions", body).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (409, Some("params_not_allowed")),
            "{value:?}: {answer}"
        );
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(rule) && message.contains("`unit`"), "{value:?}: {message}");
        println!("{:<24} {message}", format!("{value:.20?}"));
    }
    world.agent().says("params_not_allowed").await;
    // Records contain accepted parameters, even if no client came, and no refused value.
    let body = serde_json::json!({ "host": "h1", "target": "unit", "params": { "unit": "late.service" } });
    let (_, answer) = world.api("POST", "/api/v1/sessions", body).await;
    let session = format!("/api/v1/sessions/{}", answer["session"].as_str().unwrap());
    world.api("DELETE", &session, serde_json::json!({})).await;
    world.agent().says("no stream came about").await;
    let said = world.agent().said();
    let events = |event: &str, params: &str| {
        let (event, params) = (format!("event=\"{event}\""), format!("params=\"{params}\""));
        said.lines().filter(|line| line.contains(&event) && line.contains(&params)).count()
    };
    for (event, params) in
        [("started", "unit=nginx.service"), ("ended", "unit=nginx.service"), ("refused", "unit=late.service")]
    {
        assert_eq!(events(event, params), 1, "{event}:\n{said}");
    }
    assert!(!said.contains("oProxyCommand") && !said.contains("a;id"), "{said}");
}

/// A busybox container of LXC; destroyed with its folder.
struct Container {
    dir: tempfile::TempDir,
}

impl Container {
    async fn start() -> Container {
        let dir = tempfile::tempdir().unwrap();
        let container = Container { dir };
        container.lxc("lxc-create", &["-t", "busybox"]).await;
        let config = container.dir.path().join("c1/config");
        let text = std::fs::read_to_string(&config).unwrap();
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("lxc.net."))
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&config, text + "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n")
            .unwrap();
        container.lxc("lxc-start", &[]).await;
        container
    }

    /// The container keeps the pipes that it was started with open, so they go to a file.
    async fn lxc(&self, program: &str, args: &[&str]) {
        let log = self.dir.path().join("log");
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(program);
        command.arg("-P").arg(self.dir.path()).args(["-n", "c1"]).args(args);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let status = tokio::time::timeout(SOON, command.status()).await.expect(program).unwrap();
        assert!(status.success(), "{program}: {}", std::fs::read_to_string(&log).unwrap());
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let stop = std::process::Command::new("lxc-stop")
            .arg("-P")
            .arg(self.dir.path())
            .args(["-k", "-n", "c1"])
            .output();
        drop(stop);
    }
}

#[tokio::test]
async fn a_container_of_lxc_has_a_console_and_takes_commands() {
    let container = Container::start().await;
    let path = container.dir.path().display();
    let world = World::with(&format!(
        "[target.console]\nkind = 'lxc'\ncontainers = ['c*']\npath = '{path}'\n\
         [target.shell]\nkind = 'lxc'\ncontainers = ['c1']\npath = '{path}'\nargv = ['/bin/sh']\n"
    ))
    .await;
    let mut shell = terminal(&world, "shell", 100, 30).await;
    // A starting shell discards earlier input.
    shell.read_until("# ").await;
    shell.send(b"echo $((6*7)) $(hostname); stty size; exit 5\n".to_vec()).await;
    let said = shell.read_until("30 100").await;
    assert!(said.contains("42 c1"), "{said:?}");
    let mut console = Client::connect(&world.url_with("console", &["container=c1"]).await, &[]).await;
    // It drops what is typed before it is connected.
    console.read_until("to exit the console").await;
    console.is_answered().await;
    // The streams of a container end when it stops.
    container.lxc("lxc-stop", &["-k"]).await;
    assert_eq!(console.rest().await.1, 1000);
    let output = world.open_command(&["h1", "console", "--param", "container=d1"]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not among the names"));
}
