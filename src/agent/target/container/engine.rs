//! The API of Docker Engine, which Podman has too: HTTP over a unix socket, a connection for each request.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncRead;
use tokio::net::UnixStream;
use tokio_util::io::StreamReader;

use super::super::access::{Need, explain};
use super::super::opened::{OpenError, blocking};
use super::super::unix::connect;

/// The newest version of the API that this was written for; engines serve older ones for years.
const NEWEST: Version = Version(1, 57);

/// How long an engine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are held at a time.
const BUFFER: usize = 64 * 1024;

/// An answer's bytes at most. What is known of a container has some kilobytes.
const MAX_ANSWER: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Brand {
    Docker,
    Podman,
}

impl Brand {
    /// Where the engine listens that runs for the whole host.
    pub(super) fn socket(self) -> PathBuf {
        PathBuf::from(match self {
            Brand::Docker => "/run/docker.sock",
            Brand::Podman => "/run/podman/podman.sock",
        })
    }

    /// The program that people type.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Brand::Docker => "docker",
            Brand::Podman => "podman",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Brand::Docker => "docker.service",
            Brand::Podman => "podman.socket",
        }
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Brand::Docker => "Docker Engine",
            Brand::Podman => "Podman",
        })
    }
}

/// Major and minor version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn read(text: &str) -> Option<Version> {
        let (major, minor) = text.split_once('.')?;
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// An engine on this host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Engine {
    pub(super) brand: Brand,
    pub(super) socket: PathBuf,
}

impl Engine {
    /// Asks which version both sides know.
    pub(super) async fn reach(&self) -> Result<Api, OpenError> {
        let ping = self.send(Method::GET, "/_ping", None, false).await;
        let ping = ping.map_err(|error| self.explained(error))?;
        let version = ping.headers().get("Api-Version").and_then(|value| value.to_str().ok());
        match version.and_then(Version::read) {
            Some(version) => Ok(Api { engine: self.clone(), version: version.min(NEWEST) }),
            None => Err(OpenError::failed(format!(
                "what listens at {} is no container engine: correct `socket`",
                self.socket.display()
            ))),
        }
    }

    /// Sends one request over a connection of its own.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        is_upgrade: bool,
    ) -> Result<Response<Incoming>, AskError> {
        let stream = match connect(&self.socket).await {
            Ok(stream) => stream,
            Err(error) => {
                let socket = self.socket.clone();
                let explained = blocking(move || Err::<(), _>(explain(&socket, Need::Connect, &error))).await;
                return Err(AskError::Unreachable(
                    explained.err().map_or_else(String::new, |error| error.message),
                ));
            }
        };
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await?;
        // It ends with the last of what was asked for.
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if is_upgrade {
            request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
        }
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body)).map_err(|error| AskError::Strange(error.to_string()))?;
        Ok(sender.send_request(request).await?)
    }

    /// For whoever owns the host.
    pub(super) fn explained(&self, error: AskError) -> OpenError {
        OpenError::failed(match error {
            AskError::Unreachable(why) if why.contains("permission denied") => why,
            AskError::Unreachable(why) => format!(
                "{} is not running ({why}): start it with `systemctl start {}`, or correct `socket`",
                self.brand,
                self.brand.unit()
            ),
            AskError::Strange(why) => {
                format!(
                    "what listens at {} is no container engine ({why}): correct `socket`",
                    self.socket.display()
                )
            }
            AskError::Refused(_, why) => format!("{} refuses: {why}", self.brand),
        })
    }
}

/// Why the engine gave no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// In words for the host's owner.
    Unreachable(String),
    /// It does not speak as an engine does.
    Strange(String),
    /// What it said.
    Refused(StatusCode, String),
}

impl From<hyper::Error> for AskError {
    fn from(error: hyper::Error) -> AskError {
        AskError::Strange(error.to_string())
    }
}

/// An engine that has answered.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) engine: Engine,
    version: Version,
}

impl Api {
    pub(super) fn describe(&self) -> String {
        format!("{} answers at {} (API {})", self.engine.brand, self.engine.socket.display(), self.version)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, AskError> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, AskError> {
        self.ask(Method::POST, path, body).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, AskError> {
        let answer = async { whole(self.send(method, path, body, false).await?).await };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let answer = answer.map_err(|_| AskError::Strange("it does not answer".into()))??;
        match answer.trim_ascii().is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&answer).map_err(|error| AskError::Strange(error.to_string())),
        }
    }

    /// The answer as it comes.
    pub(super) async fn follow(&self, path: &str) -> Result<impl AsyncRead + Send + Unpin + use<>, AskError> {
        let body = self.send(Method::GET, path, None, false).await?.into_body();
        Ok(StreamReader::new(body.into_data_stream().map_err(std::io::Error::other)))
    }

    /// The connection itself, for bytes both ways, and the first of them that came already.
    pub(super) async fn upgrade(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(UnixStream, Bytes), AskError> {
        let response = self.send(Method::POST, path, body, true).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(AskError::Strange(format!("{} instead of an upgrade", response.status())));
        }
        let upgraded = hyper::upgrade::on(response).await?;
        match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
            Err(_) => Err(AskError::Strange("the connection is not the one that was made".into())),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        is_upgrade: bool,
    ) -> Result<Response<Incoming>, AskError> {
        let path = format!("/v{}{path}", self.version);
        let response = self.engine.send(method, &path, body, is_upgrade).await?;
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(response);
        }
        let answer = whole(response).await?;
        let why = serde_json::from_slice::<Value>(&answer).ok();
        let why = why.as_ref().and_then(|why| why["message"].as_str());
        Err(AskError::Refused(status, why.map_or_else(|| status.to_string(), |why| why.trim().to_owned())))
    }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, AskError> {
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| AskError::Strange(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_version_of_the_two_is_spoken() {
        let spoken = |text| Version::read(text).map(|version| version.min(NEWEST).to_string());
        assert_eq!(spoken("1.41").unwrap(), "1.41");
        assert_eq!(spoken("1.9").unwrap(), "1.9");
        assert_eq!(spoken("1.99").unwrap(), NEWEST.to_string());
        assert_eq!(spoken("2.0").unwrap(), NEWEST.to_string());
        assert_eq!(spoken("one"), None);
    }
}
