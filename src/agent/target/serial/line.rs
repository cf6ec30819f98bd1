//! The device: opened without becoming anybody's controlling terminal, set to pass every byte, and set
//! back when it is closed (termios(3)).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::task::{Context, Poll, ready};

use nix::fcntl::{OFlag, open};
use nix::libc::{self, dev_t};
use nix::sys::stat::Mode;
use nix::sys::stat::{fstat, major};
use nix::sys::termios::{
    BaudRate, ControlFlags, FlushArg, SetArg, cfmakeraw, cfsetspeed, tcflush, tcgetattr, tcsetattr,
};
use nix::unistd::{AccessFlags, access, read, write};
use tokio::io::unix::AsyncFd;

use crate::agent::target::access::{Need, explain, find, wrong_type};
use crate::agent::target::opened::OpenError;
use crate::daemon::pollable::pollable;

/// A speed that lines have, in bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speed(BaudRate);

impl Speed {
    pub(super) fn of(baud: u32) -> Result<Speed, String> {
        let known = [
            (1200, BaudRate::B1200),
            (2400, BaudRate::B2400),
            (4800, BaudRate::B4800),
            (9600, BaudRate::B9600),
            (19_200, BaudRate::B19200),
            (38_400, BaudRate::B38400),
            (57_600, BaudRate::B57600),
            (115_200, BaudRate::B115200),
            (230_400, BaudRate::B230400),
            (460_800, BaudRate::B460800),
            (921_600, BaudRate::B921600),
            (1_000_000, BaudRate::B1000000),
            (1_500_000, BaudRate::B1500000),
            (3_000_000, BaudRate::B3000000),
        ];
        let found = known.iter().find(|(known, _)| *known == baud);
        found.map(|(_, speed)| Speed(*speed)).ok_or_else(|| {
            let known: Vec<_> = known.iter().map(|(known, _)| known.to_string()).collect();
            format!("{baud} is no speed of a serial line: {}", known.join(", "))
        })
    }
}

/// The major numbers of terminals that programs make, /dev/pts/N (Linux, Documentation/admin-guide/devices.txt).
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u64> = 136..=143;

/// An open line.
#[derive(Debug)]
pub(super) struct Line {
    device: AsyncFd<OwnedFd>,
    /// How it was before.
    before: libc::termios,
    is_pseudo_terminal: bool,
}

impl Line {
    pub(super) fn open(path: &Path, speed: Option<Speed>) -> Result<Line, OpenError> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let found = find(path).map_err(|error| explain(path, Need::ReadWrite, &error))?;
        let device = open(&found.by_descriptor(), flags | OFlag::O_CLOEXEC, Mode::empty());
        let device = device.map_err(|error| explain(path, Need::ReadWrite, &error.into()))?;
        let not_set =
            |error: nix::Error| OpenError::system(format_args!("settings of {}", path.display()), error);
        let before = tcgetattr(&device).map_err(not_set)?;
        let device = pollable(device).map_err(|error| OpenError::system(path.display(), error))?;
        let mut settings = before.clone();
        let rdev = fstat(device.get_ref()).map_err(not_set)?.st_rdev;
        let is_pseudo_terminal = PSEUDO_TERMINALS.contains(&major(rdev));
        let line = Line { device, before: before.into(), is_pseudo_terminal };
        cfmakeraw(&mut settings);
        // Without a modem there is no carrier to wait for; and whoever speaks is heard.
        settings.control_flags.insert(ControlFlags::CLOCAL | ControlFlags::CREAD);
        if let Some(Speed(speed)) = speed {
            cfsetspeed(&mut settings, speed).map_err(not_set)?;
        }
        tcsetattr(line.device.get_ref(), SetArg::TCSANOW, &settings).map_err(not_set)?;
        Ok(line)
    }

    /// The number of the device at `path`. Looks without opening, which would raise the modem's lines.
    pub(super) fn look(path: &Path) -> Result<dev_t, OpenError> {
        let failed = |error: &io::Error| explain(path, Need::ReadWrite, error);
        let found = find(path).map_err(|error| failed(&error))?;
        let metadata = found.by_descriptor().metadata().map_err(|error| failed(&error))?;
        if !metadata.file_type().is_char_device() {
            return Err(wrong_type(path, "a serial line or terminal", &metadata));
        }
        access(&found.by_descriptor(), AccessFlags::R_OK | AccessFlags::W_OK)
            .map_err(|error| failed(&error.into()))?;
        Ok(metadata.rdev())
    }
}

impl Line {
    /// Whether some program is at the other end, and not a wire.
    pub(super) fn is_pseudo_terminal(&self) -> bool {
        self.is_pseudo_terminal
    }

    /// Reads what comes; nothing at the end of the line.
    pub(super) async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut guard = self.device.readable().await?;
            match guard.try_io(|fd| Ok(read(fd.get_ref(), buf)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => return done,
                Err(_would_block) => {}
            }
        }
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.device.poll_write_ready(cx))?;
            match guard.try_io(|fd| Ok(write(fd.get_ref(), bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => return Poll::Ready(done),
                Err(_would_block) => {}
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // What was typed and not sent would be waited for in close(2), half a minute where nobody listens.
        // Both fail for a line that is gone.
        let _ = tcflush(self.device.get_ref(), FlushArg::TCOFLUSH);
        let _ = tcsetattr(self.device.get_ref(), SetArg::TCSANOW, &self.before.into());
    }
}
