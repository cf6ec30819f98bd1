//! The page in real Chromium and Firefox through the whole chain: NATS, relay, host. The scripts are in web/tests/chain; they ask this
//! program, on their standard output, for what they cannot do to the chain themselves.
//!
//! STREAM_PAGE_SOAK=1 is the long form (`make page-soak`). STREAM_PAGE_PROGRAMS is the folder of other programs to run,
//! such as those of a release.

#![cfg(feature = "slow")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
#[path = "world/mod.rs"]
mod world;

#[path = "page/targets.rs"]
mod targets;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::targets::{ENDS, EVIL, JOURNAL, LOG, SCREENS, SHELL, VIEWER, WAY, WAY_LIMITS};
use crate::world::{Process, World, part, within};

/// Whether the agents of these tests are split.
const SPLIT: bool = false;

/// A browser, and a guest that is emulated, on a busy machine.
const SCRIPT: Duration = Duration::from_secs(360);

/// A small computer can run one browser at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// The chain, and what the scripts may ask for.
struct Chain {
    world: World,
    _guest: Option<Process>,
    full: Vec<Socket>,
}

impl Chain {
    async fn start(targets: &str) -> Chain {
        Chain::with(targets, "").await
    }

    /// `relay`: more of the relay's settings.
    async fn with(targets: &str, relay: &str) -> Chain {
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/dist");
        assert!(dist.join("manifest.json").exists(), "{} is not there: run `make web` first", dist.display());
        let mut world = World::new();
        let panel = format!("http://{}:8085", world.ip);
        world.relay_config = format!(
            "limits.drain_timeout = '1s'\nweb.dir = '{}'\nweb.embed_origins = ['{panel}']\n{}\n[auth]\nissuers_dir = 'DIR/relay/issuers.d'\nleeway = '0s'\n",
            dist.display(),
            relay.replace("ADDRESS", &world.ip)
        );
        world.agent_config = "[limits]\ndrain_timeout = '1s'\n".into();
        world.platform_config = "state_dir = 'DIR/state'\n".into();
        if let Some(programs) = std::env::var_os("STREAM_PAGE_PROGRAMS") {
            world.relay_program = Path::new(&programs).join("stream-relay");
            world.agent_program = Path::new(&programs).join("stream-agent");
        }
        std::fs::create_dir(world.path("state")).unwrap();
        world.targets = targets.replace("ADDRESS", &world.ip);
        for (file, text) in [("app.log", ""), ("evil.log", ""), ("evil.txt", "")] {
            std::fs::write(world.path(file), text).unwrap();
        }
        let guest = targets.contains("DIR/guest/").then(|| {
            std::fs::create_dir(world.path("guest")).unwrap();
            let mut command = Command::new(part("guest"));
            command.arg(world.path("guest"));
            Process::start(command, world.path("guest.log"))
        });
        world.start().await;
        if guest.is_some() {
            let said = || std::fs::read_to_string(world.path("guest/serial.log")).unwrap_or_default();
            within(SCRIPT, || said().contains("guest is up"), || format!("the guest is not up: {}", said()))
                .await;
        }
        Chain { world, _guest: guest, full: vec![] }
    }

