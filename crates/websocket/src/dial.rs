//! The client's half: from a relay's URL to a websocket, one step a function, so that `test-dial`
//! can show each of them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::{Request, StatusCode};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::connect::{connect, connect_first, look_up, resolve};
use super::connection::{Limits, WebSocket};
use super::error::{DialError, in_words, reach};
use super::frame::Role;
use super::proxy::Proxy;
use super::reader::Text;
use super::upgrade::{MAX_HEAD, accept_for, lists};
use http1::client::{Connection, Limits as HttpLimits, Response};
use net::socket::Socket;

/// For the relay's answer, and the refusal in its body. Each step has its own time.
const LIMITS: HttpLimits = HttpLimits { head: MAX_HEAD, body: 4 * 1024, time: None };

/// How long one step (TLS, the answer) may take.
const STEP: Duration = Duration::from_secs(10);

const AGENT: &str = concat!("stream/", env!("CARGO_PKG_VERSION"));

/// How to reach relays; the same for every dial.
#[derive(Clone)]
pub struct Dialer {
    /// Trust for `wss://`.
    pub tls: Arc<rustls::ClientConfig>,
    /// The way out, if it is not direct.
    pub proxy: Option<Proxy>,
    pub limits: Limits,
}

/// A websocket, and what the answer said.
pub struct Dialled {
    pub websocket: WebSocket<Socket>,
    /// Headers of the 101.
    pub headers: HeaderMap,
}

impl Dialer {
    /// All steps up to a connection that HTTP can be spoken on.
    ///
    /// # Errors
    /// [`DialError::Reach`], naming the step.
    pub async fn reach(&self, address: &Address) -> Result<Socket, DialError> {
        let stream = match self.proxy.as_ref().filter(|proxy| proxy.applies_to(&address.host)) {
            None => connect(&resolve(&address.host, address.port).await?).await?,
            Some(proxy) => {
                let (host, port) = proxy.address();
                // The platform passes these words on to its users: where the proxy is stays on the host.
                let found = look_up(host, port, "proxy: name lookup").await?;
                let stream = connect_first(&found).await.map_err(|failed| {
                    let why = failed.last().map(|failed| failed.error.to_string()).unwrap_or_default();
                    DialError::Reach(format!("proxy: connect: {why}"))
                })?;
                let asked = proxy.connect(stream, &address.host, address.port);
                within("proxy", asked).await??
            }
        };
        self.secure(stream, address).await
    }

    /// TLS on top of a connection, where the URL asks for it.
    ///
    /// # Errors
    /// [`DialError::Tls`], or [`DialError::Reach`] if the connection breaks.
    pub async fn secure(&self, stream: TcpStream, address: &Address) -> Result<Socket, DialError> {
        if !address.tls {
            return Ok(Socket::Tcp(stream));
        }
        let name = ServerName::try_from(address.host.clone()).map_err(|_| {
            DialError::Url(format!("{} is not a name that a certificate could have", address.host))
        })?;
        let connected = within("TLS", TlsConnector::from(self.tls.clone()).connect(name, stream)).await?;
        let stream = connected.map_err(|error| {
            let step = format!("TLS with {}", address.host);
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let Some(tls) = tls else { return reach(&step, &error) };
            let text = match tls {
                rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why)) => {
                    format!("{step}: {}", why.0)
                }
                _ => in_words(&step, &error),
            };
            DialError::Tls { text, error: Box::new(tls.clone()) }
        })?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }

    /// The websocket handshake on a connection.
    ///
    /// # Errors
    /// [`DialError::Refused`] with what the relay says, or [`DialError::Reach`].
    pub async fn handshake(
        &self,
        socket: Socket,
        address: &Address,
        headers: &[(HeaderName, HeaderValue)],
        text: Text,
    ) -> Result<Dialled, DialError> {
        let key = random_key()?;
        let mut request = Request::get(&address.path)
            .header(HOST, &address.authority)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key)
            .header(USER_AGENT, AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request =
            request.body(Bytes::new()).map_err(|_| DialError::Url("URL has no valid path".into()))?;
        let response = within("answer of the relay", send(socket, request)).await??;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response).await);
        }
        let answer = response.headers().clone();
        if let Err(what) = check(&answer, headers, &accept_for(key.as_bytes())) {
            return Err(DialError::Reach(format!("answer is 101 but {what}: is a proxy in between?")));
        }
        let upgraded = within("upgrade", response.upgrade::<Socket>()).await?;
        let (socket, early) = upgraded.map_err(|error| reach("upgrade", &error))?;
        Ok(Dialled {
            websocket: WebSocket::new(socket, &early, Role::Client, text, self.limits),
            headers: answer,
        })
    }

    /// All steps in a row, until `deadline`.
    ///
    /// # Errors
    /// That of the first step that fails, or was not over in time.
    pub async fn dial_until(
        &self,
        deadline: Instant,
        address: &Address,
        headers: &[(HeaderName, HeaderValue)],
        text: Text,
    ) -> Result<Dialled, DialError> {
        DEADLINE.scope(deadline, self.dial(address, headers, text)).await
    }

    /// All steps in a row.
    ///
    /// # Errors
    /// That of the first step that fails.
    pub async fn dial(
        &self,
        address: &Address,
        headers: &[(HeaderName, HeaderValue)],
        text: Text,
    ) -> Result<Dialled, DialError> {
        let socket = self.reach(address).await?;
        self.handshake(socket, address, headers, text).await
    }
}

