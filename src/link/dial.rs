//! The client's half: from a relay's URL to a websocket, one step a function, so that `test-dial`
//! can show each of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use url::Url;

use super::connect::{connect, connect_first, look_up, resolve};
use super::frame::Role;
use super::leg::{Leg, Limits};
use super::proxy::Proxy;
use super::reader::Text;
use super::socket::Socket;
use super::upgrade::{accept_for, into_socket, lists};

/// The largest head of a response that is read, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// The largest body of a refusal that is read, in bytes.
const MAX_REFUSAL: usize = 4 * 1024;

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
    /// Bounds of the websocket.
    pub limits: Limits,
}

/// A websocket, and what the answer said.
pub struct Dialled {
    /// The websocket.
    pub leg: Leg<Socket>,
    /// Headers of the 101.
    pub headers: HeaderMap,
}

/// Which step failed, and how.
#[derive(Debug)]
pub enum DialError {
    /// The URL cannot be dialled at all.
    Url(String),
    /// Everything before the relay's HTTP answer: worth another try.
    Reach(String),
    /// The same, where another try would end alike: a certificate that is not trusted, a proxy that says no.
    Barred(String),
    /// The relay answered with something other than 101.
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What the body says, shortened.
        message: String,
    },
}

impl DialError {
    /// Whether the same dial may succeed later: yes for 5xx and whatever is below HTTP.
    pub fn may_pass(&self) -> bool {
        match self {
            DialError::Url(_) | DialError::Barred(_) => false,
            DialError::Reach(_) => true,
            DialError::Refused { status, .. } => status.is_server_error(),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Url(why) | DialError::Reach(why) | DialError::Barred(why) => f.write_str(why),
            DialError::Refused { status, message } if message.is_empty() => {
                write!(f, "relay answered {status}")
            }
            DialError::Refused { status, message } => {
                write!(f, "relay answered {}: {message}", status.as_u16())
            }
        }
    }
}

impl std::error::Error for DialError {}

/// Where a websocket URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether it is `wss://`.
    pub tls: bool,
    authority: String,
    path: String,
}

/// Reads a URL. The tables that turn names outside ASCII into punycode are left out of the programs for their size.
pub(super) fn parse_url(url: &str) -> Result<Url, String> {
    Url::parse(url).map_err(|error| match error {
        url::ParseError::IdnaError => {
            "invalid host name; write one that has other than ASCII letters in punycode (xn--...)".to_owned()
        }
        error => error.to_string(),
    })
}

impl Address {
    /// Reads a `ws://` or `wss://` URL.
    ///
    /// # Errors
    /// [`DialError::Url`], without quoting the URL: it may hold a token.
    pub fn of(url: &str) -> Result<Address, DialError> {
        let url = parse_url(url).map_err(|why| DialError::Url(format!("not a URL: {why}")))?;
        let tls = match url.scheme() {
            "wss" => true,
            "ws" => false,
            other => {
                return Err(DialError::Url(format!("URL begins with {other}://, expected wss:// or ws://")));
            }
        };
        let host = url.host_str().ok_or_else(|| DialError::Url("URL has no host".into()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = url.authority().rsplit('@').next().unwrap_or_default().to_owned();
        let port = url.port().unwrap_or(if tls { 443 } else { 80 });
        let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        Ok(Address { host, port, tls, authority, path })
    }

    /// Reads the URL of a relay itself, below which the paths of the wire contract lie.
    ///
    /// # Errors
    /// As [`Address::of`], and for a query, a fragment or a user, which a relay's URL has not.
    pub fn of_relay(url: &str) -> Result<Address, DialError> {
        let address = Address::of(url)?;
        if url.contains(['?', '#', '@']) {
            return Err(DialError::Url("a relay's URL has no user, no ? and no #".into()));
        }
        Ok(address)
    }

    /// Whether both are the same place: letters of the host, a default port and a slash at the end do not count.
    pub fn leads_to(&self, other: &Address) -> bool {
        let place = |address: &Address| {
            let host = address.host.trim_end_matches('.').to_owned();
            (address.tls, host, address.port, address.path.trim_end_matches('/').to_owned())
        };
        place(self) == place(other)
    }

    /// The path, with the query if there is one.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same place with `path` behind its own; a query is left behind.
    pub fn below(&self, path: &str) -> Address {
        let own = self.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        Address { path: format!("{own}{path}"), ..self.clone() }
    }
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
    /// [`DialError::Reach`].
    pub async fn secure(&self, stream: TcpStream, address: &Address) -> Result<Socket, DialError> {
        if !address.tls {
            return Ok(Socket::Tcp(stream));
        }
        let name = ServerName::try_from(address.host.clone()).map_err(|_| {
            DialError::Url(format!("{} is not a name that a certificate could have", address.host))
        })?;
        let connected = within("TLS", TlsConnector::from(self.tls.clone()).connect(name, stream)).await?;
        let stream = connected.map_err(|error| {
            let mut text = in_words(&format!("TLS with {}", address.host), &error);
            if text.contains("CaUsedAsEndEntity") {
                text.push_str(" (self-signed? make it with basicConstraints=critical,CA:FALSE)");
            }
            if is_of_certificate(&error) { DialError::Barred(text) } else { DialError::Reach(text) }
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
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|_| DialError::Url("URL has no valid path".into()))?;
        let response = within("answer of the relay", send(socket, request)).await??;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response).await);
        }
        let answer = response.headers().clone();
        if let Err(what) = check(&answer, headers, &accept_for(key.as_bytes())) {
            return Err(DialError::Reach(format!("answer is 101 but {what}: is a proxy in between?")));
        }
        let upgraded = within("upgrade", hyper::upgrade::on(response)).await?;
        let upgraded = upgraded.map_err(|error| reach("upgrade", &error))?;
        let (socket, early) = into_socket(upgraded).map_err(|error| DialError::Reach(error.to_string()))?;
        Ok(Dialled { leg: Leg::new(socket, &early, Role::Client, text, self.limits), headers: answer })
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

async fn send(socket: Socket, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, DialError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| reach("HTTP", &error))?;
    // Ends by itself: with the answer when the sender is dropped, or by handing over the socket.
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.map_err(|error| reach("answer of the relay", &error))
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

async fn refusal(response: Response<Incoming>) -> DialError {
    let status = response.status();
    let body = within("refusal", Limited::new(response.into_body(), MAX_REFUSAL).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
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

/// Whether a failed TLS handshake is about the relay's certificate, which does not change between two tries.
fn is_of_certificate(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

pub(super) fn reach(step: &str, error: &dyn std::error::Error) -> DialError {
    DialError::Reach(in_words(step, error))
}

/// A failed step with all its causes.
fn in_words(step: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{step}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
