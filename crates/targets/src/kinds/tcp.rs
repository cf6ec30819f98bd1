//! A TCP port of this machine, such as a VM's screen or a console server.

mod discover;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use serde::Deserialize;
use tokio::net::{TcpStream, lookup_host};

use crate::kind::{Connections, Open, Settings};
use crate::support::candidate::{Findings, search};
use crate::support::opened::{OpenError, Opened, Opening};
use crate::support::params::{ParamError, Params};
use crate::support::socket::passed;
use crate::support::value::TargetConfigError;
use crate::support::wants::Wants;
use net::socket;
use net::{Failed, race};
use protocol::mode::Mode;
use protocol::profile::Profile;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    address: String,
    #[serde(default)]
    allow_remote: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tcp {
    /// `host:port`; a name is resolved at each opening.
    address: String,
    allow_remote: bool,
}

impl Settings for Tcp {
    const NAME: &'static str = "tcp";
    /// A SPICE client of QEMU opens 8 connections, one per channel.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Tcp;

    fn check(raw: Raw) -> Result<Tcp, TargetConfigError> {
        let wrong = |message: String| Err(TargetConfigError::at("address", message));
        let Raw { address, allow_remote } = raw;
        let port = address.rsplit_once(':').and_then(|(host, port)| {
            // The last group of an IPv6 address without brackets would be taken for the port.
            let bare = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
            port.parse().ok().filter(|port: &u16| *port != 0 && !host.is_empty() && !bare)
        });
        if port.is_none() {
            return wrong(format!("\"{address}\" is not host:port, as in 127.0.0.1:5901 or [::1]:5901"));
        }
        match address.parse::<SocketAddr>() {
            Ok(literal) if !allow_remote && !is_loopback(literal) => wrong(not_loopback(literal)),
            _ => Ok(Tcp { address, allow_remote }),
        }
    }

    fn connections(&self) -> Connections {
        Connections::Unknown
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    fn bind(&self, _params: &mut Params<'_>) -> Result<Tcp, ParamError> {
        Ok(self.clone())
    }

    fn wants(&self) -> Vec<Wants> {
        vec![]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        self.connect(Profile::default()).await.map(|_| format!("connected to {} and closed", self.address))
    }

    async fn discover() -> Findings {
        search(discover::discover).await
    }
}

impl Open for Tcp {
    async fn open(&self, opening: Opening) -> Result<Opened, OpenError> {
        let stream = self.connect(opening.profile).await?;
        if opening.mode == Mode::Ro {
            // Keeps the socket whole: without its write half, the target would believe that its client left.
            return Ok(Opened::read_only(stream));
        }
        if opening.shared.passes_sockets() {
            return passed(stream.into_std().map(OwnedFd::from));
        }
        let (output, input) = stream.into_split();
        Ok(Opened { input: Some(Box::new(input)), half_close: true, ..Opened::read_only(output) })
    }
}

impl Tcp {
    async fn connect(&self, profile: Profile) -> Result<TcpStream, OpenError> {
        let addresses: Vec<SocketAddr> = lookup_host(&self.address)
            .await
            .map_err(|error| OpenError::system(format_args!("looking up {}", self.address), error))?
            .collect();
        // Checks all addresses before connecting: a name that also leads outside is not this machine's.
        addresses.iter().try_for_each(|address| self.allowed(*address))?;
        let connected = race(&addresses, |address| socket::connect(address, profile)).await;
        let stream = connected.map_err(|failures| failed(&self.address, failures))?;
        let prepared = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
        self.allowed(prepared.map_err(|error| OpenError::system(&self.address, error))?)?;
        Ok(stream)
    }

