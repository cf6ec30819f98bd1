//! The screen of a QEMU without libvirt.

use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::Command;

use super::{ends, greets_as_vnc, links_as_spice, open, refusal, target};
use crate::world::{Process, eventually};

const UUID: &str = "5f0e1b52-0c1a-4a9b-8f57-8a1f4c0b7c11";

/// A machine without a port: its only socket is the monitor's.
pub(crate) struct Machine {
    dir: TempDir,
    qemu: Process,
}

impl Machine {
    pub(crate) async fn new(options: &[&str]) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-machine", "pc", "-m", "32", "-nodefaults", "-no-user-config", "-S"]);
        command.args(["-vga", "std", "-display", "none", "-uuid", UUID]).args(options);
        command.arg("-qmp").arg(format!("unix:{}/qmp,server=on,wait=off", dir.path().display()));
        let qemu = Process::start(command, dir.path().join("log"));
        let machine = Machine { dir, qemu };
        // A failed attempt releases the monitor at once.
        let listens = || std::os::unix::net::UnixStream::connect(machine.dir.path().join("qmp")).is_ok();
        eventually(listens, || machine.qemu.said()).await;
        machine
    }

    pub(crate) fn table(&self, keys: &str) -> String {
        format!("kind = 'qmp'\npath = '{}/qmp'\n{keys}", self.dir.path().display())
    }
}

#[tokio::test]
async fn both_screens_open_again_and_again_and_at_once() {
    let machine = Machine::new(&["-spice", "port=0,disable-ticketing=on", "-vnc", "none"]).await;
    let spice = target(&machine.table(&format!("display = 'spice'\nuuid = '{UUID}'")));
    let vnc = target(&machine.table("display = 'vnc'"));
    // Channels of a SPICE client come within milliseconds, and QEMU serves one monitor's client at a time.
    let (a, b, c, d, e) = tokio::join!(
        open(&spice, &[]),
        open(&spice, &[]),
        open(&vnc, &[]),
        open(&spice, &[]),
        open(&vnc, &[])
    );
    for opened in [a, b, d] {
        links_as_spice(&mut opened.unwrap()).await;
    }
    for opened in [c, e] {
        assert_eq!(greets_as_vnc(&mut opened.unwrap()).await, [1], "no password is asked for");
    }
    let opened = open(&vnc, &[]).await.unwrap();
    assert!(vnc.probe().await.unwrap().ends_with("/qmp answers"));
    machine.qemu.kill().await;
    ends(opened).await;
    assert!(refusal(&vnc, &[]).await.contains("connection refused"));
}

#[tokio::test]
async fn another_machine_than_the_owner_means_is_not_opened() {
    let machine = Machine::new(&["-vnc", "none"]).await;
    let other = "uuid = '00000000-0000-0000-0000-000000000001'";
    let message = refusal(&target(&machine.table(&format!("display = 'vnc'\n{other}"))), &[]).await;
    assert!(message.contains(UUID) && message.ends_with("correct `path` or `uuid`"), "{message}");
    let message = refusal(&target(&machine.table("display = 'spice'")), &[]).await;
    assert!(message.contains("opens no spice display") && message.contains("-spice port=0"), "{message}");
    assert_eq!(
        greets_as_vnc(&mut open(&target(&machine.table("display = 'vnc'")), &[]).await.unwrap()).await,
        [1]
    );
}

#[tokio::test]
async fn a_password_is_asked_for_unless_the_owner_says_otherwise() {
    let machine = Machine::new(&["-vnc", "none,password=on"]).await;
    for (keys, offered) in [("", 2), ("skip_auth = false", 2), ("skip_auth = true", 1)] {
        let target = target(&machine.table(&format!("display = 'vnc'\n{keys}")));
        assert_eq!(greets_as_vnc(&mut open(&target, &[]).await.unwrap()).await, [offered], "{keys}");
    }
}

#[tokio::test]
async fn a_monitor_that_another_has_is_told_from_one_that_is_none() {
    let machine = Machine::new(&["-vnc", "none"]).await;
    let vnc = target(&machine.table("display = 'vnc'"));
    let held = UnixStream::connect(machine.dir.path().join("qmp")).await.unwrap();
    held.readable().await.unwrap();
    let message = refusal(&vnc, &[]).await;
    assert!(message.contains("another one has it; give QEMU a second -qmp socket"), "{message}");
    drop(held);
    assert_eq!(greets_as_vnc(&mut open(&vnc, &[]).await.unwrap()).await, [1]);
    let serial = machine.dir.path().join("serial");
    let listener = tokio::net::UnixListener::bind(&serial).unwrap();
    let shown = format!("kind = 'qmp'\ndisplay = 'vnc'\npath = '{}'", serial.display());
    for said in [&b"login: \n"[..], &[b'x'; 70_000], b"{}\n", b""] {
        let served = async {
            let (mut client, _) = listener.accept().await.unwrap();
            // It may disconnect in the middle.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client, said).await;
        };
        let target = target(&shown);
        let (message, ()) = tokio::join!(refusal(&target, &[]), served);
        assert!(message.ends_with("`path` has to be QEMU's -qmp socket"), "{message}");
    }
}
