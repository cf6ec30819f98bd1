//! The device: opened without becoming anybody's controlling terminal, set to pass every byte, and set
//! back when it is closed (termios(3)).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc::{self, dev_t};
use nix::sys::stat::Mode;
use nix::sys::stat::{fstat, major};
use nix::sys::termios::{ControlFlags, FlushArg, SetArg, cfmakeraw, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{AccessFlags, access, read, write};
use tokio::io::unix::AsyncFd;

use crate::agent::target::access::{Need, explain, find, wrong_type};
use crate::agent::target::opened::OpenError;
use crate::daemon::pollable::pollable;

/// The speed of a line, in bits a second. Only the device knows which ones it has: many take any speed, and what it
/// does not take is seen when the line is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speed(u32);

impl Speed {
    /// The slowest that termios(3) has a name for.
    const LEAST: u32 = 50;

    /// More than any UART does today; above it is a slip of the pen.
    const MOST: u32 = 20_000_000;

    pub(super) fn of(baud: u32) -> Result<Speed, String> {
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

    /// Whether `actual` is near enough for the other end to understand it: a UART takes a difference of 5 %.
    fn is_near(self, actual: u32) -> bool {
        u64::from(self.0.abs_diff(actual)) * 20 <= u64::from(self.0)
    }
}

/// The major numbers of terminals that programs make, /dev/pts/N (Linux, Documentation/admin-guide/devices.txt).
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u64> = 136..=143;

/// An open line.
#[derive(Debug)]
pub(super) struct Line {
    device: AsyncFd<OwnedFd>,
    /// How it was before.
    before: libc::termios2,
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
        let before = settings(&device).map_err(not_set)?;
        let device = pollable(device).map_err(|error| OpenError::system(path.display(), error))?;
        let rdev = fstat(device.get_ref()).map_err(not_set)?.st_rdev;
        let is_pseudo_terminal = PSEUDO_TERMINALS.contains(&major(rdev));
        let line = Line { device, before, is_pseudo_terminal };
        let fd = line.device.get_ref();
        let mut raw = tcgetattr(fd).map_err(not_set)?;
        cfmakeraw(&mut raw);
        // Without a modem there is no carrier to wait for; and whoever speaks is heard.
        raw.control_flags.insert(ControlFlags::CLOCAL | ControlFlags::CREAD);
        tcsetattr(fd, SetArg::TCSANOW, &raw).map_err(not_set)?;
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
        let _ = set_settings(self.device.get_ref(), &self.before);
    }
}

/// Sets the speed for both directions, and says which one the device has then.
fn set_speed(line: &OwnedFd, Speed(speed): Speed) -> nix::Result<u32> {
    let mut wanted = settings(line)?;
    // The field for the speed of input, all zero: the same as that of output.
    wanted.c_cflag &= !(libc::CBAUD | libc::CIBAUD);
    wanted.c_cflag |= libc::BOTHER;
    wanted.c_ospeed = speed;
    wanted.c_ispeed = speed;
    set_settings(line, &wanted)?;
    Ok(settings(line)?.c_ospeed)
}

/// The settings with the speed as a number, which termios(3) has no function for (TCGETS2(2const)).
#[allow(unsafe_code)]
fn settings(line: &OwnedFd) -> nix::Result<libc::termios2> {
    let mut found = std::mem::MaybeUninit::<libc::termios2>::zeroed();
    // SAFETY: the descriptor is open, and TCGETS2 writes one `termios2`, whose fields are all numbers.
    unsafe {
        Errno::result(libc::ioctl(line.as_raw_fd(), libc::TCGETS2, found.as_mut_ptr()))?;
        Ok(found.assume_init())
    }
}

#[allow(unsafe_code)]
fn set_settings(line: &OwnedFd, settings: &libc::termios2) -> nix::Result<()> {
    // SAFETY: the descriptor is open, and TCSETS2 reads one `termios2`.
    let done = unsafe { libc::ioctl(line.as_raw_fd(), libc::TCSETS2, std::ptr::from_ref(settings)) };
    Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_speeds_that_have_no_name() {
        let pty = nix::pty::openpty(None, None).unwrap();
        for speed in [50, 300, 9600, 10_400, 250_000, 500_000, 4_000_000] {
            assert_eq!(set_speed(&pty.slave, Speed::of(speed).unwrap()), Ok(speed));
        }
        let odd = settings(&pty.slave).unwrap();
        set_speed(&pty.slave, Speed(9600)).unwrap();
        set_settings(&pty.slave, &odd).unwrap();
        assert_eq!(settings(&pty.slave).unwrap().c_ospeed, 4_000_000);
    }

    #[test]
    fn what_a_device_makes_of_a_speed_may_differ_a_little() {
        let speed = Speed(115_200);
        assert!(speed.is_near(115_200) && speed.is_near(117_647) && speed.is_near(111_111));
        assert!(!speed.is_near(9600) && !speed.is_near(125_000) && !speed.is_near(0));
    }
}
