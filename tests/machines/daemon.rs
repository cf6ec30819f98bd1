//! A libvirt for one test, and its machines.

use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::world::{Process, part, within};

/// libvirt's first question to QEMU takes seconds, and longer on a busy machine.
pub(crate) const LIBVIRT: Duration = Duration::from_secs(60);

pub(crate) struct Libvirt {
    pub dir: TempDir,
    pub daemon: Process,
}

impl Libvirt {
    pub(crate) async fn new() -> Libvirt {
        Libvirt::with(&[]).await
    }

    pub(crate) async fn with(settings: &[&str]) -> Libvirt {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(part("libvirtd"));
        command.arg(dir.path()).args(settings);
        let daemon = Process::start(command, dir.path().join("log"));
        let libvirt = Libvirt { dir, daemon };
        let listens = || std::os::unix::net::UnixStream::connect(libvirt.socket()).is_ok();
        within(LIBVIRT, listens, || libvirt.daemon.said()).await;
        libvirt
    }

    pub(crate) fn socket(&self) -> String {
        format!("{}/libvirt-sock", self.dir.path().display())
    }

    pub(crate) fn table(&self, keys: &str) -> String {
        format!("kind = 'libvirt'\nsocket = '{}'\n{keys}", self.socket())
    }

    pub(crate) async fn virsh(&self, args: &[&str]) -> Output {
        let mut command = Command::new("virsh");
        command.arg("--connect").arg(format!("qemu+unix:///system?socket={}", self.socket())).args(args);
        tokio::time::timeout(LIBVIRT, command.kill_on_drop(true).output()).await.unwrap().unwrap()
    }

    pub(crate) async fn does(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.virsh(args).await;
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{args:?}: {said}\n{}", self.daemon.said());
        String::from_utf8(stdout).unwrap()
    }

    /// Defines a machine without starting it.
    pub(crate) async fn define(&self, name: &str, uuid: &str, graphics: &str) {
        let path = self.dir.path().join(format!("{name}.xml"));
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory>\
             <os><type arch='x86_64' machine='pc'>hvm</type></os>\
             <metadata><x:y xmlns:x='urn:x'><graphics type='vnc'/></x:y></metadata>\
             <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{graphics}<video><model type='vga'/></video>\
             <memballoon model='none'/></devices></domain>"
        );
        std::fs::write(&path, xml).unwrap();
        self.does(&["define", path.to_str().unwrap()]).await;
    }

    /// A running machine with a stopped processor: only its screen is needed.
    pub(crate) async fn start(&self, name: &str, uuid: &str, graphics: &str) {
        self.define(name, uuid, graphics).await;
        self.does(&["start", "--paused", name]).await;
    }

    pub(crate) async fn removed(&self, name: &str) {
        self.does(&["destroy", name]).await;
        self.does(&["undefine", name]).await;
    }
}
