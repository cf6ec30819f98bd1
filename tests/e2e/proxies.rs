//! The relay behind common reverse proxies with their usual timeouts.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpSocket;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::world::{Client, Process, World};

const TARGETS: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";

/// Longer than all that these proxies wait for a byte: 50 and 60 s.
const IDLE: Duration = Duration::from_secs(180);

/// The client's address; the proxies themselves use 127.0.0.1.
const CLIENT: &str = "127.0.99.9";

/// The address that a client claims falsely.
const CLAIM: &str = "203.0.113.9";

const PORT: u16 = 8090;

/// Default timeouts: a byte must come every 60 s.
const NGINX: &str = "
daemon off;
master_process off;
pid DIR/proxy.pid;
error_log stderr notice;
events {}
http {
    access_log DIR/access.log;
    client_body_temp_path DIR/proxy-body;
    proxy_temp_path DIR/proxy-temp;
    fastcgi_temp_path DIR/proxy-fastcgi;
    uwsgi_temp_path DIR/proxy-uwsgi;
    scgi_temp_path DIR/proxy-scgi;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    server {
        listen IP:8090;
        location / {
            proxy_pass http://IP:8080;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
    }
}
";

/// It requires timeouts: those of Debian's own file, and no `timeout tunnel`.
const HAPROXY: &str = "
global
    log stderr format raw local0
defaults
    log global
    mode http
    option httplog
    timeout connect 5000
    timeout client 50000
    timeout server 50000
frontend public
    bind IP:8090
    option forwardfor
    default_backend relay
backend relay
    server relay IP:8080
";

/// Default timeouts: a byte must come every 60 s.
const APACHE: &str = "
ServerRoot DIR
ServerName stream.test
Listen IP:8090
PidFile DIR/proxy.pid
DefaultRuntimeDir DIR
Mutex file:DIR default
User www-data
Group www-data
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ProxyPreserveHost On
ProxyPass / http://IP:8080/ upgrade=websocket
";

/// A world behind a proxy that the relay trusts or does not trust.
async fn behind(program: &str, words: &[&str], config: &str, is_trusted: bool) -> (World, Process) {
    let mut world = World::new();
    let dir = world.dir.path().display().to_string();
    let config = config.replace("DIR", &dir).replace("IP", &world.ip);
    std::fs::write(world.path("proxy.conf"), config).unwrap();
    let mut command = Command::new(program);
    command.args(words.iter().map(|word| word.replace("DIR", &dir)));
    let proxy = Process::start(command, world.path("proxy.log"));
    world.connects(PORT).await;
    world.public_port = PORT;
    world.targets = TARGETS.into();
    if is_trusted {
        world.relay_config = "trusted_proxies = ['127.0.0.1/32']\n".into();
    }
    world.start().await;
    (world, proxy)
}

async fn behind_nginx(is_trusted: bool) -> (World, Process) {
    behind("nginx", &["-p", "DIR", "-e", "stderr", "-c", "DIR/proxy.conf"], NGINX, is_trusted).await
}

/// A client that lies about its address.
async fn connect(world: &World) -> Client {
    let url = world.url("cat").await;
    assert!(url.starts_with(&format!("ws://{}:{PORT}/v1/stream/", world.ip)), "{url}");
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("x-forwarded-for", CLAIM.parse().unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{CLIENT}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(format!("{}:{PORT}", world.ip).parse().unwrap()).await.unwrap();
    let (socket, response) =
        tokio_tungstenite::client_async(request, MaybeTlsStream::Plain(stream)).await.unwrap();
    Client { socket, headers: response.headers().clone() }
}

/// The addresses in the relay's and the agent's records of streams.
fn peers(world: &World) -> Vec<String> {
    let records = [world.relay().said(), world.agent().said()];
    let lines = records.iter().flat_map(|text| text.lines());
    let started = lines.filter(|line| line.contains("event=\"started\""));
    let peer = |line: &str| line.split_once(" peer=")?.1.split(' ').next().map(|peer| peer.replace('"', ""));
    started.filter_map(peer).collect()
}

/// A stream through the proxy that is silent for a long time.
async fn stays_open(world: &World, name: &str) {
    let mut client = connect(world).await;
    client.send(b"before".to_vec()).await;
    assert_eq!(client.read(6).await, b"before");
    assert_eq!(peers(world), [CLIENT, CLIENT]);
    // The time itself is tested. The client must read, so that it answers pings.
    let (end, mut pings) = (Instant::now() + IDLE, 0);
    while let Ok(message) = timeout_at(end, client.socket.next()).await {
        let message = message.expect("the stream ended").unwrap();
        assert!(message.is_ping(), "{message:?}");
        pings += 1;
    }
    println!("{name}: {pings} pings in {} s", IDLE.as_secs());
    assert!(pings >= 8, "{pings}");
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    for piece in sent.chunks(50_000) {
        client.send(piece.to_vec()).await;
        assert!(client.read(piece.len()).await == piece);
    }
    client.close().await;
    world.agent().says("stream ended, target cat").await;
    world.metric_is("stream_relay_streams", 0.0).await;
}

#[tokio::test]
async fn an_idle_stream_lives_behind_nginx() {
    let (world, _proxy) = behind_nginx(true).await;
    stays_open(&world, "nginx").await;
}

#[tokio::test]
async fn an_idle_stream_lives_behind_haproxy() {
    let (world, _proxy) = behind("haproxy", &["-db", "-f", "DIR/proxy.conf"], HAPROXY, true).await;
    stays_open(&world, "HAProxy").await;
}

#[tokio::test]
async fn an_idle_stream_lives_behind_apache() {
    let (world, _proxy) = behind("apache2", &["-X", "-f", "DIR/proxy.conf"], APACHE, true).await;
    stays_open(&world, "Apache").await;
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_itself_the_peer() {
    let (world, _proxy) = behind_nginx(false).await;
    let mut client = connect(&world).await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    assert_eq!(peers(&world), ["127.0.0.1", "127.0.0.1"]);
    // Host and client both came through the proxy.
    let log = std::fs::read_to_string(world.path("access.log")).unwrap();
    assert!(log.contains("POST /api/v1/sessions"), "{log}");
    client.close().await;
    world.agent().says("stream ended, target cat").await;
}
