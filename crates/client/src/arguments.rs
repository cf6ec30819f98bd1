//! The arguments of `stream-relay open`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use protocol::mode::Mode;
use service::listen::ListenAddress;

use super::display::Display;
use super::escape::Escape;
use super::log_options::LogOptions;

/// What to open, and how.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Id of the host.
    #[arg(required_unless_present = "url_file", requires = "target")]
    pub(crate) host: Option<String>,
    /// Name of the target.
    pub(crate) target: Option<String>,
    /// Address of the platform, such as https://relay.example.com.
    #[arg(long, env = "STREAM_PLATFORM", value_name = "URL")]
    pub(crate) platform: Option<String>,
    /// File with the key for the platform's API.
    #[arg(long, env = "STREAM_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Option<String>,
    /// File with certificates to trust in addition to the system's.
    #[arg(long, env = "STREAM_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Access mode: "ro" or "rw". Default: the target's own.
    #[arg(long, value_parser = mode)]
    pub(crate) mode: Option<Mode>,
    /// Set a parameter of the target. May be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    pub(crate) params: Vec<(String, String)>,
    /// End the session after this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_seconds: Option<u64>,
    /// Read a client URL of another platform from this file, instead of HOST and TARGET. - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "mode", "params", "max_seconds"])]
    pub(crate) url_file: Option<PathBuf>,
    /// Accept local connections at this address, each with its own stream. Port 0 picks a free port and prints it.
    /// unix:/PATH creates a socket that only its user can connect to.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "stdio")]
    pub(crate) listen: Option<ListenAddress>,
    /// Connect standard input and output to the target. With a terminal at both ends, this is a remote console.
    #[arg(long)]
    pub(crate) stdio: bool,
    /// Print the websocket URL, for a program, and not that of the page that shows the target in a browser.
    #[arg(long, conflicts_with_all = ["stdio", "listen", "url_file", "vv", "viewer"])]
    pub(crate) ws: bool,
    /// Write a file for a SPICE viewer (remote-viewer FILE), which opens the session through the relay alone. The file is
    /// a secret, new, and good for one viewer within 60 s. - prints it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stdio", "listen", "viewer"])]
    pub(crate) vv: Option<PathBuf>,
    /// Show the screen in a viewer on this machine, and end with it: remote-viewer for SPICE, vncviewer for VNC, or
    /// PROGRAM. Needs no trust of the viewer in the relay's certificate.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = true, conflicts_with_all = ["stdio", "listen"])]
    pub(crate) viewer: Option<Option<PathBuf>>,
    /// With --viewer and --vv: what the target's screen speaks. Default: what the host says.
    #[arg(long = "as", value_enum, value_name = "PROTOCOL")]
    pub(crate) display: Option<Display>,
    /// With --stdio on a terminal: whether to send every key to the target, including Ctrl-C.
    #[arg(long, value_enum, default_value_t = RawChoice::Auto, requires = "stdio")]
    pub(crate) raw: RawChoice,
    /// With --stdio: the escape key, recognised at the start of a line. A character, ^ and a letter for a control
    /// character, or none. KEY. leaves, KEY? lists all escapes. Default: ~ on a terminal, otherwise none.
    #[arg(long, value_name = "KEY", requires = "stdio")]
    pub(crate) escape: Option<Escape>,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// Whether to make the user's terminal raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RawChoice {
    /// Yes, unless the target is known to be read-only or not a terminal.
    Auto,
    /// Always, for example for a serial console behind a socket.
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

fn seconds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("expected 1 or more; without it the session has no end of its own".into()),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err("expected a number of seconds, such as 3600".into()),
    }
}
