//! `stream-relay open`: a URL, or a bridge from local tools to a target.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, anyhow};
use clap::Args as ClapArgs;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::daemon::secret::Secret;
use crate::daemon::tls;
use crate::link::bridge::{AtEof, Heard, Local as LocalSide, bridge};
use crate::link::dial::{Address, Dialer, offer};
use crate::link::leg::{Leg, Limits};
use crate::link::reader::Text;
use crate::link::socket::Socket;
use crate::protocol::control::{FromClient, FromHost, SUBPROTOCOL, to_text};
use crate::protocol::end::{Closing, End, Outcome};

use super::api::{Api, Wish};
use super::local::Local;
use super::terminal;

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
    #[arg(long, value_parser = ["ro", "rw"])]
    mode: Option<String>,
    /// File with a client URL of another platform, instead of HOST and TARGET; - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "mode"])]
    url_file: Option<PathBuf>,
    /// Accept local connections here, and give each a stream of its own. Port 0: one is chosen and printed.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "stdio")]
    listen: Option<String>,
    /// Bridge standard input and output. On a terminal, and with a terminal as target: a remote console.
    #[arg(long)]
    stdio: bool,
}

/// Opens it. The number is the exit status of the target's process, where it has one.
///
/// # Errors
/// What failed, with the exit code that says of which kind it is.
pub async fn run(args: Args, as_json: bool) -> Result<i32, ExitError> {
    let opener = Arc::new(Opener::new(&args)?);
    if args.stdio {
        return opener.stdio().await;
    }
    if let Some(address) = &args.listen {
        return opener.listen(address, as_json).await.map(|()| 0);
    }
    opener.print(as_json).await.map(|()| 0)
}

/// Where streams come from.
enum Source {
    Platform { api: Box<Api>, host: String, target: String, mode: Option<String> },
    Url(String),
}

struct Opener {
    source: Source,
    dialer: Dialer,
}

impl Opener {
    fn new(args: &Args) -> Result<Opener, ExitError> {
        let tls = tls::client_config(args.ca_file.as_deref()).or_exit(Exit::Config)?;
        let dialer = Dialer { tls, proxy: None, limits: Limits::default() };
        if let Some(file) = &args.url_file {
            return Ok(Opener { source: Source::Url(read_url(file)?), dialer });
        }
        let (Some(host), Some(target)) = (args.host.clone(), args.target.clone()) else {
            return Err(anyhow!("HOST and TARGET are needed")).or_exit(Exit::Usage);
        };
        let platform = args.platform.as_deref();
        let platform = platform
            .ok_or_else(|| anyhow!("--platform or STREAM_PLATFORM is needed"))
            .or_exit(Exit::Usage)?;
        let key = args.api_key_file.as_deref();
        let key = key
            .ok_or_else(|| anyhow!("--api-key-file or STREAM_API_KEY_FILE is needed"))
            .or_exit(Exit::Usage)?;
        let api = Box::new(Api::new(platform, Secret::read(key).or_exit(Exit::Config)?, dialer.clone())?);
        Ok(Opener { source: Source::Platform { api, host, target, mode: args.mode.clone() }, dialer })
    }

    /// Prints the URL for another program.
    async fn print(&self, as_json: bool) -> Result<(), ExitError> {
        let Source::Platform { api, host, target, mode } = &self.source else {
            return Err(anyhow!("--url-file needs --stdio or --listen")).or_exit(Exit::Usage);
        };
        let session = api.open(&Wish { host, target, mode: mode.as_deref(), max_streams: None }).await?;
        match as_json {
            true => println!(
                "{}",
                json!({ "session": session.session, "url": session.url, "expires": session.expires })
            ),
            false => println!("{}", session.url),
        }
        Ok(())
    }

