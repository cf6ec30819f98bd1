//! The arguments of `stream-relay`. The man page and the completions are generated from them (tests/manual.rs).

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use client::{open, sign_in_link};
use platform::{inspect, keygen};
use service::arguments::{Global, without};

/// Links clients with hosts that have no open port.
#[derive(Debug, Parser)]
#[command(name = "stream-relay", version = service::VERSION, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Read this configuration file, and config.d/*.toml next to it.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/stream-relay/config.toml")]
    pub config: PathBuf,

    #[command(flatten)]
    pub global: Global,

    /// The command to run.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the relay.
    #[command(arg = without("json"))]
    Serve,
    /// Check the configuration and exit.
    #[command(arg = without("log_level"))]
    CheckConfig {
        /// Print a drop-in for stream-relay.service that grants what the configuration needs: network access to NATS.
        #[arg(long)]
        systemd_dropin: bool,
        /// Check only whether anything is configured. If not, print the first steps and exit with 1.
        #[arg(long, conflicts_with = "systemd_dropin")]
        configured: bool,
    },
    /// Create keys: the platform's, an API key, or a host's relay key.
    #[command(args = [without("config"), without("log_level")])]
    Keygen(keygen::Args),
    /// Show and verify a grant.
    #[command(subcommand, args = [without("config"), without("log_level")])]
    Grant(Grant),
    /// Open a target: print its URL, or connect local programs to it.
    #[command(args = [without("config"), without("log_level")])]
    Open(Box<open::Args>),
    /// Print a link that signs a user in to the relay's page, once and within 10 minutes.
    #[command(args = [without("config"), without("log_level")])]
    SignInLink(sign_in_link::Args),
}

/// What to do with a grant.
#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    /// Print the contents of a grant, and whether it is valid now.
    Inspect(inspect::Args),
}
