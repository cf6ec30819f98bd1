//! What can be written after `stream-relay`. The man page and the completions are made from it (tests/manual.rs).

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use stream::client::open;
use stream::platform::{inspect, keygen};

/// Where hosts that have no open port meet the clients who may reach them.
#[derive(Debug, Parser)]
#[command(name = "stream-relay", version, arg_required_else_help = true)]
pub struct Arguments {
    /// Configuration file; config.d/*.toml beside it is read too.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/stream-relay/config.toml")]
    pub config: PathBuf,

    /// Log level, or filters as in RUST_LOG.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Print results as JSON.
    #[arg(long, global = true)]
    pub json: bool,

    /// Print the shipped configuration and exit.
    #[arg(long)]
    pub print_default_config: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay.
    Serve,
    /// Check the configuration and exit.
    CheckConfig {
        /// Print the drop-in for stream-relay.service that the configuration needs: the bundled platform's way to NATS.
        #[arg(long)]
        systemd_dropin: bool,
        /// Only say what to do first, with exit code 1, when nothing at all is configured.
        #[arg(long, conflicts_with = "systemd_dropin")]
        configured: bool,
    },
    /// Make keys: the platform's, an API key, or a host's relay key.
    Keygen(keygen::Args),
    /// Look at a grant.
    #[command(subcommand)]
    Grant(Grant),
    /// Open a target: print its URL, or bridge local tools to it.
    Open(Box<open::Args>),
}

/// What to do with a grant.
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Print what a grant says, and whether it would be believed.
    Inspect(inspect::Args),
}
