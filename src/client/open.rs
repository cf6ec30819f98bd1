//! `stream-relay open`: a URL, or a bridge from local tools to a target.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::daemon::listen::ListenAddress;
use crate::daemon::printable::printable;
use crate::daemon::secret::Secret;
use crate::daemon::tls;
use crate::link::dial::{Address, Dialer};
use crate::link::leg::{Leg, Limits};
use crate::link::proxy::Proxy;
use crate::link::reader::Text;
use crate::link::socket::Socket;
use crate::protocol::command::TargetInfo;
use crate::protocol::mode::Mode;

use super::api::{Api, Wish};
use super::carry::{Side, carry, sizes};
use super::ending::Ending;
use super::escape::{self, Escape};
use super::key::SessionKey;
use super::local::{self, Local};
use super::modes::Shown;
use super::terminal;
use super::url::read_url;
use super::view::View;
use super::words::with_remedy;

/// What to open, and how.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Host id.
    #[arg(required_unless_present = "url_file", requires = "target")]
    host: Option<String>,
    /// Name of the target.
    target: Option<String>,
    /// The platform's address, such as https://relay.example.com.
    #[arg(long, env = "STREAM_PLATFORM", value_name = "URL")]
    platform: Option<String>,
    /// File with a key for the platform's API.
    #[arg(long, env = "STREAM_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<String>,
    /// Trust besides the system's.
    #[arg(long, env = "STREAM_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// "ro" or "rw"; the target's own default if not given.
    #[arg(long, value_parser = mode)]
    mode: Option<Mode>,
    /// Parameter of a templated target; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// Hard end of the session.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    max_seconds: Option<u64>,
    /// File with a client URL of another platform, instead of HOST and TARGET; - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "mode", "params", "max_seconds"])]
    url_file: Option<PathBuf>,
    /// Accept local connections here, and give each a stream of its own. Port 0: one is chosen and printed.
    /// unix:/PATH is a socket that only its user can connect to.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "stdio")]
    listen: Option<ListenAddress>,
    /// Bridge standard input and output. On a terminal, and with a terminal as target: a remote console.
    #[arg(long)]
    stdio: bool,
    /// With --stdio on a terminal: whether every key goes to the target, Ctrl-C too.
    #[arg(long, value_enum, default_value_t = Raw::Auto, requires = "stdio")]
    raw: Raw,
    /// With --stdio: the key that begins an escape at the beginning of a line: a character, ^ and a letter for a
    /// control character, or none. KEY. leaves, KEY? lists what there is. Default: ~ on a terminal, else none.
    #[arg(long, value_name = "KEY", requires = "stdio")]
    escape: Option<Escape>,
    #[command(flatten)]
    view: View,
}

/// Whether the user's terminal is made raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Raw {
    /// Unless the target is known to be no terminal, or read-only.
    Auto,
    /// Always: such as for a serial console behind a socket.
    Yes,
    /// Never.
    No,
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "ro" => Ok(Mode::Ro),
        "rw" => Ok(Mode::Rw),
        _ => Err("expected ro or rw".into()),
    }
}