    /// Runs a script of web/tests/chain to its end. It prints what it measured, and requests, one line each.
    async fn runs(&mut self, script: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let about = json!({
            "origin": self.world.platform_url(), "ip": self.world.ip, "dir": self.world.dir.path(), "pictures": pictures(),
            "key": std::fs::read_to_string(self.world.path("api.key")).unwrap().trim(),
            "soak": std::env::var_os("STREAM_PAGE_SOAK").is_some(),
        });
        let mut command = Command::new("node");
        command.arg(root.join("web/tests/chain").join(script)).env("STREAM_CHAIN", about.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut node = command.spawn().expect("node, which `make web` also needs");
        let mut answers = node.stdin.take().unwrap();
        let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
        let finished = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let Some(request) = line.strip_prefix(">> ") else {
                    println!("{script}: {line}");
                    continue;
                };
                let answer = self.does(&serde_json::from_str(request).unwrap()).await;
                answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            }
            node.wait().await.unwrap()
        };
        let status = timeout(SCRIPT, finished).await.unwrap_or_else(|_| panic!("{script} does not end"));
        let relay = self.world.relay.as_ref().map(Process::said).unwrap_or_default();
        assert!(status.success(), "{script} failed, see above\nrelay:\n{relay}");
    }

    async fn does(&mut self, request: &Value) -> Value {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        match text("do") {
            "api" => {
                let (status, body) =
                    self.world.api(text("method"), text("path"), request["body"].clone()).await;
                json!({ "status": status, "body": body })
            }
            "url" => json!(self.world.url(text("target")).await),
            "full-port" => {
                self.full = full_port(&self.world.ip, 8099);
                Value::Null
            }
            "metric" => json!(self.world.metric(text("name")).await),
            "freeze-agent" => {
                self.world.agent().signal(Signal::SIGSTOP);
                Value::Null
            }
            "thaw-agent" => {
                self.world.agent().signal(Signal::SIGCONT);
                Value::Null
            }
            "kill-relay" => {
                self.world.relay.take().unwrap().kill().await;
                Value::Null
            }
            "kill-agent" => {
                self.world.agent.take().unwrap().kill().await;
                Value::Null
            }
            "stop-agent" => stopped(self.world.agent.take()).await,
            "start-agent" => {
                self.world.start_agent().await;
                Value::Null
            }
            "stop-relay" => stopped(self.world.relay.take()).await,
            "start-relay" => {
                self.world.start_relay().await;
                Value::Null
            }
            "targets" => {
                // The owner changes the list, and the agent reads it again.
                self.world.targets = text("targets").into();
                self.world.write_agent_config();
                self.world.agent().signal(Signal::SIGHUP);
                Value::Null
            }
            other => panic!("a script asks for {other:?}"),
        }
    }
}

async fn stopped(process: Option<Process>) -> Value {
    let mut process = process.unwrap();
    process.signal(Signal::SIGTERM);
    process.ended().await;
    Value::Null
}

/// A port that listens and answers nobody any more: its queue of connections is full.
fn full_port(ip: &str, port: u16) -> Vec<Socket> {
    let address = SocketAddr::new(ip.parse().unwrap(), port).into();
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut all = vec![listener];
    for _ in 0..3 {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        // The answer is that it takes a while.
        let _ = client.connect(&address);
        all.push(client);
    }
    all
}

/// Where screenshots are kept.
fn pictures() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../page");
    std::fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

#[tokio::test]
async fn people_sign_in_and_use_a_shell() {
    let _turn = TURN.lock().await;
    Chain::start(&format!("{SHELL}{LOG}")).await.runs("shell.mjs").await;
}

#[tokio::test]
async fn a_log_of_ten_thousand_lines_a_second_loses_none() {
    let _turn = TURN.lock().await;
    Chain::start(LOG).await.runs("log.mjs").await;
}

#[tokio::test]
async fn screens_are_those_of_the_guest_and_every_page_is_for_everyone() {
    let _turn = TURN.lock().await;
    let mut chain = Chain::start(&format!("{SHELL}{LOG}{SCREENS}")).await;
    chain.runs("screens.mjs").await;
    chain.runs("looks.mjs").await;
}

#[tokio::test]
async fn firefox_shows_every_kind_of_target() {
    let _turn = TURN.lock().await;
    Chain::start(&format!("{SHELL}{LOG}{SCREENS}")).await.runs("firefox.mjs").await;
}

#[tokio::test]
async fn every_end_has_its_sentence() {
    let _turn = TURN.lock().await;
    Chain::start(&format!("{SHELL}{ENDS}")).await.runs("ends.mjs").await;
}

#[tokio::test]
async fn ends_that_a_bad_way_causes_have_their_sentences() {
    let _turn = TURN.lock().await;
    Chain::with(WAY, WAY_LIMITS).await.runs("way.mjs").await;
}

#[tokio::test]
async fn a_journal_is_shown_in_colours_searched_and_filtered_on_the_host() {
    let _turn = TURN.lock().await;
    Chain::start(JOURNAL).await.runs("journal.mjs").await;
}

#[tokio::test]
async fn the_file_for_a_desktop_viewer_is_downloaded_and_opens_its_session_once() {
    let _turn = TURN.lock().await;
    Chain::start(VIEWER).await.runs("viewer.mjs").await;
}

#[tokio::test]
async fn addresses_of_other_platforms_are_shown_and_panels_frame_them() {
    let _turn = TURN.lock().await;
    Chain::start(&format!("{SHELL}{ENDS}")).await.runs("view.mjs").await;
}

#[tokio::test]
async fn evil_names_are_text() {
    let _turn = TURN.lock().await;
    Chain::start(EVIL).await.runs("evil.mjs").await;
}
