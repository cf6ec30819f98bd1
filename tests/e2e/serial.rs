//! Serial lines of a virtual machine: as a socket, and as a terminal that QEMU made.

use std::fs::File;
use std::time::Duration;

use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use tokio::process::Command;

use crate::world::{Client, Process, World, part, within};

/// The guest is emulated instruction by instruction, so it is slow on a busy machine.
const GUEST: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_guests_serial_lines_are_consoles() {
    let mut world = World::new();
    std::fs::create_dir(world.path("guest")).unwrap();
    let mut command = Command::new(part("guest"));
    command.arg(world.path("guest")).args(["-chardev", "pty,id=line", "-serial", "chardev:line"]);
    let guest = Process::start(command, world.path("guest.log"));
    let log = || std::fs::read_to_string(world.path("guest/serial.log")).unwrap_or_default();
    within(GUEST, || log().contains("guest is up"), || format!("{}{}", log(), guest.said())).await;
    let said = guest.said();
    let path = said.split_whitespace().find(|word| word.starts_with("/dev/pts/")).unwrap().to_owned();
    world.targets = format!(
        "[target.socket]\nkind = 'unix'\npath = 'DIR/guest/serial'\n\
         [target.line]\nkind = 'serial'\npath = '{path}'\n\
         [target.look]\nkind = 'serial'\npath = '{path}'\nmodes = ['ro']\n"
    );
    world.start().await;

    let mut socket = world.open("socket").await;
    socket.is_answered().await;

    let before = settings(&path);
    let mut line = world.open("line").await;
    line.is_answered().await;
    line.send(b"echo $((6*7)); tty\r".to_vec()).await;
    let said = line.read_until("/dev/ttyS1").await;
    assert!(said.contains("\n42\r\n"), "{said:?}");
    // The terminal is raw: only the guest echoes, and Ctrl-C goes to the guest. How often a line is
    // echoed says nothing: a guest's kernel echoes too what is typed before its shell reads.
    let raw = settings(&path).local_flags;
    assert!(!raw.intersects(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG), "{raw:?}");
    line.send(b"echo wrong\x03".to_vec()).await;
    line.read_until("^C").await;
    line.is_answered().await;
    line.send(b"echo $((7*7))\r".to_vec()).await;
    let said = line.read_until("\n49\r\n").await;
    assert!(!said.contains("wrong"), "{said:?}");
    // One types; others are refused, or watch.
    let mut second = world.open("line").await;
    assert_eq!(second.closed_with(4502).await, "host could not open the target");
    world.agent().says(&format!("somebody is typing at {path} already")).await;
    let mut look = world.open("look").await;
    look.send(b"echo looked\r".to_vec()).await;
    // It is open when something that was typed comes there.
    let typing = async {
        loop {
            line.send(b"\r".to_vec()).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = typing => {}
        _ = look.read_until("guest$") => {}
    }
    line.send(b"echo $((8*8))\r".to_vec()).await;
    let said = line.read_until("\n64\r\n").await;
    assert!(!said.contains("looked"), "{said:?}");
    look.read_until("\n64\r\n").await;
    line.close().await;
    look.close().await;
    let is_back = || settings(&path) == before;
    within(GUEST, is_back, || "the settings do not come back".into()).await;

    // It continues where it was, until the machine ends.
    let mut line = world.open("line").await;
    line.send(b"echo $((6*7))\r".to_vec()).await;
    line.read_until("\n42\r\n").await;
    guest.kill().await;
    for client in [&mut line, &mut socket] {
        let (_, code, reason) = client.rest().await;
        assert_eq!(code, 1000, "{reason}");
    }
    let mut late: Client = world.open("line").await;
    late.closed_with(4502).await;
    world.agent().says(&format!("{path} does not exist")).await;
}

fn settings(path: &str) -> Termios {
    tcgetattr(File::open(path).unwrap()).unwrap()
}
