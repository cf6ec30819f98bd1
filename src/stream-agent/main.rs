//! `stream-agent`: arguments -> settings -> run -> exit code.

mod arguments;
mod opening;
mod target_commands;
mod units;

use std::io::{stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use agent::config::{EXAMPLE, Settings, first_steps, load, load_network_half, load_opener};
use agent::installed::Installed;
use agent::run;
use agent::test_dial::{self, Step};
use anyhow::{Context, anyhow};
use nix::unistd::Uid;
use serde_json::json;
use service::columns::fit;
use service::config::Loaded;
use service::counted::Counted;
use service::exit::{Exit, ExitError, OrExit, end_with_broken_pipe};
use service::{logging, memory, unit};
use targets::Target;

use arguments::{Arguments, Command};

/// Indent of the second and later lines of a text on a terminal.
const INDENT: usize = 6;

fn main() -> ExitCode {
    memory::close_to_others();
    let arguments: Arguments = match service::arguments::read() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match start(&arguments) {
        Ok(code) => code,
        Err(error) => Exit::from_result("stream-agent", Err(error)),
    }
}

fn start(arguments: &Arguments) -> Result<ExitCode, ExitError> {
    if arguments.global.print_default_config {
        end_with_broken_pipe();
        print!("{EXAMPLE}");
        return Ok(ExitCode::SUCCESS);
    }
    let command =
        arguments.command.as_ref().context("a command is needed: see --help").or_exit(Exit::Usage)?;
    if matches!(command, Command::CheckConfig { .. } | Command::Targets { .. } | Command::Target { .. }) {
        end_with_broken_pipe();
    }
    let done = match command {
        Command::CheckConfig { configured: true } if arguments.global.json => {
            Err(anyhow!("--configured is answered for people, so --json means nothing")).or_exit(Exit::Usage)
        }
        Command::Targets { systemd_dropin: true, .. } if arguments.global.json => {
            Err(anyhow!("--systemd-dropin is read by systemd, so --json means nothing")).or_exit(Exit::Usage)
        }
        Command::CheckConfig { configured: true } => return Ok(is_configured(&arguments.config)),
        Command::Run { opener } => {
            logging::init(arguments.global.log_level.as_deref()).or_exit(Exit::Usage)?;
            memory::map_large_blocks();
            let loaded = match opener {
                Some(_) => load_network_half(&arguments.config),
                None => load(&arguments.config, Uid::effective().is_root()),
            };
            let (_, settings) = loaded.or_exit(Exit::Config)?;
            runtime()?.block_on(run::run(&arguments.config, settings, opener.clone()))
        }
        Command::Open { runtime, seen } => {
            logging::init(arguments.global.log_level.as_deref()).or_exit(Exit::Usage)?;
            opening::open(&arguments.config, runtime, seen)
        }
        Command::Cell => {
            logging::init(arguments.global.log_level.as_deref()).or_exit(Exit::Usage)?;
            opening::cell()
        }
        Command::CheckConfig { .. } => check_config(&arguments.config, arguments.global.json),
        Command::Targets { systemd_dropin: false, .. } => {
            let as_root = unit::runs_as_root(&arguments.config);
            let (_, settings) = load(&arguments.config, as_root).or_exit(Exit::Config)?;
            targets(&settings, arguments.global.json);
            Ok(())
        }
        Command::Targets { into, .. } => units::write(&arguments.config, into.as_deref()),
        Command::Target { command } => {
            target_commands::run(&arguments.config, command, arguments.global.json)
        }
        Command::TestDial { target } => test_dial(arguments, target.as_deref()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime, ExitError> {
    // Leaves the host's processors to its guests: two threads carry 2 GB/s.
    let threads = std::thread::available_parallelism().map_or(1, |all| all.get().min(2));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    Ok(runtime.worker_threads(threads).enable_all().build().context("start the runtime")?)
}

fn is_configured(file: &Path) -> ExitCode {
    let Some(what_to_do) = first_steps(file) else { return ExitCode::SUCCESS };
    println!("{}", fit(&what_to_do, INDENT, &stdout()));
    Exit::Failure.into()
}

/// Remarks on a configuration that is valid.
fn remarks(
    settings: &Settings,
    installed: Option<&Installed>,
    targets: &[Target],
) -> Result<Vec<String>, ExitError> {
    let mut remarks = Vec::from_iter(settings.nats.remark());
    // Only root sees which groups own the files of targets.
    let installed = installed.filter(|installed| installed.is_split() && Uid::effective().is_root());
    for lack in installed.map(|installed| installed.lacks(targets)).unwrap_or_default() {
        remarks.push(format!("{}: {}", lack.what, lack.remedy));
    }
    let runtime = runtime()?;
    // Only programs: other targets may start later, or would notice a probe.
    for target in targets.iter().filter(|target| target.kind_name() == "exec") {
        if let Err(error) = runtime.block_on(target.probe()) {
            remarks.push(format!("target {}: {}", target.name, error.message));
        }
    }
    Ok(remarks)
}

fn check_config(file: &Path, as_json: bool) -> Result<(), ExitError> {
    let checked = load(file, unit::runs_as_root(file)).or_exit(Exit::Config).and_then(
        |(loaded, settings): (Loaded, Settings)| {
            settings.check_files(&loaded).or_exit(Exit::Config)?;
            let installed = Installed::with(file);
            let mut targets = settings.targets.clone();
            if installed.as_ref().is_some_and(Installed::is_split) {
                // The halves read it in their own ways.
                load_network_half(file).or_exit(Exit::Config)?;
                targets = load_opener(file).or_exit(Exit::Config)?.targets;
            }
            let closed = installed.as_ref().map(|installed| installed.unreadable(file, &loaded));
            if let Some(closed) = closed.unwrap_or_default().first() {
                return Err(anyhow!("{closed}: {}", closed.remedy())).or_exit(Exit::NoPerm);
            }
            let remarks = remarks(&settings, installed.as_ref(), &targets)?;
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
            eprintln!("{}", fit(&format!("remark: {remark}"), INDENT, &stderr()));
        }
        for file in loaded.files() {
            println!("read {}", file.display());
        }
        let (host, targets) = (&settings.host, Counted(settings.targets.len(), "target"));
        let fine =
            format!("configuration is fine: host {host}, {targets}, relays {}", settings.relays.join(" "));
        println!("{}", fit(&fine, INDENT, &stdout()));
    }
    Ok(())
}

fn test_dial(arguments: &Arguments, target: Option<&str>) -> Result<(), ExitError> {
    let as_json = arguments.global.json;
    let on_step = move |step: &Step| {
        if !as_json {
            println!("{}", fit(&step.to_string(), INDENT, &stdout()));
        }
    };
    let report = runtime()?.block_on(test_dial::run(&arguments.config, target, on_step));
    if as_json {
        println!("{:#}", report.to_json());
    }
    match report.exit() {
        Exit::Ok => Ok(()),
        exit => Err(anyhow!("{} failed", Counted(report.failures(), "step"))).or_exit(exit),
    }
}

fn targets(settings: &Settings, as_json: bool) {
    let infos: Vec<_> = settings.targets.iter().map(Target::info).collect();
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
