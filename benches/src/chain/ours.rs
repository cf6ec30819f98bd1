//! stream-agent and stream-relay as they are shipped, with a real NATS, and a platform that signs as fast as it can.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, bail};
use protocol::command::{Answer, DEFAULT_PREFIX, Subjects};
use protocol::grant::{self, Claims};
use protocol::headers::STREAM_PATH;
use protocol::signing::SigningKey;
use protocol::token::Token;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::process::Process;
use super::{Chain, Entry, Ground, Started, Starter, Traits, free_port};
use crate::wire::Door;

pub const STARTERS: [(&str, Starter); 2] = [("stream", plain), ("stream-tls", tls)];

const HOST: &str = "bench";

/// Several targets of each profile, for sessions in thousands: one may have 4096 streams at most.
const BULK: [&str; 2] = ["bulk-0", "bulk-1"];
const INTERACTIVE: [&str; 2] = ["interactive-0", "interactive-1"];

/// Makes sessions, as a company's own platform does.
pub struct Platform {
    runtime: tokio::runtime::Runtime,
    nats: async_nats::Client,
    subject: String,
    key: SigningKey,
    relay: String,
    door: Door,
}

/// A session that is not asked for yet.
pub struct Prepared {
    payload: String,
    door: Door,
}

impl Platform {
    /// Signs a grant.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn prepare(&self, target: &str) -> anyhow::Result<Prepared> {
        let token = Token::generate().context("token")?;
        let now = grant::unix(SystemTime::now());
        let claims = Claims {
            iss: "bench".into(),
            aud: format!("host:{HOST}"),
            sid: ulid::Ulid::generate().to_string(),
            iat: now,
            exp: now + 55,
            target: target.into(),
            params: Default::default(),
            mode: None,
            relay: self.relay.clone(),
            token_sha256: token.hash(),
            max_streams: Some(1),
            max_seconds: None,
            origin: vec![],
            user: None,
            cnf: None,
            relay_run: None,
        };
        let payload = format!(r#"{{"v":1,"grant":"{}"}}"#, self.key.sign(&claims));
        let path = format!("{STREAM_PATH}{}", token.reveal());
        Ok(Prepared { payload, door: Door { path: Some(path), ..self.door.clone() } })
    }

    /// Sends the start commands, many at once, and waits for all answers: then the host is parked for each.
    ///
    /// # Errors
    /// When one is refused.
    pub fn start(&self, prepared: Vec<Prepared>) -> anyhow::Result<Vec<Door>> {
        self.runtime.block_on(async {
            let mut doors = Vec::with_capacity(prepared.len());
            let mut open = tokio::task::JoinSet::new();
            for Prepared { payload, door } in prepared {
                if open.len() == 32 {
                    answered(open.join_next().await)?;
                }
                let (nats, subject) = (self.nats.clone(), self.subject.clone());
                open.spawn(async move { nats.request(subject, payload.into()).await });
                doors.push(door);
            }
            while !open.is_empty() {
                answered(open.join_next().await)?;
            }
            Ok(doors)
        })
    }

    /// Doors of so many new sessions, spread over targets.
    ///
    /// # Errors
    /// When one is refused.
    pub fn sessions(&self, targets: &[&str], count: usize) -> anyhow::Result<Vec<Door>> {
        let prepared = (0..count).map(|i| self.prepare(targets[i % targets.len()]));
        self.start(prepared.collect::<anyhow::Result<_>>()?)
    }
}

type Reply = Result<async_nats::Message, async_nats::RequestError>;

fn answered(joined: Option<Result<Reply, tokio::task::JoinError>>) -> anyhow::Result<()> {
    let Some(joined) = joined else { return Ok(()) };
    let answer: Answer = serde_json::from_slice(&joined??.payload)?;
    match answer.refusal {
        None => Ok(()),
        Some(refusal) => bail!("the host refused: {refusal}"),
    }
}

fn plain(ground: &Ground<'_>) -> anyhow::Result<Started> {
    start(ground, false)
}

fn tls(ground: &Ground<'_>) -> anyhow::Result<Started> {
    start(ground, true)
}