fn param(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Opens it. The number is the exit status of the target's process, where it has one.
///
/// # Errors
/// What failed, with the exit code that says of which kind it is.
pub async fn run(args: Args, as_json: bool) -> Result<i32, ExitError> {
    let opener = Arc::new(Opener::new(&args)?);
    if args.stdio {
        return opener.stdio(&args).await;
    }
    if let Some(address) = &args.listen {
        return opener.listen(address, as_json).await.map(|()| 0);
    }
    opener.print(as_json).await.map(|()| 0)
}

/// Where streams come from.
pub(super) enum Source {
    Platform { api: Box<Api>, wish: Wish },
    Url(String),
}

fn is_plain(platform: &Option<String>) -> bool {
    platform.as_ref().is_some_and(|url| url.starts_with("http://"))
}

pub(super) struct Opener {
    pub(super) source: Source,
    dialer: Dialer,
    /// Of the session of a URL. What a platform is asked for has one stream each.
    pub(super) key: SessionKey,
}

impl Opener {
    fn new(args: &Args) -> Result<Opener, ExitError> {
        let tls = match tls::client_config(args.ca_file.as_deref()) {
            // With a platform that is not encrypted, its relays hardly are; if one is, nobody is trusted.
            Err(_) if args.ca_file.is_none() && args.url_file.is_none() && is_plain(&args.platform) => {
                tls::trusting_nobody()
            }
            tls => tls,
        };
        let tls = tls.or_exit(Exit::Config)?;
        let proxy = Proxy::of_environment().or_exit(Exit::Config)?;
        let dialer = Dialer { tls, proxy, limits: Limits::default() };
        if let Some(file) = &args.url_file {
            return Ok(Opener { source: Source::Url(read_url(file)?), dialer, key: SessionKey::default() });
        }
        let needed = |value: &Option<String>, what: &str| {
            value.clone().ok_or_else(|| anyhow!("{what} is needed")).or_exit(Exit::Usage)
        };
        let wish = Wish {
            host: needed(&args.host, "HOST")?,
            target: needed(&args.target, "TARGET")?,
            params: args.params.iter().cloned().collect(),
            mode: args.mode,
            max_streams: None,
            max_seconds: args.max_seconds,
        };
        let platform = needed(&args.platform, "--platform or STREAM_PLATFORM")?;
        let key = needed(&args.api_key_file, "--api-key-file or STREAM_API_KEY_FILE")?;
        let key = Secret::read(&key).or_exit(Exit::Config)?;
        let api = Box::new(Api::new(&platform, key, dialer.clone())?);
        Ok(Opener { source: Source::Platform { api, wish }, dialer, key: SessionKey::default() })
    }

    /// Prints the URL for another program.
    async fn print(&self, as_json: bool) -> Result<(), ExitError> {
        let Source::Platform { api, wish } = &self.source else {
            return Err(anyhow!("--url-file needs --stdio or --listen")).or_exit(Exit::Usage);
        };
        let session = api.open(wish).await?;
        match as_json {
            true => println!("{}", json!(session)),
            false => println!("{}", printable(&session.url)),
        }
        Ok(())
    }

    /// Bridges standard input and output.
    async fn stdio(&self, args: &Args) -> Result<i32, ExitError> {
        let is_terminal = std::io::stdin().is_terminal();
        let is_raw = is_terminal && self.wants_raw(args.raw).await;
        let escape = args.escape.unwrap_or(if is_terminal { Escape::default() } else { Escape::None });
        let leg = self.dial().await?;
        if is_terminal {
            escape.announce();
        }
        let raw = if is_raw { terminal::Raw::enter() } else { None };
        let input = Local::input().context("standard input").or_exit(Exit::Software)?;
        let output = Local::output().context("standard output").or_exit(Exit::Software)?;
        let (input, left) = escape::watch(input, escape);
        // Ctrl-C reaches the target while the terminal is raw; otherwise it ends us, in good order.
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        let mut hung_up = signal(SignalKind::hangup()).context("signals")?;
        let stop = async {
            tokio::select! {
                _ = interrupted.recv() => Ending::User,
                _ = terminated.recv() => Ending::User,
                _ = hung_up.recv() => Ending::User,
                () = left => Ending::User,
                () = local::is_unread() => Ending::Unread,
            }
        };
        let notes = args.view.before(if raw.is_some() { sizes() } else { None });
        let (output, undo) = Shown::new(output);
        let side = Side {
            input: (input, "standard input"),
            output: (output, "standard output"),
            notes,
            ends_with_host: is_terminal,
            key: SessionKey::default(),
        };
        let finished = carry(leg, side, stop).await;
        if !finished.is_whole() && std::io::stdout().is_terminal() {
            local::write_soon(undo.text().as_bytes()).await;
        }
        drop(raw);
        finished.result()
    }

    /// Looks whether the target is there, without opening it.
    pub(super) async fn look(&self) -> Result<(), ExitError> {
        let Source::Platform { api, wish } = &self.source else { return Ok(()) };
        let targets = api.targets(&wish.host).await?;
        if targets.iter().any(|target| target.name == wish.target) {
            return Ok(());
        }
        let names: Vec<_> = targets.iter().map(|target| printable(&target.name)).collect();
        let there_are = match names.is_empty() {
            true => "there are none that this key may open".to_owned(),
            false => format!("this key may open {}", names.join(", ")),
        };
        Err(anyhow!("no such target on {}: {}; {there_are}", wish.host, wish.target)).or_exit(Exit::NoPerm)
    }

    async fn wants_raw(&self, raw: Raw) -> bool {
        let Source::Platform { api, wish } = &self.source else { return raw != Raw::No };
        match raw {
            Raw::Yes => true,
            Raw::No => false,
            Raw::Auto => {
                // What cannot be known shows when the session is opened.
                let targets = api.targets(&wish.host).await.unwrap_or_default();
                let target = targets.iter().find(|target| target.name == wish.target);
                target.is_none_or(|target| may_be_terminal(target, wish.mode))
            }
        }
    }

    pub(super) async fn dial(&self) -> Result<Leg<Socket>, ExitError> {
        let url = match &self.source {
            Source::Url(url) => url.clone(),
            // One stream is used, so no spare needs to be parked.
            Source::Platform { api, wish } => {
                api.open(&Wish { max_streams: Some(1), ..wish.clone() }).await?.url
            }
        };
        let expected = "expected a URL such as wss://relay.example.com/v1/stream/TOKEN";
        let address = Address::of(&url).context(expected).or_exit(Exit::DataErr)?;
        let dialled = self.dialer.dial(&address, &[self.key.offer()], Text::Messages).await;
        Ok(dialled.map_err(with_remedy).or_exit(Exit::Unavailable)?.leg)
    }
}

/// A log, or a service that is no terminal, leaves the user's terminal its own echo and Ctrl-C.
fn may_be_terminal(target: &TargetInfo, mode: Option<Mode>) -> bool {
    let mode = mode.or(target.modes.first().copied());
    mode != Some(Mode::Ro) && target.terminal
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use clap::Parser;
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
    use tokio::net::TcpStream;
    use tokio_util::sync::CancellationToken;

    use super::super::door::Door;
    use super::super::testing::World;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from([&["open"], line].concat()).map(|line| line.args)
    }

    /// `open h1 shell` at this platform, with more arguments.
    fn opener(world: &World, dir: &Path, line: &[&str]) -> Arc<Opener> {
        let key = dir.join("key");
        std::fs::write(&key, "secret\n").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let platform = format!("http://{}", world.address);
        let start = ["h1", "shell", "--platform", &platform, "--api-key-file", key.to_str().unwrap()];
        Arc::new(Opener::new(&args(&[&start, line].concat()).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn the_wish_reaches_the_platform_as_it_was_said() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let line = ["--mode", "ro", "--param", "a=b=c", "--param", "d=", "--max-seconds", "60"];
        let opener = opener(&world, dir.path(), &line);
        let leg = opener.dial().await.unwrap();
        drop(leg);
        let asked = world.asked.lock().unwrap().pop().unwrap();
        assert_eq!((asked.0.as_str(), asked.1.as_str()), ("POST /api/v1/sessions", "Bearer secret"));
        assert_eq!(
            asked.2,
            json!({
                "host": "h1", "target": "shell", "mode": "ro", "params": { "a": "b=c", "d": "" },
                "max_streams": 1, "max_seconds": 60,
            })
        );
    }

    #[tokio::test]
    async fn a_platform_may_have_an_ipv6_address() {
        let (world, dir) = (World::at("[::1]:0").await, tempfile::tempdir().unwrap());
        opener(&world, dir.path(), &[]).dial().await.unwrap();
    }

    #[tokio::test]
    async fn bytes_half_close_and_the_exit_status_come_back() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let leg = opener(&world, dir.path(), &[]).dial().await.unwrap();
        let (near, mut far) = duplex(1024);
        let (input, output) = split(near);
        let (mut read, mut write) = (Vec::new(), b"x".repeat(300_000));
        let work = async {
            write.extend_from_slice(b"the end");
            let (mut reader, mut writer) = split(&mut far);
            let send = async {
                writer.write_all(&write).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            tokio::join!(send, reader.read_to_end(&mut read)).1.unwrap();
        };
        let (input, output) = ((input, "input"), (output, "output"));
        let side = Side { input, output, notes: None, ends_with_host: false, key: SessionKey::default() };
        let (finished, ()) = tokio::join!(carry(leg, side, std::future::pending()), work);
        assert_eq!(finished.result().unwrap(), 7);
        assert_eq!(read, write);
    }

    async fn door() -> (Door, std::net::SocketAddr) {
        let door = Door::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = door.address().unwrap().parse().unwrap();
        (door, address)
    }

    async fn echoes(local: std::net::SocketAddr, text: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(local).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn every_local_connection_has_a_session_of_its_own() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let (door, local) = door().await;
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(opener(&world, dir.path(), &[]).accept(door, stop.clone()));
        let (one, two) = tokio::join!(echoes(local, b"one"), echoes(local, b"two"));
        assert_eq!((one.as_slice(), two.as_slice()), (&b"one"[..], &b"two"[..]));
        assert_eq!(world.asked.lock().unwrap().len(), 2);

        // A refusal ends the connection, not the listener.
        *world.refusal.lock().unwrap() = Some((409, r#"{"code":"busy","message":"full"}"#.into()));
        assert_eq!(is_reset(TcpStream::connect(local).await.unwrap()).await, b"");
        *world.refusal.lock().unwrap() = None;
        let mut open = TcpStream::connect(local).await.unwrap();
        open.write_all(b"x").await.unwrap();
        assert_eq!(open.read_u8().await.unwrap(), b'x');
        // The end closes what is still open, and is then complete.
        stop.cancel();
        accepting.await.unwrap().unwrap();
        assert_eq!(is_reset(open).await, b"");
    }

    /// What comes before a connection is reset, so that its end does not look like a good one.
    async fn is_reset(mut stream: TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        all
    }

    #[tokio::test]
    async fn a_relay_that_falls_silent_is_a_loss() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        world.is_silent.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut opener = Arc::into_inner(opener(&world, dir.path(), &[])).unwrap();
        opener.dialer.limits.ping_interval = std::time::Duration::from_millis(20);
        let leg = opener.dial().await.unwrap();
        let (near, _far) = duplex(1024);
        let (input, output) = split(near);
        let (input, output) = ((input, "input"), (output, "output"));
        let side = Side { input, output, notes: None, ends_with_host: false, key: SessionKey::default() };
        let error = carry(leg, side, std::future::pending()).await.result().unwrap_err();
        let said = "connection to the relay was lost: silent: two pings went unanswered";
        assert_eq!((error.exit, error.to_string().as_str()), (Exit::Unavailable, said));
    }

    #[tokio::test]
    async fn a_url_is_good_for_one_connection() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("url");
        std::fs::write(&file, format!("{}\nmore\n", world.url())).unwrap();
        let line = ["--url-file", file.to_str().unwrap(), "--platform", "http://ignored.invalid"];
        let opener = Arc::new(Opener::new(&args(&line).unwrap()).unwrap());
        let (door, local) = door().await;
        let accepting = tokio::spawn(opener.clone().accept(door, CancellationToken::new()));
        assert_eq!(echoes(local, b"once").await, b"once");
        accepting.await.unwrap().unwrap();
        assert!(TcpStream::connect(local).await.is_err());
        assert!(world.asked.lock().unwrap().is_empty(), "the platform was not needed");
        assert_eq!(opener.print(false).await.unwrap_err().exit, Exit::Usage);
    }

    #[tokio::test]
    async fn a_refusal_has_the_platforms_words_and_an_exit_code() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let opener = opener(&world, dir.path(), &[]);
        let coded = |code: &str| json!({ "code": code, "message": "because" }).to_string();
        for (status, body, exit, words) in [
            (404, coded("host_offline"), Exit::Unavailable, "because (host_offline)"),
            (
                401,
                coded("unauthorized"),
                Exit::NoPerm,
                "the platform does not know the key of --api-key-file (unauthorized)",
            ),
            (400, coded("bad_request"), Exit::DataErr, "because (bad_request)"),
            (409, coded("target_not_allowed"), Exit::NoPerm, "because (target_not_allowed)"),
            (409, coded("busy"), Exit::TempFail, "because (busy)"),
            (409, coded("relay_unreachable"), Exit::Unavailable, "because (relay_unreachable)"),
            (
                502,
                "<html>".into(),
                Exit::Unavailable,
                "the platform answered 502: is --platform its address?",
            ),
            (201, "{}".into(), Exit::Unavailable, "the platform's answer: missing field `session`"),
        ] {
            *world.refusal.lock().unwrap() = Some((status, body));
            let error = opener.dial().await.err().unwrap();
            assert_eq!((error.exit, error.to_string().split(" at line").next().unwrap()), (exit, words));
        }
    }

    #[tokio::test]
    async fn only_what_may_be_a_terminal_gets_every_key() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let shell = opener(&world, dir.path(), &[]);
        assert!(shell.wants_raw(Raw::Auto).await && shell.wants_raw(Raw::Yes).await);
        assert!(!shell.wants_raw(Raw::No).await);
        let watched = opener(&world, dir.path(), &["--mode", "ro"]);
        assert!(!watched.wants_raw(Raw::Auto).await);
        let target = |terminal, mode| TargetInfo {
            name: "t".into(),
            kind: "of the future".into(),
            title: None,
            modes: vec![mode],
            params: vec![],
            terminal,
        };
        assert!(!may_be_terminal(&target(false, Mode::Rw), None));
        assert!(!may_be_terminal(&target(true, Mode::Ro), None));
        assert!(may_be_terminal(&target(true, Mode::Rw), None));
        // A platform that does not say leaves it at that.
        *world.refusal.lock().unwrap() = Some((403, String::new()));
        assert!(shell.wants_raw(Raw::Auto).await);
    }

    #[test]
    fn the_command_line_is_checked() {
        for bad in [
            &["h1"][..],
            &[],
            &["h1", "t", "--mode", "wo"],
            &["h1", "t", "--param", "a"],
            &["h1", "t", "--stdio", "--listen", "127.0.0.1:0"],
            &["h1", "t", "--raw", "yes"],
            &["h1", "t", "--escape", "~"],
            &["h1", "t", "--stdio", "--escape", "ab"],
            &["h1", "t", "--listen", "5901"],
            &["h1", "t", "--max-seconds", "0"],
            &["h1", "t", "--url-file", "f"],
        ] {
            assert!(args(bad).is_err(), "{bad:?}");
        }
        for (line, what) in [
            (&["h1", "t", "--platform", "ftp://x", "--api-key-file", "/etc/hostname"][..], Exit::Config),
            (&["--url-file", "/nowhere/url"], Exit::DataErr),
        ] {
            assert_eq!(Opener::new(&args(line).unwrap()).err().unwrap().exit, what);
        }
    }

    #[test]
    fn a_session_is_printed_as_it_came() {
        let session = super::super::api::Session {
            session: "s".into(),
            url: "wss://relay/v1/stream/t".into(),
            expires: "later".into(),
        };
        let expected: Value = json!({ "session": "s", "url": "wss://relay/v1/stream/t", "expires": "later" });
        assert_eq!(json!(session), expected);
    }
}
