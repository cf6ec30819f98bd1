//! Asks a platform's HTTP API: for a session, and for what a host allows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION};
use hyper::{Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use http1::client::{Connection, Limits, Response};
use protocol::command::TargetInfo;
use protocol::mode::Mode;
use service::exit::{Exit, ExitError, OrExit};
use service::printable::printable;
use service::secret::Secret;
use websocket::dial::Dialer;

use super::platform::PlatformUrl;
use super::remedy::explain_platform_error;

/// The largest body is a list of the targets of one host. The platform may wait a minute for that host.
const LIMITS: Limits = Limits { head: 64 * 1024, body: 1024 * 1024, time: Some(Duration::from_secs(70)) };

/// What is not written as it is between two slashes: all that stands in no host id.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

const SESSIONS: &str = "/api/v1/sessions";

/// A platform and a key for it.
pub(crate) struct Api {
    place: PlatformUrl,
    key: Key,
    dialer: Dialer,
}

/// A key, and the file that it is from.
pub(crate) struct Key {
    secret: Secret,
    file: String,
}

impl Key {
    /// Reads it. Spaces and line breaks around it do not count.
    ///
    /// # Errors
    /// When the file cannot be read, or what it holds cannot be a key.
    pub(crate) fn read(file: &str) -> Result<Key> {
        let secret = Secret::read(file)?;
        let text = secret.expose().trim();
        let file = file.to_owned();
        if text.starts_with('{') {
            bail!("{file} holds JSON, expected the key alone: jq -j .secret {file} prints it");
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{file} does not hold an API key, which is one word, such as stream_...");
        }
        Ok(Key { secret, file })
    }
}

/// A session that can be connected to.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Session {
    pub session: String,
    /// Holds the token.
    pub url: String,
    /// Until when the URL can be used, in RFC 3339.
    pub expires: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct OpenRequest {
    pub host: String,
    pub target: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The target's own default if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Upper bound on streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// Hard end of the session, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<u64>,
}

/// Where an answer sends us, without `path`: a proxy that wants TLS, mostly. The key is not sent after it.
fn redirect(answer: &Response, path: &str) -> Option<String> {
    let location = answer.header(LOCATION).filter(|_| answer.status().is_redirection())?;
    let location = printable(location).into_owned();
    Some(location.strip_suffix(path).map_or(location.clone(), str::to_owned))
}

impl Api {
    /// A platform by its `http://` or `https://` URL.
    ///
    /// # Errors
    /// When that is no URL.
    pub(crate) fn new(url: &str, key: Key, dialer: Dialer) -> Result<Api, ExitError> {
        let place = PlatformUrl::parse(url).or_exit(Exit::Usage)?;
        Ok(Api { place, key, dialer })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// What the platform says, or that it cannot be reached.
    pub(crate) async fn open(&self, request: &OpenRequest) -> Result<Session, ExitError> {
        let body = serde_json::to_vec(request).context("the request").or_exit(Exit::Software)?;
        self.ask(Method::POST, SESSIONS, body, 201).await
    }

    /// What may be opened on a host.
    ///
    /// # Errors
    /// What the platform says, or that it cannot be reached.
    pub(crate) async fn targets(&self, host: &str) -> Result<Vec<TargetInfo>, ExitError> {
        #[derive(Deserialize)]
        struct List {
            targets: Vec<TargetInfo>,
        }
        let host = utf8_percent_encode(host, SEGMENT);
        let path = format!("/api/v1/hosts/{host}/targets");
        let list: List = self.ask(Method::GET, &path, Vec::new(), 200).await?;
        Ok(list.targets)
    }

    /// Sends a request; `good` is the status of its answer.
    ///
    /// # Errors
    /// What the platform says, or that it cannot be reached.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        good: u16,
    ) -> Result<T, ExitError> {
        let (status, answer) = match self.send(method, path, body).await {
            Ok(answered) => answered,
            Err(error) => {
                let error = explain_platform_error(error, &self.place, &self.dialer).await;
                return Err(error).or_exit(Exit::Unavailable);
            }
        };
        if status != good {
            return Err(self.refusal(status, &answer));
        }
        serde_json::from_slice(&answer).context("the platform's answer").or_exit(Exit::Unavailable)
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(u16, Bytes)> {
        let socket = self.dialer.reach(&self.place.address).await.context("platform")?;
        let connection = Connection::new(socket, LIMITS).await.context("platform")?;
        let request = Request::builder()
            .method(method)
            .uri(self.place.address.below(path).path())
            .header(HOST, self.place.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.key.secret.expose().trim()))
            .body(Bytes::from(body))?;
        let answer = connection.send(request).await.context("platform")?;
        if let Some(leads_to) = redirect(&answer, path) {
            bail!("--platform {} leads to {leads_to}: write that", self.place.written);
        }
        let status = answer.status().as_u16();
        Ok((status, answer.bytes().await.context("platform")?))
    }

    /// The platform's error, with the exit code that says of which kind it is.
    fn refusal(&self, status: u16, answer: &[u8]) -> ExitError {
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
        let text = |key: &str| printable(answer[key].as_str().unwrap_or_default()).into_owned();
        let (code, message) = (text("code"), text("message"));
        let (at, has_path) = (&self.place.written, !matches!(self.place.address.path(), "" | "/"));
        let error = match message.is_empty() {
            true => anyhow!("no platform answers at {at}, but another service ({status})"),
            false if code == "unauthorized" => {
                anyhow!(
                    "{at} does not know the key in {} ({code}): is it the key of another platform?",
                    self.key.file
                )
            }
            false if code == "key_expired" => anyhow!("{message} ({code}); the key is in {}", self.key.file),
            false if code == "not_found" && has_path => anyhow!(
                "no platform answers at {at} ({code}): its address is what stands before /api/v1/, such as {}",
                self.place.root()
            ),
            // Such as a relay without a platform, and the relay's admin address.
            false if matches!(code.as_str(), "not_found" | "method_not_allowed") => {
                anyhow!("no platform answers at {at}: {message} ({code})")
            }
            false => anyhow!("{message} ({code})"),
        };
        let exit = match (status, code.as_str()) {
            (400 | 413, _) => Exit::DataErr,
            (401 | 403, _) => Exit::NoPerm,
            (409, "busy" | "stopping") | (429, _) => Exit::TempFail,
            // The host would if it could.
            (409, "relay_unreachable" | "relay_refused" | "internal") => Exit::Unavailable,
            (409, _) => Exit::NoPerm,
            _ => Exit::Unavailable,
        };
        let refusal = ExitError::new(exit, error);
        if code.is_empty() { refusal } else { refusal.of_kind(code) }
    }
}
