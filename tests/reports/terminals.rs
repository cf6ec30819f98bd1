//! Terminals, serial lines and text: what programs and readers expect of them.

use std::fs;
use std::os::unix::fs::symlink;

use nix::pty::openpty;
use nix::unistd::{Uid, User, ttyname, write};
use serde_json::Value;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{AGENT, Client, World, eventually};

#[tokio::test]
async fn a_serial_line_takes_any_speed_and_a_link_of_root_to_it() {
    let mut world = World::new();
    let pty = openpty(None, None).unwrap();
    let by_id = world.path("usb-if00");
    symlink(ttyname(&pty.slave).unwrap(), &by_id).unwrap();
    let table =
        |baud: u32| format!("[target.line]\nkind = 'serial'\npath = '{}'\nbaud = {baud}\n", by_id.display());
    for (baud, code) in [(300, 0), (600, 0), (10_400, 0), (2_000_000, 0), (4_000_000, 0), (0, 78)] {
        world.targets = table(baud);
        world.write_agent_config();
        let mut command = Command::new(AGENT);
        command.arg("--config").arg(world.path("agent/config.toml")).arg("check-config");
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{baud}: {said}");
        assert!(code == 0 || said.contains("between 50 and"), "{said}");
    }
    world.targets = table(500_000);
    world.start().await;
    let mut client = world.open("line").await;
    client.send(b"hello".to_vec()).await;
    let mut typed = [0; 5];
    let master = pty.master.try_clone().unwrap();
    let n = tokio::task::spawn_blocking(move || {
        nix::unistd::read(&master, &mut typed).map(|n| typed[..n].to_vec())
    });
    assert!(b"hello".starts_with(&n.await.unwrap().unwrap()));
    write(&pty.master, b"login: ").unwrap();
    client.read_until("login: ").await;
}

#[tokio::test]
async fn a_program_knows_the_home_of_its_user() {
    let own = User::from_uid(Uid::effective()).unwrap().unwrap();
    // Only root can run programs as somebody else.
    let other = if own.uid.is_root() { User::from_name("mail").unwrap().unwrap() } else { own.clone() };
    let mut targets = String::new();
    for (name, user) in [("own", &own), ("other", &other)] {
        let script = r#"cd; echo "$HOME $USER $LOGNAME $SHELL cd=$?""#;
        let user = &user.name;
        targets += &format!(
            "[target.{name}]\nkind = 'exec'\nargv = ['/bin/sh', '-c', '{script}']\nuser = '{user}'\n"
        );
    }
    let world = World::with(&targets).await;
    for (name, user) in [("own", own), ("other", other)] {
        let said = world.open(name).await.read_until("cd=").await;
        let (home, shell) = (user.dir.display(), user.shell.display());
        let expected = format!("{home} {name} {name} {shell}", name = user.name);
        assert!(said.contains(&expected), "{said}");
    }
}

#[tokio::test]
async fn a_log_has_clean_lines_and_no_control_characters_of_any_kind() {
    let mut world = World::new();
    let log = world.path("serial.log");
    fs::write(&log, b"Linux\r\n\r\na\rb\r\r\ncaf\xc3\xa9 \x9b31m \x9d0;t\x9c end\r\n").unwrap();
    world.targets = format!("[target.log]\nkind = 'file'\npath = '{}'\n", log.display());
    world.start().await;
    let said = world.open("log").await.read_until("end\n").await;
    assert!(said.ends_with("Linux\n\na^Mb\ncafé <9B>31m <9D>0;t<9C> end\n"), "{said:?}");
}

