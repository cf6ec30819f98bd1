//! A program that was started here, and is stopped with the generator.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::account::Role;

/// How long a start may take.
const SOON: Duration = Duration::from_secs(15);

/// A running program; dropping it ends it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says goes to a file in `dir`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn start(command: &mut Command, dir: &Path, name: &str) -> anyhow::Result<Process> {
        let log = dir.join(format!("{name}.log"));
        let out = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Process { child, log })
    }

    pub fn role(&self, name: &'static str) -> Role {
        Role { name, pid: self.child.id() }
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// When it ends first, or takes too long; with its log.
    pub fn listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.until(|_| TcpStream::connect(address).is_ok())
    }

    /// Waits until it has said something.
    ///
    /// # Errors
    /// When it ends first, or takes too long; with its log.
    pub fn says(&mut self, text: &str) -> anyhow::Result<()> {
        self.until(|said| said.contains(text))
    }

    fn until(&mut self, happened: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let said = std::fs::read_to_string(&self.log)?;
            if happened(&said) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status}: {said}");
            }
            if Instant::now() > deadline {
                bail!("is not ready after {} s: {said}", SOON.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first, so that a master ends its workers.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
