//! Tests the way to one relay: name, TCP or proxy, TLS, and whether a relay answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, DATE, HOST, LOCATION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SERVER, UPGRADE,
};
use hyper::{Request, StatusCode};
use rustls::{CertificateError, Error, InvalidMessage};
use tokio::net::TcpStream;
use tokio::time::timeout;

use http1::client::{Connection, Limits};
use net::each;
use net::socket::Socket;
use protocol::headers::{HOST_PATH, TEST};
use service::certificate::{self, REMARK_DAYS};
use service::exit::Exit;
use service::tls::{certificate_error, is_ca_as_server};
use websocket::address::Address;
use websocket::connect::{self, connect as connect_to};
use websocket::dial::Dialer;
use websocket::error::DialError;

use super::client;
use super::front::{Fault, Front};
use super::report::{DEAD_ADDRESS, Report};

/// How long the relay, or a proxy, may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// For the answer of whatever service is there.
const LIMITS: Limits = Limits { head: 64 * 1024, body: 16 * 1024, time: Some(ANSWER) };

/// The example key of RFC 6455 (section 1.3): no websocket is opened with it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Tests one relay of the list.
pub(super) async fn test(report: &mut Report, dialer: &Dialer, url: &str, leeway: Duration) {
    let address = match Address::parse(url) {
        Ok(address) => address,
        Err(error) => {
            return report.fail(
                "relay-url",
                Some(url),
                Exit::Config,
                error.to_string(),
                "correct [relay] of CONFIG: allow = [\"wss://relay.example.com\"]",
            );
        }
    };
    let Some(stream) = connect(report, dialer, url, &address).await else { return };
    let Some(socket) = secure(report, dialer, url, &address, stream).await else { return };
    match ask(socket, url).await {
        Ok(asked) => {
            judge(report, url, &asked, address.tls);
            clock(report, url, &asked, leeway);
            client::test(report, dialer, url, &address, asked.front).await;
        }
        Err(error) => report.fail(
            "relay-websocket",
            Some(url),
            Exit::Unavailable,
            format!("{error:#}"),
            "something accepts connections there, and answers no HTTP request: check the URL's port (if that port speaks TLS, write wss://), \
             and that a proxy in front speaks HTTP/1.1 to the relay (HAProxy: no `proto h2` in the server line)",
        ),
    }
}

async fn connect(report: &mut Report, dialer: &Dialer, url: &str, address: &Address) -> Option<TcpStream> {
    let proxy = dialer.proxy.as_ref().filter(|proxy| proxy.applies_to(&address.host));
    let (host, port) = proxy.map_or((address.host.as_str(), address.port), |proxy| proxy.address());
    let addresses = match connect::resolve(host, port).await {
        Ok(addresses) => addresses,
        Err(error) => {
            let remedy = "check the name in [relay] of CONFIG: allow, and that this host's resolver knows it";
            report.fail("relay-name", Some(url), Exit::Unavailable, error.to_string(), remedy);
            return None;
        }
    };
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.pass("relay-name", Some(url), format!("{host} is {}", list.join(", ")));
    let tried = each(&addresses).await;
    let stream = match connect_to(&addresses).await {
        Ok(stream) => stream,
        Err(error) => {
            let remedy = "check that the relay runs, and that a firewall lets this host out to it; if a proxy is needed, set in [proxy] of CONFIG: \
                 url = \"http://proxy.example.com:3128\"";
            report.fail("relay-tcp", Some(url), Exit::Unavailable, error.to_string(), remedy);
            return None;
        }
    };
    let detail = format!("port {port}: {}", tried.iter().map(in_words).collect::<Vec<_>>().join(", "));
    match tried.iter().all(|(_, connected)| connected.is_ok()) {
        true => report.pass("relay-tcp", Some(url), detail),
        false => report.pass_but("relay-tcp", Some(url), detail, DEAD_ADDRESS),
    }
    let Some(proxy) = proxy else { return Some(stream) };
    match timeout(ANSWER, proxy.connect(stream, &address.host, address.port)).await {
        Ok(Ok(stream)) => {
            report.pass("relay-proxy", Some(url), format!("connected through the proxy {host}:{port}"));
            Some(stream)
        }
        Ok(Err(error)) => {
            let detail = format!("{error:#}");
            let exit = if detail.contains("(407)") { Exit::NoPerm } else { Exit::Unavailable };
            let remedy = "the proxy must allow CONNECT to the relay; where none is needed, set in [proxy] of CONFIG: \
                          no_proxy = [\"relay.internal\"]";
            report.fail("relay-proxy", Some(url), exit, detail, remedy);
            None
        }
        Err(_) => {
            let detail = format!("the proxy {host}:{port} gave no answer within {} s", ANSWER.as_secs());
            report.fail(
                "relay-proxy",
                Some(url),
                Exit::Unavailable,
                detail,
                "check [proxy] of CONFIG: url = \"http://proxy.example.com:3128\"",
            );
            None
        }
    }
}

