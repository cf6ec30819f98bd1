//! `stream-relay`: arguments -> settings -> run -> exit code.

mod arguments;
mod serve;
mod status;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use client::{open, sign_in_link};
use platform::{inspect, keygen};
use service::exit::{Exit, ExitError, OrExit, end_with_broken_pipe};

use arguments::{Arguments, Command, Grant};

fn main() -> ExitCode {
    service::memory::close_to_others();
    let arguments: Arguments = match service::arguments::read() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(arguments) {
        Ok(code) => code,
        Err(error) => Exit::from_result("stream-relay", Err(error)),
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, ExitError> {
    let done = ExitCode::SUCCESS;
    if arguments.global.print_default_config {
        end_with_broken_pipe();
        print!("{}", relay::config::EXAMPLE);
        return Ok(done);
    }
    let command = arguments.command.context("a command is needed: see --help").or_exit(Exit::Usage)?;
    if !matches!(command, Command::Serve | Command::Open(_)) {
        end_with_broken_pipe();
    }
    match command {
        Command::Serve => {
            serve::serve(&arguments.config, arguments.global.log_level.as_deref()).map(|()| done)
        }
        Command::CheckConfig { configured: true, .. } if arguments.global.json => {
            Err(anyhow!("--configured is answered for people, so --json means nothing")).or_exit(Exit::Usage)
        }
        Command::CheckConfig { systemd_dropin: true, .. } if arguments.global.json => {
            Err(anyhow!("--systemd-dropin is read by systemd, so --json means nothing")).or_exit(Exit::Usage)
        }
        Command::CheckConfig { configured: true, .. } => match serve::first_steps(&arguments.config) {
            None => Ok(done),
            Some(what_to_do) => {
                println!("{what_to_do}");
                Ok(Exit::Failure.into())
            }
        },
        Command::CheckConfig { systemd_dropin: true, .. } => serve::drop_in(&arguments.config).map(|()| done),
        Command::CheckConfig { .. } => {
            serve::check_config(&arguments.config, arguments.global.json).map(|()| done)
        }
        Command::Keygen(args) => keygen::run(&args, arguments.global.json).map(|()| done),
        Command::Grant(Grant::Inspect(args)) => {
            let is_valid = inspect::run(&args, arguments.global.json).or_exit(Exit::DataErr)?;
            Ok(if is_valid { done } else { Exit::DataErr.into() })
        }
        Command::Open(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let status =
                runtime.context("start the runtime")?.block_on(open::run(*args, arguments.global.json))?;
            // A status above 255 cannot come from a process.
            Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
        }
        Command::SignInLink(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.context("start the runtime")?;
            runtime.block_on(sign_in_link::run(args, arguments.global.json)).map(|()| done)
        }
    }
}