    /// Bridges standard input and output.
    async fn stdio(&self) -> Result<i32, ExitError> {
        let leg = self.dial().await?;
        let raw = terminal::Raw::enter();
        let input = Local::input().context("standard input").or_exit(Exit::Software)?;
        let output = Local::output().context("standard output").or_exit(Exit::Software)?;
        // Ctrl-C reaches the target while the terminal is raw; otherwise it ends us, in good order.
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        let stop = async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            End::PeerLeft.into()
        };
        let sizes = if raw.is_some() { sizes() } else { None };
        let (outcome, status) = carry(leg, input, output, sizes, stop).await;
        drop(raw);
        finished(&outcome)?;
        Ok(status.unwrap_or(0))
    }

    /// Accepts local connections until a signal.
    async fn listen(self: Arc<Self>, address: &str, as_json: bool) -> Result<(), ExitError> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen at {address}"));
        let listener = listener.or_exit(Exit::Unavailable)?;
        let bound = listener.local_addr().context("listen")?;
        if !bound.ip().is_loopback() {
            eprintln!("stream-relay: {bound} is not loopback: whoever reaches it reaches the target");
        }
        match as_json {
            true => println!("{}", json!({ "listening": bound })),
            false => println!("listening at {bound}"),
        }
        let is_once = matches!(self.source, Source::Url(_));
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = interrupted.recv() => return Ok(()),
                _ = terminated.recv() => return Ok(()),
            };
            let (stream, _) = accepted.context("accept").or_exit(Exit::Unavailable)?;
            if is_once {
                // The URL is good for one session.
                return self.serve(stream).await;
            }
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.serve(stream).await {
                    eprintln!("stream-relay: {error}");
                }
            });
        }
    }

    async fn serve(&self, stream: TcpStream) -> Result<(), ExitError> {
        stream.set_nodelay(true).context("local connection")?;
        let leg = self.dial().await?;
        let (input, output) = stream.into_split();
        let (outcome, _) = carry(leg, input, output, None, std::future::pending()).await;
        finished(&outcome)
    }

    async fn dial(&self) -> Result<Leg<Socket>, ExitError> {
        let url = match &self.source {
            Source::Url(url) => url.clone(),
            Source::Platform { api, host, target, mode } => {
                // One stream is used, so no spare needs to be parked.
                let wish = Wish { host, target, mode: mode.as_deref(), max_streams: Some(1) };
                api.open(&wish).await?.url
            }
        };
        let address = Address::of(&url).or_exit(Exit::DataErr)?;
        let dialled = self.dialer.dial(&address, &[offer(SUBPROTOCOL)], Text::Messages).await;
        Ok(dialled.or_exit(Exit::Unavailable)?.leg)
    }
}

fn read_url(file: &std::path::Path) -> Result<String, ExitError> {
    let mut text = String::new();
    if file == std::path::Path::new("-") {
        // Byte by byte and without a buffer: what follows the line is the stream's input.
        let mut byte = [0];
        while nix::unistd::read(std::io::stdin(), &mut byte).is_ok_and(|n| n == 1) && byte != [b'\n'] {
            text.push(byte[0].into());
        }
    } else {
        text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))
            .or_exit(Exit::DataErr)?;
    }
    Ok(text.trim().to_owned())
}

/// The terminal's size now and whenever it changes, as control messages.
fn sizes() -> Option<mpsc::Receiver<String>> {
    let mut changed = signal(SignalKind::window_change()).ok()?;
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            if let Some((cols, rows)) = terminal::size()
                && tell.send(to_text(&FromClient::Resize { cols, rows })).await.is_err()
            {
                return;
            }
            if changed.recv().await.is_none() {
                return;
            }
        }
    });
    Some(told)
}

async fn carry<R, W>(
    leg: Leg<Socket>,
    input: R,
    output: W,
    notes: Option<mpsc::Receiver<String>>,
    stop: impl Future<Output = Closing>,
) -> (Outcome, Option<i32>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    const UNKNOWN: i32 = -1;
    let status = AtomicI32::new(UNKNOWN);
    let hear = |text: &str| match serde_json::from_str(text) {
        Ok(FromHost::Eof) => Heard::Eof,
        Ok(FromHost::Exit { code }) => {
            status.store(code, Ordering::Relaxed);
            Heard::Nothing
        }
        Ok(FromHost::Unknown) | Err(_) => Heard::Nothing,
    };
    let local = LocalSide { output: input, input: Some(output), at_eof: AtEof::LeaveToPeer, notes };
    let (outcome, parting) = bridge(leg, local, hear, std::future::ready(None), stop).await;
    parting.take_leave().await;
    let status = status.into_inner();
    (outcome, (status != UNKNOWN).then_some(status))
}

/// A stream that ended as streams do is no error.
fn finished(outcome: &Outcome) -> Result<(), ExitError> {
    let closing = &outcome.closing;
    let exit = match closing.end {
        End::TargetEnded => return Ok(()),
        End::PeerLeft
            if outcome.bytes_out + outcome.bytes_in > 0 && closing.reason == End::PeerLeft.reason() =>
        {
            return Ok(());
        }
        End::NotAllowed | End::TokenUsed | End::TokenMalformed | End::SessionEnded => Exit::NoPerm,
        End::RelayRestarting | End::TooMany => Exit::TempFail,
        _ => Exit::Unavailable,
    };
    Err(anyhow!("{closing}")).or_exit(exit)
}
