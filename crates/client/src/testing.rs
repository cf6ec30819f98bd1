//! A platform and a relay in one, as clients see them: sessions over HTTP, and websockets that echo.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use net::socket::Socket;
use protocol::control::{FromClient, FromHost, SUBPROTOCOL, to_text};
use stream::bridge::{AtEof, ControlEffect, Local, bridge};
use websocket::connection::{Limits, WebSocket};
use websocket::frame::Role;
use websocket::reader::Text;
use websocket::upgrade;

use super::arguments::Args;
use super::opener::Opener;

/// The platform and relay that a test talks to.
#[derive(Clone)]
pub(crate) struct World {
    pub address: SocketAddr,
    /// Of each request: method and path, authorization, body.
    pub requests: Arc<Mutex<Vec<(String, String, Value)>>>,
    /// What the platform answers instead of a session.
    pub refusal: Arc<Mutex<Option<(u16, String)>>>,
    /// The type and the text of the relay's page, if it has one.
    pub page: Arc<Mutex<Option<(&'static str, &'static str)>>>,
    /// The requests for that page.
    pub visits: Arc<Mutex<Vec<String>>>,
    /// Whether the relay sends nothing after its handshake.
    pub is_silent: Arc<AtomicBool>,
}

impl World {
    pub(crate) async fn start() -> World {
        World::at("127.0.0.1:0").await
    }

    pub(crate) async fn at(address: &str) -> World {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = World {
            address,
            requests: Arc::default(),
            refusal: Arc::default(),
            page: Arc::default(),
            visits: Arc::default(),
            is_silent: Arc::default(),
        };
        let this = world.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                let service = service_fn(move |request| {
                    let this = this.clone();
                    async move { Ok::<_, Infallible>(this.answer(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let io = TokioIo::new(Socket::Tcp(stream));
                tokio::spawn(http.serve_connection(io, service).with_upgrades());
            }
        });
        world
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/stream/{}", self.address, "A".repeat(43))
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        if let Ok(handshake) = upgrade::Request::parse(&request) {
            assert_eq!(handshake.offered(), [SUBPROTOCOL]);
            let upgrade = hyper::upgrade::on(&mut request);
            match self.is_silent.load(Ordering::Relaxed) {
                true => drop(tokio::spawn(async {
                    let _held = upgrade.await;
                    std::future::pending::<()>().await
                })),
                false => drop(tokio::spawn(echo(upgrade))),
            }
            return handshake.accept(Some(SUBPROTOCOL));
        }
        let what = format!("{} {}", request.method(), request.uri().path());
        if what.ends_with("/view") {
            self.visits.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            return match *self.page.lock().unwrap() {
                None => reply(404, "{}".into()),
                Some((kind, text)) => {
                    let mut page = reply(200, text.into());
                    page.headers_mut().insert("content-type", kind.parse().unwrap());
                    page
                }
            };
        }
        let (key, host) = (header("authorization").unwrap(), header("host").unwrap());
        assert_eq!(host, self.address.to_string());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        self.requests.lock().unwrap().push((what.clone(), key, body));
        if let Some((status, text)) = self.refusal.lock().unwrap().clone() {
            return reply(status, text);
        }
        match what.as_str() {
            "POST /api/v1/sessions" => {
                let session = json!({ "session": "s", "url": self.url(), "expires": "later" });
                reply(201, session.to_string())
            }
            _ => {
                let log = json!({ "name": "log", "kind": "file", "modes": ["ro"] });
                let shell =
                    json!({ "name": "shell", "kind": "exec", "modes": ["rw", "ro"], "terminal": true });
                reply(200, json!({ "host": "h1", "targets": [log, shell] }).to_string())
            }
        }
    }
}

fn reply(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

/// Behaves as an agent whose program repeats its input, and ends with status 7.
async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let (socket, early) = upgrade::socket(upgrade).await.unwrap();
    let websocket = WebSocket::new(socket, &early, Role::Server, Text::Messages, Limits::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(theirs);
        tokio::io::copy(&mut read, &mut write).await
    });
    let (output, input) = tokio::io::split(ours);
    let local = Local { output, input: Some(input), at_eof: AtEof::End, control: None };
    let on_text = |text: &str| match serde_json::from_str(text) {
        Ok(FromClient::Eof) => ControlEffect::Eof,
        _ => ControlEffect::None,
    };
    let last_words = std::future::ready(Ok(Some(to_text(&FromHost::Exit { code: 7 }))));
    let (_, ended) = bridge(websocket, local, on_text, last_words, std::future::pending()).await;
    ended.close().await;
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

pub(crate) fn args(line: &[&str]) -> Result<Args, clap::Error> {
    Line::try_parse_from([&["open"], line].concat()).map(|line| line.args)
}

/// An opener for `open h1 shell` at this platform, with more arguments.
pub(crate) fn opener(world: &World, dir: &Path, line: &[&str]) -> Arc<Opener> {
    let key = dir.join("key");
    std::fs::write(&key, "secret\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let platform = format!("http://{}", world.address);
    let start = ["h1", "shell", "--platform", &platform, "--api-key-file", key.to_str().unwrap()];
    Arc::new(Opener::new(&args(&[&start, line].concat()).unwrap()).unwrap())
}
