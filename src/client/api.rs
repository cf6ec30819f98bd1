//! Asks a platform's HTTP API for a session.

use anyhow::{Context, Result, anyhow};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::daemon::secret::Secret;
use crate::link::dial::{Address, Dialer};

/// The largest answer that is read, in bytes.
const MOST: usize = 64 * 1024;

/// A platform and a key for it.
pub struct Api {
    address: Address,
    authority: String,
    key: Secret,
    dialer: Dialer,
}

/// A session that can be connected to.
#[derive(Debug, Deserialize)]
pub struct Session {
    /// Its id.
    pub session: String,
    /// Holds the token.
    pub url: String,
    /// Until when.
    pub expires: String,
}

/// What to ask for.
#[derive(Debug)]
pub struct Wish<'a> {
    /// On which host.
    pub host: &'a str,
    /// What to open.
    pub target: &'a str,
    /// `ro` or `rw`.
    pub mode: Option<&'a str>,
    /// Upper bound on streams.
    pub max_streams: Option<u32>,
}

impl Api {
    /// A platform by its `http://` or `https://` URL.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn new(url: &str, key: Secret, dialer: Dialer) -> Result<Api, ExitError> {
        let websocket = url.strip_prefix("http").map(|rest| format!("ws{rest}"));
        let websocket = websocket.ok_or_else(|| anyhow!("--platform is not an http:// or https:// URL"));
        let address = Address::of(&websocket.or_exit(Exit::Usage)?).or_exit(Exit::Usage)?;
        let authority = format!("{}:{}", address.host, address.port);
        Ok(Api { address, authority, key, dialer })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// What the platform says, or that it cannot be reached.
    pub async fn open(&self, wish: &Wish<'_>) -> Result<Session, ExitError> {
        let mut body = json!({ "host": wish.host, "target": wish.target });
        if let Some(mode) = wish.mode {
            body["mode"] = mode.into();
        }
        if let Some(streams) = wish.max_streams {
            body["max_streams"] = streams.into();
        }
        let (status, answer) =
            self.post("/api/v1/sessions", body.to_string()).await.or_exit(Exit::Unavailable)?;
        if status == 201 {
            return serde_json::from_slice(&answer)
                .context("the platform's answer")
                .or_exit(Exit::Unavailable);
        }
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let (code, message) = (text("code"), text("message"));
        let error = match message.is_empty() {
            true => anyhow!("the platform answered {status}: is --platform its address?"),
            false => anyhow!("{message} ({code})"),
        };
        let exit = match status {
            401 | 403 => Exit::NoPerm,
            400 => Exit::DataErr,
            409 if code == "busy" => Exit::TempFail,
            409 => Exit::NoPerm,
            _ => Exit::Unavailable,
        };
        Err(ExitError { exit, error })
    }

    async fn post(&self, path: &str, body: String) -> Result<(u16, Bytes)> {
        let socket = self.dialer.reach(&self.address).await.context("platform")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.context("platform")?;
        // Ends by itself when the answer is in and the sender is dropped.
        tokio::spawn(connection);
        let request = Request::post(self.address.below(path).path())
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.key.expose()))
            .body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await.context("platform")?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MOST).collect().await;
        let body = body.map_err(|error| anyhow!("platform: {error}"))?.to_bytes();
        Ok((status, body))
    }
}