fn in_words((address, connected): &(SocketAddr, std::io::Result<Duration>)) -> String {
    match connected {
        Ok(took) => format!("{} in {:.1} ms", address.ip(), took.as_secs_f64() * 1e3),
        Err(error) => format!("{} {error}", address.ip()),
    }
}

async fn secure(
    report: &mut Report,
    dialer: &Dialer,
    url: &str,
    address: &Address,
    stream: TcpStream,
) -> Option<Socket> {
    if !address.tls {
        report.skip(
            "relay-tls",
            Some(url),
            "the URL is ws://, so nothing is encrypted: use wss:// unless the way is safe",
        );
        return Some(Socket::Tcp(stream));
    }
    let socket = match dialer.secure(stream, address).await {
        Ok(socket) => socket,
        Err(error) => {
            let (detail, remedy) = (tls_words(&error), tls_remedy(&error));
            report.fail("relay-tls", Some(url), Exit::Unavailable, detail, remedy);
            return None;
        }
    };
    if let Socket::Tls(stream) = &socket {
        let connection = stream.get_ref().1;
        let chain = certificate::chain(connection.peer_certificates().unwrap_or_default(), SystemTime::now());
        let version = connection.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
        let days = chain.days_left.map(|days| format!(", {days} days left")).unwrap_or_default();
        let detail = format!("{version}, {}{days}", chain.names);
        match chain.days_left {
            Some(days) if days < REMARK_DAYS => report.pass_but(
                "relay-tls",
                Some(url),
                detail,
                "the relay's certificate expires soon: renew it",
            ),
            _ => report.pass("relay-tls", Some(url), detail),
        }
    }
    Some(socket)
}

/// The error in plain words, without the library's name for it.
fn tls_words(error: &DialError) -> String {
    match error {
        DialError::Tls { error, .. }
            if matches!(**error, Error::InvalidMessage(InvalidMessage::InvalidContentType)) =>
        {
            "the relay does not speak TLS at that port".into()
        }
        _ => error.to_string(),
    }
}

fn tls_remedy(error: &DialError) -> &'static str {
    const UNKNOWN_ISSUER: &str = "if the relay's certificate is of a private CA (Caddy's `tls internal` is one), set in [relay] of CONFIG: \
         ca_file = \"/etc/stream-agent/ca.pem\"; if it is of a public one: `apt install ca-certificates`, and let the \
         relay, or the proxy in front, send its whole chain (fullchain.pem in nginx's ssl_certificate, Apache's \
         SSLCertificateFile, Caddy's tls or HAProxy's crt)";
    const CA_AS_SERVER: &str = "make the relay another certificate, with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`, copy it to this \
         host, and name it in [relay] of CONFIG: ca_file = \"/etc/stream-agent/ca.pem\"";
    const DATE: &str = "renew the relay's certificate, or set this host's clock (NTP)";
    const OTHER_NAME: &str =
        "the certificate is for another name: use that name in [relay] of CONFIG: allow, and in the grants";
    const NO_TLS: &str = "what answers there does not speak TLS: check the port, or give it a certificate (nginx: listen 443 ssl; HAProxy: bind :443 ssl \
         crt /etc/haproxy/relay.pem; Apache: SSLEngine on), or write ws:// for a way that is safe";
    const ALERT: &str = "what answers there has no certificate for this name, or speaks no TLS 1.2 or 1.3: its site must have the name that \
         stands in [relay] of CONFIG: allow (Caddy: the site's address)";
    const BROKEN: &str = "what answers there ends the connection: check the port, and that it does not wait for the PROXY protocol (HAProxy: no \
         accept-proxy in the bind line; nginx: no proxy_protocol in listen)";
    let DialError::Tls { error, .. } = error else { return BROKEN };
    match (certificate_error(error), &**error) {
        (Some(CertificateError::UnknownIssuer), _) => UNKNOWN_ISSUER,
        (Some(error), _) if is_ca_as_server(error) => CA_AS_SERVER,
        (
            Some(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ),
            _,
        ) => DATE,
        (Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }), _) => {
            OTHER_NAME
        }
        (None, Error::InvalidMessage(_)) => NO_TLS,
        (None, Error::AlertReceived(_)) => ALERT,
        _ => BROKEN,
    }
}