#[tokio::test]
async fn a_program_that_looks_once_at_its_terminal_sees_the_size_that_the_client_says_first() {
    let world = World::with(
        "[target.size]\nkind = 'exec'\nargv = ['/bin/stty', 'size']\npty = true\nmax_streams = 32\n",
    )
    .await;
    for round in 0..10 {
        let mut client = Client::connect(&world.url("size").await, &["stream.v1"]).await;
        client.send_text(r#"{"type":"resize","cols":132,"rows":50}"#).await;
        assert_eq!(client.read_until("\n").await, "50 132\r\n", "round {round}");
    }
    // A client that sends nothing and one that types first do not wait for a size.
    let mut silent = Client::connect(&world.url("size").await, &["stream.v1"]).await;
    assert_eq!(silent.read_until("\n").await, "24 80\r\n");
    let mut typing = Client::connect(&world.url("size").await, &["stream.v1"]).await;
    typing.send(b"x".to_vec()).await;
    typing.read_until("24 80\r\n").await;
}

/// Hangs up its terminal as login(1) does, opens it again if it has the right, and echoes what was typed meanwhile.
const HANGS_UP: &str = r#"
import ctypes, os, signal, time
name = os.ttyname(0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for turn in ('1', '2'):
    for fd in (0, 1, 2): os.close(fd)
    ctypes.CDLL(None).vhangup()
    open('gone' + turn, 'w').close()
    # The test says when; without it this program ends by itself.
    deadline = time.monotonic() + 20
    while not os.path.exists('back' + turn):
        if time.monotonic() > deadline: os._exit(1)
        time.sleep(0.01)
    fd = os.open(name, os.O_RDWR)
    os.dup(fd); os.dup(fd)
    os.write(1, b'login: ')
    os.write(1, b'hello ' + os.read(0, 100))
    # A hang-up drops what nobody has read yet.
    os.read(0, 100)
os._exit(3)
"#;

/// The same without root's rights: a closed terminal looks the same from the other side.
const CLOSES: &str = "t=$(tty); exec 0<&- 1>&- 2>&-; : > gone1; while ! test -e back1; do sleep 0.01; done; \
                      exec 0<>$t 1>&0 2>&0; echo login:; cat; exit 3";

/// All output and the exit status.
async fn to_the_end(client: &mut Client) -> (String, Value) {
    let (mut said, mut status) = (String::new(), Value::Null);
    loop {
        match client.next().await {
            Message::Binary(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                status = message["code"].clone();
            }
            _ => return (said, status),
        }
    }
}

#[tokio::test]
async fn a_program_may_hang_up_its_terminal_and_open_it_again() {
    let mut world = World::new();
    let folder = world.path("agent").display().to_string();
    world.targets = format!(
        "[target.login]\nkind = 'exec'\nargv = ['/usr/bin/python3', '-c', '''{HANGS_UP}''']\npty = true\n\
         cwd = '{folder}'\n[target.closes]\nkind = 'exec'\nargv = ['/bin/sh', '-c', '{CLOSES}']\npty = true\n\
         cwd = '{folder}'\n"
    );
    world.start().await;
    let marker = |name: String| world.path("agent").join(name);
    let is_gone = async |turn: u32| {
        let gone = marker(format!("gone{turn}"));
        eventually(|| gone.exists(), || "the program did not hang up".to_owned()).await;
        fs::remove_file(gone).unwrap();
    };
    let may_come_back = |turn: u32| fs::write(marker(format!("back{turn}")), "").unwrap();

    let mut client = Client::connect(&world.url("login").await, &["stream.v1"]).await;
    for turn in [1, 2] {
        is_gone(turn).await;
        client.send(b"ada".to_vec()).await;
        client.send(b"\r".to_vec()).await;
        // The answer proves that the agent has processed it.
        client.send_text(r#"{"type":"pause"}"#).await;
        while !client.next().await.is_text() {}
        may_come_back(turn);
        client.read_until("hello ada").await;
        client.send(b"\r".to_vec()).await;
    }
    let (said, status) = to_the_end(&mut client).await;
    assert_eq!(status, 3, "{said:?}");

    fs::remove_file(marker("back1".into())).unwrap();
    let mut client = Client::connect(&world.url("closes").await, &["stream.v1"]).await;
    is_gone(1).await;
    client.send(b"ada\r".to_vec()).await;
    client.send_text(r#"{"type":"pause"}"#).await;
    while !client.next().await.is_text() {}
    // The end of the input comes after it.
    client.send_text(r#"{"type":"eof"}"#).await;
    may_come_back(1);
    let (said, status) = to_the_end(&mut client).await;
    assert!(said.ends_with("ada\r\nada\r\n") && status == 3, "{said:?} {status}");
}