    fn allowed(&self, address: SocketAddr) -> Result<(), OpenError> {
        match self.allow_remote || is_loopback(address) {
            true => Ok(()),
            false => Err(OpenError::failed(not_loopback(address))),
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn not_loopback(address: SocketAddr) -> String {
    format!(
        "{address} is not an address of this machine alone (127.0.0.0/8, ::1): set allow_remote = true to allow it"
    )
}

/// Reports the last address's error, because it was tried after all others had failed.
fn failed(name: &str, mut failures: Vec<Failed>) -> OpenError {
    let Some(Failed { address, error }) = failures.pop() else {
        return OpenError::failed(format!("{name} has no address"));
    };
    match error.kind() {
        io::ErrorKind::ConnectionRefused => OpenError::failed(format!(
            "connection refused on {address}: nothing listens there, is the VM or service running?"
        )),
        _ => OpenError::system(format_args!("connecting to {address}"), error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::{in_time, target};
    use protocol::end::End;

    async fn listen() -> (TcpListener, crate::Target) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!("kind = 'tcp'\naddress = 'localhost:{port}'\nmodes = ['rw', 'ro']");
        (listener, target(&text))
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_each_way_ends_alone() {
        let (listener, target) = listen().await;
        let opened = in_time(target.open(Mode::Rw, None)).await.unwrap();
        let (mut server, _) = in_time(listener.accept()).await.unwrap();
        let (mut output, mut input) = (opened.output, opened.input.unwrap());
        assert!(opened.half_close);
        input.write_all(b"question").await.unwrap();
        input.shutdown().await.unwrap();
        let mut received = String::new();
        in_time(server.read_to_string(&mut received)).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut said = String::new();
        in_time(output.read_to_string(&mut said)).await.unwrap();
        assert_eq!((received.as_str(), said.as_str()), ("question", "answer"));
    }

    #[tokio::test]
    async fn a_target_that_closes_after_its_last_byte_loses_nothing() {
        let (listener, target) = listen().await;
        let bytes = vec![7; 100_000];
        for _ in 0..100 {
            let opened = in_time(target.open(Mode::Rw, None)).await.unwrap();
            let (mut server, _) = in_time(listener.accept()).await.unwrap();
            let sent = bytes.clone();
            tokio::spawn(async move { server.write_all(&sent).await });
            let (mut output, mut said) = (opened.output, Vec::new());
            in_time(output.read_to_end(&mut said)).await.unwrap();
            assert!(said == bytes);
        }
    }

    #[tokio::test]
    async fn read_only_keeps_the_connection_open() {
        let (listener, target) = listen().await;
        let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
        assert!(opened.input.is_none());
        let (mut server, _) = in_time(listener.accept()).await.unwrap();
        server.write_all(b"log").await.unwrap();
        let mut said = [0; 3];
        in_time(opened.output.read_exact(&mut said)).await.unwrap();
        assert_eq!(server.try_read(&mut said).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_refused_connection_says_what_to_look_at() {
        let (_listener, listening) = listen().await;
        assert!(in_time(listening.probe()).await.unwrap().starts_with("connected to localhost:"));
        // Bound and not listening: a port that was given back may be somebody else's at once.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = target(&format!("kind = 'tcp'\naddress = '{}'", silent.local_addr().unwrap()));
        let error = in_time(target.probe()).await.unwrap_err();
        assert_eq!(error.end, End::TargetFailed);
        assert!(error.message.starts_with("connection refused on "), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_loopback_is_refused() {
        for address in ["192.0.2.1:5901", "0.0.0.0:5901", "[::]:5901", "[::ffff:192.0.2.1]:5901"] {
            let raw = Raw { address: address.to_owned(), allow_remote: false };
            assert_eq!(Tcp::check(raw).unwrap_err().key.as_deref(), Some("address"), "{address}");
            assert!(Tcp::check(Raw { address: address.to_owned(), allow_remote: true }).is_ok());
            // A name that resolves to it never gets as far as a connection.
            let tcp = Tcp { address: address.to_owned(), allow_remote: false };
            let error = in_time(tcp.connect(Profile::Bulk)).await.unwrap_err();
            assert!(error.message.contains("allow_remote"), "{error}");
        }
        for address in ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"] {
            assert!(Tcp::check(Raw { address: address.to_owned(), allow_remote: false }).is_ok());
        }
        for address in ["127.0.0.1", "127.0.0.1:", ":1", "::1:5901", "127.0.0.1:0", "127.0.0.1:65536"] {
            assert!(
                Tcp::check(Raw { address: address.to_owned(), allow_remote: true }).is_err(),
                "{address}"
            );
        }
    }
}
