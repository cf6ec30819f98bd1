//! A serial device. It never becomes a controlling terminal, passes every byte while it is open, and gets its settings
//! back when it is closed (termios(3)).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::task::{Context, Poll, ready};

use nix::fcntl::{OFlag, open};
use nix::libc::dev_t;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access, read, write};
use rustix::fs::{fstat, major};
use rustix::io::Errno;
use rustix::termios::{ControlModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;

use crate::support::access::{Need, explain, wrong_type};
use crate::support::opened::OpenError;
use crate::support::paths::resolve;
use service::pollable::pollable;

/// The speed of a line, in bits per second. Which speeds exist depends on the device. If it refuses one, this is
/// noticed when the line is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speed(u32);

impl Speed {
    /// The slowest speed that termios(3) defines.
    const LEAST: u32 = 50;

    /// More than any UART has today. A higher number is a typing error.
    const MOST: u32 = 20_000_000;

    pub(super) fn new(baud: u32) -> Result<Speed, String> {
        match baud {
            Speed::LEAST..=Speed::MOST => Ok(Speed(baud)),
            _ => Err(format!(
                "{baud} is not between {} and {} bits a second: set the speed of the device at the other end, \
                 115200 and 9600 are usual",
                Speed::LEAST,
                Speed::MOST
            )),
        }
    }

    /// Whether `actual` is close enough for the other end: a UART tolerates 5 %.
    fn is_near(self, actual: u32) -> bool {
        u64::from(self.0.abs_diff(actual)) * 20 <= u64::from(self.0)
    }
}

/// The major numbers of pseudo-terminals, /dev/pts/N (Linux, Documentation/admin-guide/devices.txt).
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

#[derive(Debug)]
pub(super) struct Line {
    device: AsyncFd<OwnedFd>,
    before: Termios,
    is_pseudo_terminal: bool,
}

impl Line {
    pub(super) fn open(path: &Path, speed: Option<Speed>) -> Result<Line, OpenError> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let found = resolve(path).map_err(|error| explain(path, Need::ReadWrite, &error))?;
        let device = open(&found.by_descriptor(), flags | OFlag::O_CLOEXEC, Mode::empty());
        let device = device.map_err(|error| explain(path, Need::ReadWrite, &error.into()))?;
        let not_set = |error: Errno| OpenError::system(format_args!("settings of {}", path.display()), error);
        let before = tcgetattr(&device).map_err(not_set)?;
        let device = pollable(device).map_err(|error| OpenError::system(path.display(), error))?;
        let rdev = fstat(device.get_ref()).map_err(not_set)?.st_rdev;
        let is_pseudo_terminal = PSEUDO_TERMINALS.contains(&major(rdev));
        let line = Line { device, before, is_pseudo_terminal };
        let fd = line.device.get_ref();
        let mut raw = line.before.clone();
        raw.make_raw();
        // Without a modem there is no carrier to wait for. CREAD enables receiving.
        raw.control_modes.insert(ControlModes::CLOCAL | ControlModes::CREAD);
        tcsetattr(fd, OptionalActions::Now, &raw).map_err(not_set)?;
        if let Some(speed) = speed {
            let actual = set_speed(fd, speed).map_err(not_set)?;
            if !speed.is_near(actual) {
                return Err(OpenError::failed(format!(
                    "{} does not take {} bits a second, the nearest it does is {actual}: set `baud` to a speed that \
                     the device has, or leave it out",
                    path.display(),
                    speed.0
                )));
            }
        }
        Ok(line)
    }

    /// The device number of `path`. Does not open it, which would raise the modem's lines.
    pub(super) fn look(path: &Path) -> Result<dev_t, OpenError> {
        let failed = |error: &io::Error| explain(path, Need::ReadWrite, error);
        let found = resolve(path).map_err(|error| failed(&error))?;
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
    /// Whether a program is at the other end, instead of a wire.
    pub(super) fn is_pseudo_terminal(&self) -> bool {
        self.is_pseudo_terminal
    }

    /// Reads the next bytes; 0 at the end of the line.
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
        // close(2) would wait for bytes that are not sent yet, for half a minute if nobody listens. Both calls fail if
        // the line is gone.
        let _ = tcflush(self.device.get_ref(), QueueSelector::OFlush);
        let _ = tcsetattr(self.device.get_ref(), OptionalActions::Now, &self.before);
    }
}

/// Sets the speed for both directions and returns the one that the device has then, in bits a second.
fn set_speed(line: &OwnedFd, Speed(speed): Speed) -> Result<u32, Errno> {
    let mut wanted = tcgetattr(line)?;
    wanted.set_speed(speed)?;
    tcsetattr(line, OptionalActions::Now, &wanted)?;
    Ok(tcgetattr(line)?.output_speed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_speeds_that_have_no_name() {
        let pty = nix::pty::openpty(None, None).unwrap();
        for speed in [50, 300, 9600, 10_400, 250_000, 500_000, 4_000_000] {
            assert_eq!(set_speed(&pty.slave, Speed::new(speed).unwrap()), Ok(speed));
        }
        let odd = tcgetattr(&pty.slave).unwrap();
        set_speed(&pty.slave, Speed(9600)).unwrap();
        tcsetattr(&pty.slave, OptionalActions::Now, &odd).unwrap();
        assert_eq!(tcgetattr(&pty.slave).unwrap().output_speed(), 4_000_000);
    }

    #[test]
    fn what_a_device_makes_of_a_speed_may_differ_a_little() {
        let speed = Speed(115_200);
        assert!(speed.is_near(115_200) && speed.is_near(117_647) && speed.is_near(111_111));
        assert!(!speed.is_near(9600) && !speed.is_near(125_000) && !speed.is_near(0));
    }
}
