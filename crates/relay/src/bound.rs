//! What a relay listens at: the configured addresses, or the sockets that systemd passed instead.

use std::io::ErrorKind;

use anyhow::{Context, Result, anyhow, ensure};

use http1::server::listener::{BindError, Listener};
use service::listen::ListenAddress;
use service::passed::Passed;

use super::config::Settings;

/// A passed socket of this name is the admin listener.
const ADMIN: &str = "admin";

/// The listeners of a relay, bound and not yet serving.
#[derive(Default)]
pub struct Bound {
    pub(crate) public: Vec<Listener>,
    pub(crate) admin: Vec<Listener>,
}

impl Bound {
    /// What was passed: the socket named `admin` is for operators, all others are for hosts and clients.
    ///
    /// # Errors
    /// When one of them is nothing that can be served.
    pub fn passed(sockets: Vec<Passed>) -> Result<Bound> {
        let mut bound = Bound::default();
        for passed in sockets {
            let name = passed.name.clone();
            let listener =
                Listener::from_passed(passed).with_context(|| format!("the socket {name} of systemd"))?;
            if name == ADMIN {
                ensure!(
                    !listener.is_open_to_others(),
                    "the socket {name} of systemd is at {}: it must be a loopback address or a unix socket, it needs no password",
                    listener.address()
                );
                bound.admin.push(listener);
            } else {
                bound.public.push(listener);
            }
        }
        Ok(bound)
    }

    /// Binds the configured addresses of what was not passed.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub async fn and_bind(mut self, settings: &Settings) -> Result<Bound> {
        if self.public.is_empty() {
            self.public = bind("listen", &settings.listen).await?;
        }
        if let (true, Some(address)) = (self.admin.is_empty(), &settings.admin) {
            self.admin = bind("admin", std::slice::from_ref(address)).await?;
        }
        Ok(self)
    }
}

/// Binds what stands under `key`.
async fn bind(key: &str, addresses: &[ListenAddress]) -> Result<Vec<Listener>> {
    Listener::bind(addresses).await.map_err(|error| match error {
        BindError::Address { address, error } => {
            with_remedy(error, key).context(format!("`{key}`: cannot listen at {address}"))
        }
        BindError::NoneIsHere => anyhow!("`{key}`: {error}"),
    })
}

/// The error with what to do about it.
fn with_remedy(error: std::io::Error, key: &str) -> anyhow::Error {
    let remedy = match error.kind() {
        ErrorKind::AddrInUse => format!(
            ": another program listens there, such as a second relay on this machine; `{key}` can name another port"
        ),
        ErrorKind::AddrNotAvailable => {
            ": it is not an address of this machine (ip address shows those)".to_owned()
        }
        ErrorKind::PermissionDenied => {
            ": ports below 1024 are root's, or systemd's to pass (stream-relay.socket)".to_owned()
        }
        _ => String::new(),
    };
    anyhow::anyhow!("{error}{remedy}")
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net as unix;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn bound(name: &str, socket: impl Into<OwnedFd>) -> Result<Bound> {
        Bound::passed(vec![Passed { name: name.into(), socket: socket.into() }])
    }

    fn refusal(name: &str, socket: impl Into<OwnedFd>) -> String {
        format!("{:#}", bound(name, socket).err().unwrap())
    }

    #[tokio::test]
    async fn what_does_not_listen_for_streams_is_refused_by_name() {
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let said = refusal("public", datagrams);
        assert!(said.starts_with("the socket public of systemd: is a datagram socket, "), "{said}");
        let (connected, _other) = unix::UnixStream::pair().unwrap();
        assert!(refusal("public", connected).contains("does not listen (Accept=yes?)"));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(
            refusal("x", file).contains("expected a listening stream socket, TCP or unix (ListenStream=)")
        );
        let packets = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        assert!(refusal("x", packets).contains("is a socket of another kind"));
        let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        assert!(refusal("admin", open.try_clone().unwrap()).contains("it needs no password"));
        assert!(bound("public", open).unwrap().public[0].is_open_to_others());
    }
}
