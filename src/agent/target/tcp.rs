//! A TCP port of this machine: a VM's SPICE or VNC, a database, ssh.

use std::net::SocketAddr;

use serde::Deserialize;
use tokio::net::{TcpStream, lookup_host};

use super::{OpenError, Opened, Wrong, wrong};
use crate::protocol::mode::Mode;

/// What is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    address: String,
    #[serde(default)]
    allow_remote: bool,
}

impl Raw {
    pub(super) fn check(&self) -> Result<Tcp, Wrong> {
        let is_address = self
            .address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
        if !is_address {
            return wrong("address", format!("`{}` is not host:port", self.address));
        }
        if let Ok(address) = self.address.parse::<SocketAddr>() {
            check_reach(address, self.allow_remote).or_else(|message| wrong("address", message))?;
        }
        Ok(Tcp { address: self.address.clone(), allow_remote: self.allow_remote })
    }
}

/// A checked TCP target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    address: String,
    allow_remote: bool,
}

impl Tcp {
    pub(super) async fn open(&self, mode: Mode) -> Result<Opened, OpenError> {
        let failed = |error: String| OpenError::failed(format!("{}: {error}", self.address));
        let mut last = failed("name has no address".into());
        for address in lookup_host(&self.address).await.map_err(|error| failed(error.to_string()))? {
            // Checked on what is connected: what a name means may change.
            if let Err(message) = check_reach(address, self.allow_remote) {
                last = OpenError::failed(message);
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
                    let (output, input) = stream.into_split();
                    let input: Option<super::Input> = match mode {
                        Mode::Rw => Some(Box::new(input)),
                        Mode::Ro => {
                            // Dropped, it would tell the target that the client has ended.
                            input.forget();
                            None
                        }
                    };
                    return Ok(Opened {
                        output: Box::new(output),
                        input,
                        resize: None,
                        exit: None,
                        half_close: true,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    last = failed("connection refused: is the service or VM running?".into());
                }
                Err(error) => last = failed(error.to_string()),
            }
        }
        Err(last)
    }
}

fn check_reach(address: SocketAddr, allow_remote: bool) -> Result<(), String> {
    if allow_remote || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!("{address} is not on this machine's loopback: set allow_remote = true if that is meant"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::tests::target;
    use super::*;

    #[tokio::test]
    async fn what_closes_right_after_its_last_byte_is_read_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = target(&format!("kind = 'tcp'\naddress = '{address}'"));
        for _ in 0..100 {
            let (opened, accepted) = tokio::join!(target.open(Mode::Rw), listener.accept());
            let mut stream = accepted.unwrap().0;
            stream.write_all(b"last words").await.unwrap();
            drop(stream);
            let mut said = String::new();
            opened.unwrap().output.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "last words");
        }
    }

    #[tokio::test]
    async fn read_only_means_that_the_target_hears_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = target(&format!("kind = 'tcp'\naddress = '{address}'\nmodes = ['ro']"));
        let (opened, accepted) = tokio::join!(target.open(Mode::Ro), listener.accept());
        let (mut opened, mut stream) = (opened.unwrap(), accepted.unwrap().0);
        assert!(opened.input.is_none());
        stream.write_all(b"x").await.unwrap();
        assert_eq!(opened.output.read_u8().await.unwrap(), b'x');
        // Not even an end of file.
        let heard = tokio::time::timeout(std::time::Duration::from_millis(50), stream.read_u8()).await;
        assert!(heard.is_err());
    }

    #[tokio::test]
    async fn only_loopback_is_reached_unless_said() {
        let refused =
            toml::from_str::<super::super::RawTarget>("kind = 'tcp'\naddress = '192.0.2.1:1'").unwrap();
        assert!(refused.check("t").unwrap_err().message.contains("allow_remote"));
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error =
            target(&format!("kind = 'tcp'\naddress = '{nobody}'")).open(Mode::Rw).await.err().unwrap();
        assert!(error.message.contains("connection refused"), "{}", error.message);
    }
}
