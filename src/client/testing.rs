//! A platform and a relay in one, as a client sees them: sessions over HTTP, and websockets that echo.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::link::bridge::{AtEof, Heard, Local, bridge};
use crate::link::frame::Role;
use crate::link::leg::{Leg, Limits};
use crate::link::reader::Text;
use crate::link::socket::Socket;
use crate::link::upgrade;
use crate::protocol::control::{FromClient, FromHost, SUBPROTOCOL, to_text};

/// The far end.
#[derive(Clone)]
pub struct World {
    pub address: SocketAddr,
    /// Every request: method and path, authorization, body.
    pub asked: Arc<Mutex<Vec<(String, String, Value)>>>,
    /// What the platform answers instead of a session.
    pub refusal: Arc<Mutex<Option<(u16, String)>>>,
    /// Whether the relay says nothing after its handshake.
    pub is_silent: Arc<AtomicBool>,
}

impl World {
    pub async fn start() -> World {
        World::at("127.0.0.1:0").await
    }

    pub async fn at(address: &str) -> World {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let world =
            World { address, asked: Arc::default(), refusal: Arc::default(), is_silent: Arc::default() };
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

    /// The URL of a stream.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/stream/token", self.address)
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        if let Ok(handshake) = upgrade::Request::of(&request) {
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
        let (key, host) = (header("authorization").unwrap(), header("host").unwrap());
        assert_eq!(host, self.address.to_string());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        self.asked.lock().unwrap().push((what.clone(), key, body));
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

/// As an agent with a program that repeats its input to the end, and then ends with status 7.
async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let (socket, early) = upgrade::socket(upgrade).await.unwrap();
    let leg = Leg::new(socket, &early, Role::Server, Text::Messages, Limits::default());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(theirs);
        tokio::io::copy(&mut read, &mut write).await
    });
    let (output, input) = tokio::io::split(ours);
    let local = Local { output, input: Some(input), at_eof: AtEof::End, notes: None };
    let hear = |text: &str| match serde_json::from_str(text) {
        Ok(FromClient::Eof) => Heard::Eof,
        _ => Heard::Nothing,
    };
    let last_words = std::future::ready(Ok(Some(to_text(&FromHost::Exit { code: 7 }))));
    let (_, parting) = bridge(leg, local, hear, last_words, std::future::pending()).await;
    parting.take_leave().await;
}
