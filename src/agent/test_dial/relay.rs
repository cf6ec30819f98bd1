//! The way to one relay: name, TCP or proxy, TLS, and whether it is a relay that answers there.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, DATE, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SERVER, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::daemon::certificate::{self, CARE_DAYS};
use crate::daemon::exit::Exit;
use crate::link::connect::{self, connect as connect_to};
use crate::link::dial::{Address, Dialer};
use crate::link::socket::Socket;
use crate::protocol::headers::{HOST_PATH, TEST};

use super::client;
use super::report::Report;

/// How long the relay has for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// The example key of RFC 6455: nobody will ever upgrade with it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Tests one relay of the list.
pub async fn test(report: &mut Report, dialer: &Dialer, url: &str, leeway: Duration) {
    let address = match Address::of(url) {
        Ok(address) => address,
        Err(error) => {
            return report.fail(
                "relay-url",
                Some(url),
                Exit::Config,
                error.to_string(),
                "mend [relay] of CONFIG: allow = [\"wss://relay.example.com\"]",
            );
        }
    };
    let Some(stream) = connect(report, dialer, url, &address).await else { return };
    let Some(socket) = secure(report, dialer, url, &address, stream).await else { return };
    match ask(socket, url).await {
        Ok(asked) => {
            judge(report, url, &asked, leeway);
            client::test(report, dialer, url, &address).await;
        }
        Err(error) => report.fail(
            "relay-websocket",
            Some(url),
            Exit::Unavailable,
            format!("{error:#}"),
            "something accepts connections there, but does not speak HTTP: check the URL's port",
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
    let tried = connect::each(&addresses).await;
    let stream = match connect_to(&addresses).await {
        Ok(stream) => stream,
        Err(error) => {
            let remedy = "is it running, and does a firewall let this host out? if a proxy is needed, in [proxy] of CONFIG: \
                 url = \"http://proxy.example.com:3128\"";
            report.fail("relay-tcp", Some(url), Exit::Unavailable, error.to_string(), remedy);
            return None;
        }
    };
    let detail = format!("port {port}: {}", tried.iter().map(said).collect::<Vec<_>>().join(", "));
    match tried.iter().all(|(_, connected)| connected.is_ok()) {
        true => report.pass("relay-tcp", Some(url), detail),
        false => report.pass_but(
            "relay-tcp",
            Some(url),
            detail,
            "dials use an address that answers, a moment later: take the dead one out of the name, or let this host reach it",
        ),
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
            let remedy = "the proxy must allow CONNECT to the relay; where none is needed, in [proxy] of CONFIG: \
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

fn said((address, connected): &(SocketAddr, std::io::Result<Duration>)) -> String {
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
        report.skip("relay-tls", Some(url), "the URL is ws://: nothing is encrypted");
        return Some(Socket::Tcp(stream));
    }
    let socket = match dialer.secure(stream, address).await {
        Ok(socket) => socket,
        Err(error) => {
            let detail = error.to_string();
            let remedy = tls_remedy(&detail);
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
            Some(days) if days < CARE_DAYS => report.pass_but(
                "relay-tls",
                Some(url),
                detail,
                "the relay's certificate ends soon: see that it is renewed",
            ),
            _ => report.pass("relay-tls", Some(url), detail),
        }
    }
    Some(socket)
}

fn tls_remedy(detail: &str) -> &'static str {
    if detail.contains("UnknownIssuer") {
        "nobody trusted here has signed the relay's certificate: in [relay] of CONFIG: ca_file = \"/etc/stream-agent/ca.pem\" \
         for a CA of your own; for a public one: apt install ca-certificates, and let the relay send its whole chain"
    } else if detail.contains("expired") || detail.contains("Expired") || detail.contains("NotValidYet") {
        "renew the relay's certificate, or set this host's clock (NTP)"
    } else if detail.contains("not valid for name") || detail.contains("NotValidForName") {
        "the certificate is for another name: use that name in [relay] of CONFIG: allow, and in the grants"
    } else if detail.contains("InvalidContentType") || detail.contains("corrupt") {
        "what answers there does not speak TLS: check the port, or whether it is ws://"
    } else {
        "check what listens at that address"
    }
}

/// What came back without a grant.
struct Asked {
    status: StatusCode,
    /// The code in the JSON of a relay's refusal.
    code: Option<String>,
    /// The words beside it, as far as they can be printed.
    message: Option<String>,
    server: Option<String>,
    /// The relay's clock, and ours in the middle of the question.
    clocks: Option<(SystemTime, SystemTime)>,
    round_trip: Duration,
}

/// Asks for a host's websocket without a grant.
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
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = timeout(ANSWER, http1::handshake(TokioIo::new(socket))).await??;
    tokio::spawn(connection);
    let (begun, at) = (Instant::now(), SystemTime::now());
    let response = timeout(ANSWER, sender.send_request(request)).await??;
    let round_trip = begun.elapsed();
    let date = header(&response, DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
    let (status, server) = (response.status(), header(&response, SERVER));
    let body = timeout(ANSWER, Limited::new(response.into_body(), MAX_ANSWER).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let json = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
    let word = |key: &str| Some(json.get(key)?.as_str()?.escape_debug().to_string());
    let (code, message) = (word("code"), word("message"));
    let clocks = date.map(|date| (date, at + round_trip / 2));
    Ok(Asked { status, code, message, server, clocks, round_trip })
}

fn header(response: &Response<Incoming>, name: hyper::header::HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn judge(report: &mut Report, url: &str, asked: &Asked, leeway: Duration) {
    let by = asked.server.as_ref().map(|server| format!(" by {server}")).unwrap_or_default();
    match (asked.status, &asked.code) {
        (StatusCode::UNAUTHORIZED, Some(_)) => report.pass(
            "relay-websocket",
            Some(url),
            format!(
                "a relay is there: it asks for a grant (401), round trip {:.1} ms",
                asked.round_trip.as_secs_f64() * 1e3
            ),
        ),
        (StatusCode::UPGRADE_REQUIRED, Some(_)) => report.fail(
            "relay-websocket",
            Some(url),
            Exit::Unavailable,
            format!("{}{by}: {}", asked.status, asked.message.as_deref().unwrap_or("not a websocket")),
            "let the proxy in front of the relay speak HTTP/1.1 to it and pass on Upgrade and Connection (nginx: \
             proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade)",
        ),
        (status, _) if status.is_server_error() => report.fail(
            "relay-websocket",
            Some(url),
            Exit::Unavailable,
            format!("{status}{by}"),
            "the relay is restarting, or a proxy in front of it cannot reach it",
        ),
        (status, _) => report.fail(
            "relay-websocket",
            Some(url),
            Exit::Unavailable,
            format!("{status}{by}, where a relay would ask for a grant (401)"),
            "this is no stream-relay: check host, port and path of the URL, and that a proxy in front passes /v1/ on",
        ),
    }
    let Some((theirs, ours)) = asked.clocks else {
        return report.skip("relay-clock", Some(url), "the answer has no Date header");
    };
    // A Date header counts whole seconds: on average it is half of one late.
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
