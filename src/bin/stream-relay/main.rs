//! `stream-relay`: arguments -> settings -> run -> exit code.

mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stream::daemon::exit::{Exit, ExitError};

/// Where hosts that have no open port meet the clients who may reach them.
#[derive(Debug, Parser)]
#[command(name = "stream-relay", version, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file; config.d/*.toml beside it is read too.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/stream-relay/config.toml")]
    config: PathBuf,

    /// Log level, or filters as in RUST_LOG.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,

    /// Print results as JSON.
    #[arg(long, global = true)]
    json: bool,

    /// Print the shipped configuration and exit.
    #[arg(long)]
    print_default_config: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay.
    Serve,
    /// Check the configuration and exit.
    CheckConfig,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are errors to clap, but not to the one who asked.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    Exit::of("stream-relay", run(arguments))
}

fn run(arguments: Arguments) -> Result<(), ExitError> {
    if arguments.print_default_config {
        print!("{}", stream::relay::config::EXAMPLE);
        return Ok(());
    }
    match arguments.command {
        None | Some(Command::Serve) => serve::serve(&arguments.config, arguments.log_level.as_deref()),
        Some(Command::CheckConfig) => serve::check_config(&arguments.config, arguments.json),
    }
}