/// The answer to a dial without a grant.
struct Asked {
    status: StatusCode,
    /// The code in the JSON of a relay's refusal.
    code: Option<String>,
    /// The message of the refusal, escaped.
    message: Option<String>,
    server: Option<String>,
    /// The target of a redirect.
    location: Option<String>,
    front: Front,
    /// The relay's clock, and ours at that moment: half the round trip after the request.
    clocks: Option<(SystemTime, SystemTime)>,
    round_trip: Duration,
}

/// Dials as a host, without a grant.
async fn ask(socket: Socket, url: &str) -> anyhow::Result<Asked> {
    let url = url::Url::parse(url)?;
    let path = format!("{}{HOST_PATH}", url.path().trim_end_matches('/'));
    let request = Request::get(path)
        .header(HOST, url.authority())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, KEY)
        .header(TEST, "?1")
        .body(Bytes::new())?;
    let connection = Connection::new(socket, LIMITS).await?;
    let (begun, at) = (Instant::now(), SystemTime::now());
    let response = connection.send(request).await?;
    let round_trip = begun.elapsed();
    let date = response.header(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let (status, server) = (response.status(), response.header(SERVER).map(str::to_owned));
    let location = response.header(LOCATION).map(|location| location.escape_debug().to_string());
    let body = response.bytes().await.unwrap_or_default();
    let json = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
    let word = |key: &str| Some(json.get(key)?.as_str()?.escape_debug().to_string());
    let (code, message) = (word("code"), word("message"));
    let front = Front::detect(server.as_deref(), &String::from_utf8_lossy(&body));
    let clocks = date.map(|date| (date, at + round_trip / 2));
    Ok(Asked { status, code, message, server, location, front, clocks, round_trip })
}

fn judge(report: &mut Report, url: &str, asked: &Asked, tls: bool) {
    let by = asked.server.as_ref().map(|server| format!(" by {server}")).unwrap_or_default();
    let is_relays = asked.code.is_some();
    if asked.status == StatusCode::UNAUTHORIZED && is_relays {
        let took = asked.round_trip.as_secs_f64() * 1e3;
        let detail = format!("a relay is there: it asks for a grant (401), round trip {took:.1} ms");
        return report.pass("relay-websocket", Some(url), detail);
    }
    let detail = match (&asked.message, &asked.location) {
        (Some(message), _) => format!("{}{by}: {message}", asked.status),
        (None, Some(location)) => format!("{}{by}: it leads to {location}", asked.status),
        (None, None) => format!("{}{by}, where a relay would ask for a grant", asked.status),
    };
    let remedy = Fault::from_status(asked.status, is_relays, tls).remedy(asked.front);
    report.fail("relay-websocket", Some(url), Exit::Unavailable, detail, &remedy);
}

fn clock(report: &mut Report, url: &str, asked: &Asked, leeway: Duration) {
    let Some((theirs, ours)) = asked.clocks else {
        return report.skip(
            "relay-clock",
            Some(url),
            "the answer has no Date header: compare the clocks of host and relay with `timedatectl`",
        );
    };
    // A Date header has whole seconds, so it is half a second late on average.
    let (apart, which) = match ours.duration_since(theirs + Duration::from_millis(500)) {
        Ok(apart) => (apart, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let detail = match apart.as_secs_f64().round() {
        ..2.0 => "this host's clock and the relay's agree to a second".to_owned(),
        apart => format!("this host's clock is {apart} s {which} the relay's"),
    };
    if apart > leeway + Duration::from_secs(1) {
        let remedy = "grants would be refused: keep all clocks right with NTP (chrony or systemd-timesyncd)";
        report.fail("relay-clock", Some(url), Exit::Config, detail, remedy);
    } else {
        report.pass("relay-clock", Some(url), detail);
    }
}
