//! Asks a platform's HTTP API: for a session, and for what a host allows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::daemon::printable::printable;
use crate::daemon::secret::Secret;
use crate::link::dial::{Address, Dialer};
use crate::protocol::command::TargetInfo;
use crate::protocol::mode::Mode;

use super::words::with_remedy;

/// The largest answer that is read, in bytes: the targets of one host.
const MOST: usize = 1024 * 1024;

/// How long the platform may take: it may wait a minute for the host.
const ANSWER: Duration = Duration::from_secs(70);

const SESSIONS: &str = "/api/v1/sessions";

/// A platform and a key for it.
pub struct Api {
    address: Address,
    authority: String,
    key: Secret,
    dialer: Dialer,
}

/// A session that can be connected to.
#[derive(Debug, Deserialize, Serialize)]
pub struct Session {
    /// Its id.
    pub session: String,
    /// Holds the token.
    pub url: String,
    /// Until when.
    pub expires: String,
}

/// What to ask for.
#[derive(Clone, Debug, Serialize)]
pub struct Wish {
    /// On which host.
    pub host: String,
    /// What to open.
    pub target: String,
    /// Its parameters.
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

impl Api {
    /// A platform by its `http://` or `https://` URL.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn new(url: &str, key: Secret, dialer: Dialer) -> Result<Api, ExitError> {
        let websocket = url.strip_prefix("http").map(|rest| format!("ws{rest}"));
        let expected = "expected an address such as https://relay.example.com";
        let websocket = websocket.ok_or_else(|| anyhow!("--platform {}: {expected}", printable(url)));
        let address = Address::of(&websocket.or_exit(Exit::Usage)?).or_exit(Exit::Usage)?;
        let authority = match address.host.contains(':') {
            true => format!("[{}]:{}", address.host, address.port),
            false => format!("{}:{}", address.host, address.port),
        };
        Ok(Api { address, authority, key, dialer })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// What the platform says, or that it cannot be reached.
    pub async fn open(&self, wish: &Wish) -> Result<Session, ExitError> {
        let body = serde_json::to_vec(wish).context("the request").or_exit(Exit::Software)?;
        self.ask(Method::POST, SESSIONS, body, 201).await
    }

    /// What may be opened on a host.
    ///
    /// # Errors
    /// What the platform says, or that it cannot be reached.
    pub async fn targets(&self, host: &str) -> Result<Vec<TargetInfo>, ExitError> {
        #[derive(Deserialize)]
        struct List {
            targets: Vec<TargetInfo>,
        }
        let path = format!("/api/v1/hosts/{host}/targets");
        let list: List = self.ask(Method::GET, &path, Vec::new(), 200).await?;
        Ok(list.targets)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        good: u16,
    ) -> Result<T, ExitError> {
        let (status, answer) =
            self.send(method, path, body).await.map_err(with_remedy).or_exit(Exit::Unavailable)?;
        if status != good {
            return Err(refusal(status, &answer));
        }
        serde_json::from_slice(&answer).context("the platform's answer").or_exit(Exit::Unavailable)
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(u16, Bytes)> {
        let socket = self.dialer.reach(&self.address).await.context("platform")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.context("platform")?;
        // Ends by itself when the answer is in and the sender is dropped.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(self.address.below(path).path())
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.key.expose()))
            .body(Full::new(Bytes::from(body)))?;
        let answer = async {
            let answer = sender.send_request(request).await.context("platform")?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MOST).collect().await;
            Ok((status, body.map_err(|error| anyhow!("platform: {error}"))?.to_bytes()))
        };
        let late = |_| anyhow!("platform: no answer within {} s", ANSWER.as_secs());
        timeout(ANSWER, answer).await.map_err(late)?
    }
}

/// The platform's error, with the exit code that says of which kind it is.
fn refusal(status: u16, answer: &[u8]) -> ExitError {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let text = |key: &str| printable(answer[key].as_str().unwrap_or_default()).into_owned();
    let (code, message) = (text("code"), text("message"));
    let error = match message.is_empty() {
        true => anyhow!("the platform answered {status}: is --platform its address?"),
        false if status == 401 => anyhow!("the platform does not know the key of --api-key-file ({code})"),
        false if code == "not_found" => anyhow!("{message} ({code}): is --platform its address?"),
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
    ExitError { exit, error }
}
