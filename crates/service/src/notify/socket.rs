//! The socket of the service manager (`$NOTIFY_SOCKET`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::LazyLock;

use sd_notify::NotifyState;
use tracing::{debug, warn};

/// It stays connected, so that a program without free descriptors still sends its signs of life.
static MANAGER: LazyLock<Option<UnixDatagram>> = LazyLock::new(|| {
    let path = std::env::var_os("NOTIFY_SOCKET")?;
    connect(&path).inspect_err(|err| warn!("cannot reach the service manager: {err}")).ok()
});

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

pub(super) fn send(states: &[NotifyState<'_>]) {
    let Some(manager) = &*MANAGER else { return };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    // A socket that was replaced is found by its path. If that fails, too, the program keeps serving: systemd has
    // timeouts of its own.
    if manager.send(text.as_bytes()).is_err()
        && let Err(err) = sd_notify::notify(states)
    {
        debug!("cannot notify the service manager: {err}");
    }
}
