//! The API of Docker Engine, which Podman has too: HTTP over a unix socket, a connection for each request.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;

use http1::client::{Connection, Error, Limits, Reader, Response};

use crate::support::access::{Need, explain};
use crate::support::opened::{OpenError, blocking};
use crate::support::socket::connect;

/// The newest version of the API that this was written for; engines serve older ones for years.
const NEWEST: Version = Version(1, 57);

/// How long an engine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a container has some kilobytes. No time: logs and waits go on for as long as the container does.
const LIMITS: Limits = Limits { head: 64 * 1024, body: 4 << 20, time: None };

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
        match ping.header("Api-Version").and_then(Version::read) {
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
    ) -> Result<Response, AskError> {
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
        let connection = Connection::new(stream, LIMITS).await?;
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
        let request = request.body(body).map_err(|error| AskError::Strange(error.to_string()))?;
        Ok(connection.send(request).await?)
    }

    /// For anyone who owns the host.
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
    Refused(StatusCode, String),
}

impl From<Error> for AskError {
    fn from(error: Error) -> AskError {
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
        let answer =
            async { self.send(method, path, body, false).await?.bytes().await.map_err(AskError::from) };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let answer = answer.map_err(|_| AskError::Strange("it does not answer".into()))??;
        match answer.trim_ascii().is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&answer).map_err(|error| AskError::Strange(error.to_string())),
        }
    }

    /// The answer as it comes.
    pub(super) async fn follow(&self, path: &str) -> Result<Reader, AskError> {
        Ok(self.send(Method::GET, path, None, false).await?.into_reader())
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
        Ok(response.upgrade::<UnixStream>().await?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        is_upgrade: bool,
    ) -> Result<Response, AskError> {
        let path = format!("/v{}{path}", self.version);
        let response = self.engine.send(method, &path, body, is_upgrade).await?;
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(response);
        }
        let answer = response.bytes().await?;
        let why = serde_json::from_slice::<Value>(&answer).ok();
        let why = why.as_ref().and_then(|why| why["message"].as_str());
        Err(AskError::Refused(status, why.map_or_else(|| status.to_string(), |why| why.trim().to_owned())))
    }
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