fn start(ground: &Ground<'_>, tls: bool) -> anyhow::Result<Started> {
    let dir = ground.dir.join(if tls { "stream-tls" } else { "stream" });
    for folder in ["relay/issuers.d", "agent/issuers.d", "agent/targets.d"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    let (key, _) = SigningKey::generate("bench").map_err(anyhow::Error::msg)?;
    for part in ["relay", "agent"] {
        fs::write(dir.join(part).join("issuers.d/bench.pub"), keys::public_pem(&key))?;
    }
    let nats_address = free_port("127.0.0.1".parse()?)?;
    let mut nats = Command::new("nats-server");
    nats.args(["-a", &nats_address.ip().to_string(), "-p", &nats_address.port().to_string()]);
    let mut nats = Process::start(&mut nats, &dir, "nats")?;
    nats.listens(nats_address)?;

    let address = free_port(ground.listen)?;
    let url = format!("{}://{address}", if tls { "wss" } else { "ws" });
    let (mut relay, client_config) = start_relay(ground, &dir, address, &url, tls)?;
    relay.listens(address)?;
    let mut agent = start_agent(ground, &dir, nats_address, &url, tls)?;
    agent.says("NATS: connected")?;
    // A relay takes no grants of other platforms that could be of the second of its start.
    std::thread::sleep(std::time::Duration::from_secs(1));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let nats_client = runtime.block_on(async_nats::connect(nats_address.to_string()))?;
    let subject = Subjects::new(DEFAULT_PREFIX, &HOST.parse()?).start();
    let door = Door { address, tls: client_config, path: None };
    let platform = Arc::new(Platform { runtime, nats: nats_client, subject, key, relay: url, door });

    let roles = vec![agent.role("agent"), relay.role("relay")];
    let chain = |name, what, targets, holds_many| Chain {
        name,
        what,
        roles: roles.clone(),
        entry: Entry::Sessions { platform: platform.clone(), targets },
        traits: Traits { two_hops: true, holds_many },
    };
    let chains = if tls {
        vec![chain("stream-tls", "stream-agent and stream-relay, TLS 1.3 on both legs", &BULK, true)]
    } else {
        vec![
            chain("stream", "stream-agent and stream-relay, bulk profile", &BULK, false),
            chain("stream-int", "stream-agent and stream-relay, interactive profile", &INTERACTIVE, true),
        ]
    };
    Ok(Started { chains, processes: vec![agent, relay, nats] })
}

fn start_relay(
    ground: &Ground<'_>,
    dir: &Path,
    address: SocketAddr,
    url: &str,
    tls: bool,
) -> anyhow::Result<(Process, Option<Arc<rustls::ClientConfig>>)> {
    let at = dir.display();
    let admin = free_port("127.0.0.1".parse()?)?;
    let mut text = format!(
        "listen = ['{address}']\nadmin = '{admin}'\npublic_urls = ['{url}']\nauth = {{ issuers_dir = '{at}/relay/issuers.d', leeway = '0s' }}\n\
         [limits]\nconnections = 19000\nwaiting = 19000\nwaiting_per_address = 19000\nping_interval = '5m'\n"
    );
    let mut client_config = None;
    if tls {
        text.push_str(&format!("[tls]\ncert_file = '{at}/tls.crt'\nkey_file = '{at}/tls.key'\n"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=bench", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", &format!("subjectAltName=IP:{}", address.ip())])
            .args(["-keyout", &format!("{at}/tls.key"), "-out", &format!("{at}/tls.crt")])
            .output()
            .context("run openssl")?;
        if !made.status.success() {
            bail!("openssl: {}", String::from_utf8_lossy(&made.stderr));
        }
        fs::set_permissions(dir.join("tls.key"), fs::Permissions::from_mode(0o600))?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dir.join("tls.crt")).context("read tls.crt")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client_config = Some(Arc::new(config));
    }
    fs::write(dir.join("relay/config.toml"), text)?;
    let mut command = Command::new(ground.bin.join("stream-relay"));
    command.arg("--config").arg(dir.join("relay/config.toml")).arg("serve");
    // One record a stream is part of the product; that it goes to a file here and not to the journal is not.
    Ok((Process::start(&mut command, dir, "relay")?, client_config))
}

fn start_agent(
    ground: &Ground<'_>,
    dir: &Path,
    nats: SocketAddr,
    url: &str,
    tls: bool,
) -> anyhow::Result<Process> {
    let at = dir.display();
    let ca = if tls { format!("ca_file = '{at}/tls.crt'\n") } else { String::new() };
    let text = format!(
        "host_id = '{HOST}'\n[nats]\nservers = ['nats://{nats}']\n[relay]\nallow = ['{url}']\nallow_plaintext = true\n{ca}\
         [auth]\nissuers_dir = '{at}/agent/issuers.d'\n[limits]\nstreams = 19000\n"
    );
    fs::write(dir.join("agent/config.toml"), text)?;
    let mut targets = String::new();
    for (name, profile) in
        BULK.map(|name| (name, "bulk")).into_iter().chain(INTERACTIVE.map(|name| (name, "interactive")))
    {
        targets.push_str(&format!(
            "[target.{name}]\nkind = 'tcp'\naddress = '{}'\nprofile = '{profile}'\nmax_streams = 4096\n",
            ground.target
        ));
    }
    fs::write(dir.join("agent/targets.d/bench.toml"), targets)?;
    let mut command = Command::new(ground.bin.join("stream-agent"));
    command.arg("--config").arg(dir.join("agent/config.toml")).arg("run");
    Process::start(&mut command, dir, "agent")
}
