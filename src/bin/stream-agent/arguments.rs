//! What can be written after `stream-agent`. The man page and the completions are made from it (tests/manual.rs).

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Opens the consoles, screens and logs that this host's owner allows, without an open port.
#[derive(Debug, Parser)]
#[command(name = "stream-agent", version, arg_required_else_help = true)]
pub struct Arguments {
    /// Configuration file; config.d/*.toml and targets.d/*.toml beside it are read too.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/stream-agent/config.toml")]
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
    /// Run the agent.
    Run,
    /// Check the configuration and exit.
    CheckConfig {
        /// Only say what to do first, with exit code 1, when nothing at all is configured.
        #[arg(long)]
        configured: bool,
    },
    /// Show what may be opened.
    Targets {
        /// Print the drop-in for stream-agent.service that gives the targets what they need: groups, devices. As root.
        #[arg(long)]
        systemd_dropin: bool,
    },
    /// Go the way of a stream step by step, and say what would fail and what would mend it.
    TestDial {
        /// Probe only this target.
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
    },
}
