//! Explains why libvirt gives no display, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::rpc::CallError;
use crate::support::access::{Need, explain};
use crate::support::opened::{OpenError, blocking};

const OPERATION_DENIED: u32 = 29;
const RPC: u32 = 39;
const NO_DOMAIN: u32 = 42;
const AUTH_FAILED: u32 = 45;
const OPERATION_INVALID: u32 = 55;
const AUTH_CANCELLED: u32 = 79;
const ACCESS_DENIED: u32 = 88;
const DBUS_SERVICE: u32 = 89;
const AUTH_UNAVAILABLE: u32 = 94;

/// Nothing answers at the socket.
pub(super) async fn unreachable(socket: PathBuf, error: io::Error) -> OpenError {
    let is_down = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    let explained = blocking(move || Err::<(), _>(explain(&socket, Need::Connect, &error))).await;
    let message = explained.err().map_or_else(String::new, |error| error.message);
    OpenError::failed(match is_down {
        true => format!(
            "libvirt is not running ({message}): start virtqemud.socket or libvirtd.socket, or correct `socket`"
        ),
        false => message,
    })
}

/// libvirt does not admit this user, or something else answers at the socket.
pub(super) fn no_login(socket: &Path, uri: &str, error: CallError) -> OpenError {
    let strange = |why: String| {
        format!("{} does not answer as libvirt does ({why}): correct `socket`", socket.display())
    };
    OpenError::failed(match error {
        CallError::Connection(error) => strange(error.to_string()),
        CallError::Refused { code: RPC, message } => strange(message),
        CallError::Refused {
            code: AUTH_FAILED | AUTH_CANCELLED | AUTH_UNAVAILABLE | ACCESS_DENIED,
            message,
        } => format!(
            "libvirt does not let this user in ({message}): make the service user a member of group libvirt \
             with `usermod -aG libvirt USER` (polkit does not see SupplementaryGroups=) and start the \
             service again, or allow the user org.libvirt.unix.manage by a rule of polkit"
        ),
        CallError::Refused { code: DBUS_SERVICE, message } => {
            format!("libvirt could not ask polkit about this user ({message}): see that D-Bus and polkit run")
        }
        CallError::Refused { message, .. } => format!("libvirt does not open {uri}: {message}; check `uri`"),
    })
}

pub(super) fn no_sasl() -> CallError {
    let message = "it asks for a user and a password (SASL), and stream-agent has none".to_owned();
    CallError::Refused { code: AUTH_UNAVAILABLE, message }
}

pub(super) fn not_running(name: &str) -> OpenError {
    OpenError::failed(format!("domain {name} is not running: start it with `virsh start {name}`"))
}

/// Why a domain's display could not be opened.
pub(super) fn because(name: &str, error: CallError) -> OpenError {
    match error {
        CallError::Connection(error) => {
            OpenError::failed(format!("the connection with libvirt broke at domain {name}: {error}"))
        }
        CallError::Refused { code: NO_DOMAIN, .. } => OpenError::failed(format!(
            "libvirt has no domain {name}: `virsh list --all` names those that there are"
        )),
        CallError::Refused { code: OPERATION_INVALID, .. } => not_running(name),
        CallError::Refused { code: OPERATION_DENIED | ACCESS_DENIED, message } => OpenError::failed(format!(
            "libvirt does not let this user open domain {name} ({message}): allow it domain.open-graphics"
        )),
        CallError::Refused { message, .. } => {
            OpenError::failed(format!("libvirt cannot open domain {name}: {message}"))
        }
    }
}
