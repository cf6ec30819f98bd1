//! `stream-agent`: arguments -> settings -> run -> exit code.

mod arguments;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;
use nix::unistd::Uid;
use serde_json::json;
use stream::agent::config::{EXAMPLE, Settings, first_steps, load};
use stream::agent::run;
use stream::agent::target::sandbox::DropIn;
use stream::agent::test_dial::{self, Step};
use stream::daemon::config::Loaded;
use stream::daemon::exit::{Exit, ExitError, OrExit, end_with_broken_pipe};
use stream::daemon::{logging, memory, unit};

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    memory::close_to_others();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are errors to clap, but not to the one who asked.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    match start(&arguments) {
        Ok(code) => code,
        Err(error) => Exit::of("stream-agent", Err(error)),
    }
}

fn start(arguments: &Arguments) -> Result<ExitCode, ExitError> {
    if arguments.print_default_config {
        end_with_broken_pipe();
        print!("{EXAMPLE}");
        return Ok(ExitCode::SUCCESS);
    }
    let command =
        arguments.command.as_ref().context("a command is needed: see --help").or_exit(Exit::Usage)?;
    if !matches!(command, Command::Run | Command::TestDial { .. }) {
        end_with_broken_pipe();
    }
    let done = match command {
        Command::CheckConfig { configured: true } if arguments.json => {
            Err(anyhow!("--configured is answered for people, so --json means nothing")).or_exit(Exit::Usage)
        }
        Command::Targets { systemd_dropin: true } if arguments.json => {
            Err(anyhow!("--systemd-dropin is read by systemd, so --json means nothing")).or_exit(Exit::Usage)
        }
        Command::CheckConfig { configured: true } => return Ok(is_configured(&arguments.config)),
        Command::Run if arguments.json => {
            Err(anyhow!("run prints nothing, so --json means nothing")).or_exit(Exit::Usage)
        }
        Command::Run => {
            logging::init(arguments.log_level.as_deref()).or_exit(Exit::Usage)?;
            memory::map_large_blocks();
            let (_, settings) = load(&arguments.config, Uid::effective().is_root()).or_exit(Exit::Config)?;
            runtime()?.block_on(run::run(&arguments.config, settings))
        }
        Command::CheckConfig { .. } => check_config(&arguments.config, arguments.json),
        Command::Targets { systemd_dropin } => {
            let as_root = unit::runs_as_root(&arguments.config);
            let (_, settings) = load(&arguments.config, as_root).or_exit(Exit::Config)?;
            match systemd_dropin {
                true => {
                    let drop_in = DropIn::of(&settings.targets);
                    if drop_in.gives_root() {
                        // The service would run as root with it, and refuse these.
                        load(&arguments.config, true).or_exit(Exit::Config)?;
                    }
                    print!("{drop_in}");
                }
                false => targets(&settings, arguments.json),
            }
            Ok(())
        }
        Command::TestDial { target } => test_dial(arguments, target.as_deref()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime, ExitError> {
    // The host's processors are there for its guests: two carry 2 GB/s.
    let threads = std::thread::available_parallelism().map_or(1, |all| all.get().min(2));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    Ok(runtime.worker_threads(threads).enable_all().build().context("start the runtime")?)
}

fn is_configured(file: &Path) -> ExitCode {
    let Some(what_to_do) = first_steps(file) else { return ExitCode::SUCCESS };
    println!("{what_to_do}");
    Exit::Failure.into()
}

/// What the owner should know of a configuration that is accepted all the same.
fn remarks(settings: &Settings) -> Result<Vec<String>, ExitError> {
    let mut remarks = Vec::from_iter(settings.nats.remark());
    let runtime = runtime()?;
    // Only programs: all other targets may well come later, or notice that somebody looks.
    for target in settings.targets.iter().filter(|target| target.kind_name() == "exec") {
        if let Err(error) = runtime.block_on(target.probe()) {
            remarks.push(format!("target {}: {}", target.name, error.message));
        }
    }
    Ok(remarks)
}

fn check_config(file: &Path, as_json: bool) -> Result<(), ExitError> {
    let checked = load(file, unit::runs_as_root(file)).or_exit(Exit::Config).and_then(
        |(loaded, settings): (Loaded, Settings)| {
            let files = settings.nats.look_into_files();
            files.map_err(|error| loaded.error_at(&["nats"], format!("{error:#}"))).or_exit(Exit::Config)?;
            unit::check(file, &loaded)?;
            let remarks = remarks(&settings)?;
            Ok((loaded, settings, remarks))
        },
    );
    if as_json {
        let result = match &checked {
            Ok((loaded, _, remarks)) => json!({
                "ok": true, "files": loaded.files(), "origins": loaded.origins(), "remarks": remarks,
            }),
            Err(error) => json!({ "ok": false, "error": error.to_string() }),
        };
        println!("{result:#}");
    }
    let (loaded, settings, remarks) = checked?;
    if !as_json {
        for remark in remarks {
            eprintln!("remark: {remark}");
        }
        for file in loaded.files() {
            println!("read {}", file.display());
        }
        let (host, targets) = (&settings.host, settings.targets.len());
        println!(
            "configuration is fine: host {host}, {targets} target(s), relays {}",
            settings.relays.join(" ")
        );
    }
    Ok(())
}

fn test_dial(arguments: &Arguments, target: Option<&str>) -> Result<(), ExitError> {
    let as_json = arguments.json;
    let told = move |step: &Step| {
        if !as_json {
            println!("{step}");
        }
    };
    let report = runtime()?.block_on(test_dial::run(&arguments.config, target, told));
    if as_json {
        println!("{:#}", report.to_json());
    }
    match report.exit() {
        Exit::Ok => Ok(()),
        exit => Err(anyhow!("{} step(s) failed", report.failures())).or_exit(exit),
    }
}

fn targets(settings: &Settings, as_json: bool) {
    let infos: Vec<_> = settings.targets.iter().map(stream::agent::target::Target::info).collect();
    if as_json {
        println!("{:#}", json!({ "host": settings.host, "targets": infos }));
        return;
    }
    for (target, info) in settings.targets.iter().zip(infos) {
        let modes: Vec<String> = info.modes.iter().map(ToString::to_string).collect();
        let title = info.title.unwrap_or_default();
        println!(
            "{:<24} {:<5} {:<6} {:>3}  {title}",
            info.name,
            info.kind,
            modes.join(","),
            target.max_streams
        );
    }
}