/// The header that offers a subprotocol.
pub fn offer(protocol: &'static str) -> (HeaderName, HeaderValue) {
    (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol))
}

async fn send(socket: Socket, request: Request<Bytes>) -> Result<Response, DialError> {
    let connection = Connection::new(socket, LIMITS).await.map_err(|error| reach("HTTP", &error))?;
    connection.send(request).await.map_err(|error| reach("answer of the relay", &error))
}

/// What a client must check in the answer (RFC 6455 section 4.1).
fn check(answer: &HeaderMap, asked: &[(HeaderName, HeaderValue)], accept: &str) -> Result<(), &'static str> {
    if !lists(answer, UPGRADE, "websocket") || !lists(answer, CONNECTION, "upgrade") {
        return Err("not to a websocket");
    }
    if answer.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|answer| answer != accept) {
        return Err("not to our key");
    }
    if answer.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err("with an extension that was not offered");
    }
    let offered = |protocol: &HeaderValue| {
        let mut offers = asked.iter().filter(|(name, _)| name == SEC_WEBSOCKET_PROTOCOL);
        offers.any(|(_, offers)| {
            offers.to_str().is_ok_and(|offers| offers.split(',').any(|offer| offer.trim() == protocol))
        })
    };
    match answer.get(SEC_WEBSOCKET_PROTOCOL) {
        Some(protocol) if !offered(protocol) => Err("with a subprotocol that was not offered"),
        _ => Ok(()),
    }
}

async fn refusal(response: Response) -> DialError {
    let status = response.status();
    let body = within("refusal", response.bytes()).await.ok().and_then(Result::ok).unwrap_or_default();
    let message = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|json| json.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_default();
    DialError::Refused { status, message }
}

fn random_key() -> Result<String, DialError> {
    let mut key = [0; 16];
    let filled = SystemRandom::new().fill(&mut key);
    filled.map_err(|_| DialError::Reach("the system's random source failed".into()))?;
    Ok(STANDARD.encode(key))
}

tokio::task_local! {
    /// When the dial that a step belongs to must be over: the step that is not says so by its name.
    static DEADLINE: Instant;
}

async fn within<T>(step: &str, future: impl Future<Output = T>) -> Result<T, DialError> {
    let left = DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now()));
    let limit = left.unwrap_or(STEP).min(STEP);
    let late = |_| {
        let seconds = (limit.as_secs_f64() * 10.0).round() / 10.0;
        DialError::Reach(format!("{step}: no answer within {seconds} s"))
    };
    timeout(limit, future).await.map_err(late)
}
