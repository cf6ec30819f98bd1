//! The arguments of `stream-agent`. The man page and the completions are generated from them (tests/manual.rs).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use service::arguments::{Global, without};

/// Opens the consoles, screens and logs that the host's owner allows, without an open port.
#[derive(Debug, Parser)]
#[command(name = "stream-agent", version = service::VERSION, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/stream-agent/config.toml")]
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
    /// Run the agent.
    #[command(arg = without("json"))]
    Run {
        /// Let the opener behind this socket open the targets. Without it, this process opens them.
        #[arg(long, value_name = "SOCKET")]
        opener: Option<PathBuf>,
    },
    /// Check the configuration and exit.
    #[command(arg = without("log_level"))]
    CheckConfig {
        /// Check only whether anything is configured. If not, print the first steps and exit with 1.
        #[arg(long)]
        configured: bool,
    },
    /// List the targets that may be opened.
    #[command(arg = without("log_level"))]
    Targets {
        /// Write a systemd unit for each target that needs more than the others: a group, a device, a user. Run it as root.
        /// For an unsplit agent, print a drop-in for stream-agent.service instead.
        #[arg(long)]
        systemd_dropin: bool,
        /// Write the units into this folder.
        #[arg(long, value_name = "DIR", requires = "systemd_dropin")]
        into: Option<PathBuf>,
    },
    /// Find, add, remove and show targets.
    #[command(arg = without("log_level"))]
    Target {
        #[command(subcommand)]
        command: TargetCommand,
    },
    /// Open the target of one session for the network half, whose connection the service manager passes.
    #[command(hide = true, arg = without("json"))]
    Open {
        /// The folder with the sockets of cells.
        #[arg(long, value_name = "DIR", default_value = "/run/stream-agent")]
        runtime: PathBuf,
        /// The folder of the sessions that have begun.
        #[arg(long, value_name = "DIR", default_value = "/var/lib/stream-opener/seen")]
        seen: PathBuf,
    },
    /// Open one target for the opener, whose connection the service manager passes.
    #[command(hide = true, arg = without("json"))]
    Cell,
    /// Test each step of opening a stream, and print how to fix what fails. Opens no stream and changes nothing.
    #[command(arg = without("log_level"))]
    TestDial {
        /// Test only this target.
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
    },
}

/// What to do with targets.
#[derive(Debug, Subcommand)]
pub(crate) enum TargetCommand {
    /// List what this host has that is not a target yet, each with the command that adds it. Opens nothing. Run it as root.
    Discover,
    /// Add a target: writes targets.d/NAME.toml and the target's unit, and reloads the service. Open streams go on.
    #[command(arg = without("json"))]
    Add(Add),
    /// Remove a target that `target add` made. Its open streams end, all others go on.
    #[command(arg = without("json"))]
    Remove {
        /// The target.
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Show the targets, and where each is defined.
    Show {
        /// Only this target.
        name: Option<String>,
    },
}

/// The target to add.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The name, which is all that leaves the host.
    pub name: String,
    /// The kind, such as journal, file, exec or libvirt: see stream-agent.toml(5).
    pub kind: String,
    /// A key of the kind and its value, such as path=/var/log/syslog or pty=true. The value is TOML, or else a text.
    #[arg(id = "key=value", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// A title for people.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    #[command(flatten)]
    pub how: How,
}

/// How far a change goes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct How {
    /// Print what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Change the file only: neither units nor the service.
    #[arg(long)]
    pub no_reload: bool,
}
