//! `stream-relay open`: no command hangs, and each end has a message and an exit code.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use nix::pty::openpty;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::ends::{Middlebox, Way};
use crate::world::{Process, RELAY, SOON, World};

const TARGETS: &str = "
[target.dump]
kind = 'exec'
argv = ['/bin/sh', '-c', 'while head -c 100000 /dev/zero; do sleep 0.01; done']
user = 'root'
max_streams = 8
[target.shell]
kind = 'exec'
argv = ['/bin/sh', '-c', 'sleep 0.3; exec /bin/bash --norc']
pty = true
user = 'root'
[target.screen]
kind = 'exec'
argv = ['/bin/sh', '-c', 'printf \"\\\\033[?1049hready\"; exec cat']
pty = true
user = 'root'
[target.log]
kind = 'file'
path = 'DIR/a.log'
max_streams = 1
";

/// A world with all of these targets.
async fn world() -> World {
    let mut world = World::new();
    std::fs::write(world.path("a.log"), "line\n").unwrap();
    world.targets = TARGETS.into();
    world.start().await;
    world
}

/// Runs with its input open and without input.
fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

/// Cut in the middle of the dump.
async fn dumping(command: Command) -> Child {
    let mut open = spawn(command);
    timeout(SOON, open.stdout.as_mut().unwrap().read_exact(&mut vec![0; 300_000])).await.unwrap().unwrap();
    open
}

/// The exit code and the message.
async fn end(open: Child) -> (i32, String) {
    let Output { status, stderr, .. } = timeout(SOON, open.wait_with_output()).await.unwrap().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// `open --stdio` of a URL.
fn of_url(world: &World, url: &str) -> Command {
    let file = world.path("url");
    std::fs::write(&file, url).unwrap();
    let mut command = Command::new(RELAY);
    command.args(["open", "--stdio", "--url-file"]).arg(file);
    command
}

/// `open --listen` at a port.
async fn listening(world: &World, target: &str) -> (Process, SocketAddr) {
    let command = world.open_command(&["h1", target, "--listen", "127.0.0.1:0"]);
    let process = Process::start(command, world.path("listen.log"));
    process.says("listening at ").await;
    let said = process.said();
    let address = said.lines().find_map(|line| line.strip_prefix("listening at ")?.parse().ok());
    (process, address.unwrap())
}

#[tokio::test]
async fn a_dump_that_is_cut_by_the_network_is_an_error() {
    let world = world().await;
    let middlebox = Middlebox::before(format!("{}:8080", world.ip)).await;
    for way in [Way::Fin, Way::Rst] {
        let url = world.url("dump").await.replacen(":8080", &format!(":{}", middlebox.port), 1);
        let open = dumping(of_url(&world, &url)).await;
        middlebox.breaks(way);
        let (code, said) = end(open).await;
        assert_eq!(code, 69, "{way:?}: {said}");
        assert!(said.contains("connection to the relay was lost"), "{way:?}: {said}");
    }
}

#[tokio::test]
async fn a_dump_that_somebody_else_ends_is_an_error() {
    let mut world = world().await;
    let body = json!({ "host": "h1", "target": "dump" });
    let (_, session): (_, Value) = world.api("POST", "/api/v1/sessions", body).await;
    let open = dumping(of_url(&world, session["url"].as_str().unwrap())).await;
    let path = format!("/api/v1/sessions/{}", session["session"].as_str().unwrap());
    world.api("DELETE", &path, Value::Null).await;
    let (code, said) = end(open).await;
    assert!(code == 77 && said.contains("(4410)"), "{code} {said}");

    let stdio = &["h1", "dump", "--stdio"][..];
    let (listener, address) = listening(&world, "dump").await;
    let mut local = TcpStream::connect(address).await.unwrap();
    local.read_exact(&mut vec![0; 300_000]).await.unwrap();
    let open = dumping(world.open_command(stdio)).await;
    world.agent.take().unwrap().kill().await;
    let (code, said) = end(open).await;
    assert!(code == 69 && said.contains("connection to the host was lost (4503)"), "{code} {said}");
    // A local program must also see that the data is incomplete.
    let error = timeout(SOON, local.read_to_end(&mut Vec::new())).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    listener.says("connection to the host was lost (4503)").await;

    world.start_agent().await;
    let open = dumping(world.open_command(stdio)).await;
    world.relay.take().unwrap().kill().await;
    let (code, said) = end(open).await;
    assert!(code == 69 && said.contains("connection to the relay was lost"), "{code} {said}");
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    let world = world().await;
    let mut command = world.open_command(&["h1", "dump", "--stdio"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
    let (code, said) = end(command.spawn().unwrap()).await;
    assert!(code == 74 && said.contains("standard output: No space left"), "{code} {said}");
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_ends_the_stream() {
    let world = world().await;
    let mut open = spawn(world.open_command(&["h1", "log", "--stdio"]));
    let mut stdout = open.stdout.take().unwrap();
    timeout(SOON, stdout.read_exact(&mut [0; 5])).await.unwrap().unwrap();
    // The log does not grow, and the client sends nothing.
    drop(stdout);
    let _held = open.stdin.take();
    assert_eq!(end(open).await, (0, String::new()));
    world.metric_is("stream_relay_streams", 0.0).await;
}

#[tokio::test]
async fn local_clients_that_close_in_good_order_leave_no_stream() {
    let world = world().await;
    let (_listener, address) = listening(&world, "log").await;
    for client in 0..3 {
        let deadline = Instant::now() + SOON;
        loop {
            let mut local = TcpStream::connect(address).await.unwrap();
            let mut line = [0; 5];
            // The target allows one stream, and the previous client may hold it for a moment longer.
            if local.read_exact(&mut line).await.is_ok() {
                assert_eq!(&line, b"line\n");
                break;
            }
            assert!(Instant::now() < deadline, "client {client} gets nothing");
        }
    }
    world.metric_is("stream_relay_streams", 0.0).await;
}

#[tokio::test]
async fn a_socket_of_a_file_is_its_users_own() {
    let world = world().await;
    let path = world.path("local.sock");
    let address = format!("unix:{}", path.display());
    let command = world.open_command(&["h1", "log", "--listen", &address]);
    let listener = Process::start(command, world.path("listen.log"));
    listener.says("listening at ").await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let mut local = UnixStream::connect(&path).await.unwrap();
    let mut line = [0; 5];
    timeout(SOON, local.read_exact(&mut line)).await.unwrap().unwrap();
    assert_eq!(&line, b"line\n");
}

#[tokio::test]
async fn listening_for_what_cannot_be_opened_ends_at_once() {
    let world = world().await;
    for (host, target, code, words) in
        [("h1", "lag", 77, "this key may open dump, log, screen, shell"), ("h2", "log", 69, "host_offline")]
    {
        let open = spawn(world.open_command(&[host, target, "--listen", "127.0.0.1:0"]));
        let (got, said) = end(open).await;
        assert!(got == code && said.contains(words), "{got} {said}");
    }
    let open = spawn(world.open_command(&["h1", "log", "--listen", "5901"]));
    let (code, said) = end(open).await;
    assert!(code == 64 && said.contains("127.0.0.1:"), "{code} {said}");
}

#[tokio::test]
async fn input_that_ends_before_a_shell_is_ready_ends_the_shell() {
    let world = world().await;
    for (input, answer) in [("echo a$((1+1))a\n", "a2a"), ("", "")] {
        let mut open = spawn(world.open_command(&["h1", "shell", "--stdio"]));
        open.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = timeout(SOON, open.wait_with_output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(answer));
    }
}

#[tokio::test]
async fn a_frozen_console_is_left_by_the_escape_and_the_terminal_is_as_it_was() {
    let world = world().await;
    let ends = openpty(None, None).unwrap();
    let mut command = world.open_command(&["h1", "screen", "--stdio"]);
    let slave = || Stdio::from(ends.slave.try_clone().unwrap());
    command.stdin(slave()).stdout(slave()).stderr(Stdio::piped());
    let open = command.spawn().unwrap();
    let mut master = tokio::fs::File::from_std(ends.master.into());
    until(&mut master, "\x1b[?1049hready").await;
    world.relay().signal(Signal::SIGSTOP);
    master.write_all(b"not an escape: ~.\r~.").await.unwrap();
    let (code, said) = end(open).await;
    world.relay().signal(Signal::SIGCONT);
    assert!(code == 0 && said.contains("~."), "{code} {said}");
    until(&mut master, "\x1b[?1049l").await;
}

/// A page of the relay, as small as can be.
fn write_page(world: &World) {
    let folder = world.path("web");
    std::fs::create_dir(&folder).unwrap();
    let html = "<meta name=\"stream-relays\" content=\"__RELAYS__\">";
    let hash = ring::digest::digest(&ring::digest::SHA256, html.as_bytes());
    let etag: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let files = json!({ "view.html": { "type": "text/html; charset=utf-8", "etag": etag } });
    let manifest = json!({ "version": "1", "pages": { "view": "view.html" }, "files": files });
    std::fs::write(folder.join("view.html"), html).unwrap();
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

#[tokio::test]
async fn the_url_of_the_page_is_printed_where_there_is_a_page() {
    let mut world = World::new();
    std::fs::write(world.path("a.log"), "line\n").unwrap();
    world.targets = TARGETS.into();
    world.relay_config = "web.dir = 'DIR/web'".into();
    world.start().await;
    let relay = world.relay_url();
    let printed = async |args: &[&str]| {
        let output = timeout(SOON, world.open_command(args).output()).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "{output:?}");
        (text(output.stdout), text(output.stderr))
    };
    let (url, said) = printed(&["h1", "log"]).await;
    assert!(url.starts_with(&format!("{relay}/v1/stream/")), "{url}");
    assert!(said.contains("serves no page") && !said.contains(url.trim()), "{said}");
    write_page(&world);
    world.relay().signal(Signal::SIGHUP);
    world.relay().says("configuration reloaded").await;

    let (page, said) = printed(&["h1", "log"]).await;
    let at = relay.replacen("ws", "http", 1);
    assert!(page.starts_with(&format!("{at}/view#{relay}/v1/stream/")) && said.is_empty(), "{page} {said}");
    // Both forms open it.
    let file = world.path("url");
    std::fs::write(&file, &page).unwrap();
    let mut command = Command::new(RELAY);
    command.args(["open", "--stdio", "--url-file"]).arg(file);
    let mut open = spawn(command);
    let mut line = [0; 5];
    timeout(SOON, open.stdout.as_mut().unwrap().read_exact(&mut line)).await.unwrap().unwrap();
    assert_eq!(&line, b"line\n");
    let (url, said) = printed(&["h1", "dump", "--ws"]).await;
    assert!(url.starts_with(&format!("{relay}/v1/stream/")) && said.is_empty(), "{url} {said}");
    let (both, _) = printed(&["h1", "dump", "--json"]).await;
    let both: Value = serde_json::from_str(&both).unwrap();
    assert_eq!(both["page"], format!("{at}/view#{}", both["url"].as_str().unwrap()));
    // What a browser shows in its address bar may be a secret, and no log has it.
    let token = url.trim().rsplit('/').next().unwrap();
    let visit =
        world.run("curl", &["-sS", "-i", "-H", "accept: text/html", &url.trim().replacen("ws", "http", 1)]);
    assert!(visit.starts_with("HTTP/1.1 303 "), "{visit}");
    assert!(!world.relay().said().contains(token));
}

/// Reads from a terminal until something is shown.
async fn until(master: &mut tokio::fs::File, text: &str) {
    let mut shown = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&shown).contains(text) {
            let mut piece = [0; 1024];
            let count = master.read(&mut piece).await.unwrap();
            shown.extend_from_slice(&piece[..count]);
        }
    };
    timeout(SOON, reading).await.unwrap();
}
