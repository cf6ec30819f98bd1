//! `test-dial`: tests each step of opening a stream, and reports for each what was found and what fixes it. Opens no
//! stream, and changes nothing.

use std::path::Path;

use service::exit::Exit;
use websocket::dial::Dialer;

use super::config::{self, Auth, Settings};
use super::installed::{Installed, OPENER};
use opener::{NO_SUCH_TARGET, Opener};
use targets::Target;

mod bus;
mod client;
mod front;
mod relay;
mod report;
mod unit;

pub use report::{Report, Step, Verdict};

/// The remedy if `relay.ca_file` cannot be used.
const RELAY_CA: &str = "check the file with the certificate of your own CA, in [relay] of CONFIG: ca_file = \"/etc/stream-agent/ca.pem\"";

/// Runs all steps, and calls `on_step` after each. With `only`, no other target is probed.
pub async fn run(file: &Path, only: Option<&str>, on_step: impl FnMut(&Step) + 'static) -> Report {
    let mut report = Report::new(file, on_step);
    let (loaded, settings) = match config::load(file, service::unit::runs_as_root(file)) {
        Ok((loaded, settings)) => {
            let files = match loaded.files().len() {
                1 => file.display().to_string(),
                many => format!("{} and {} more", file.display(), many - 1),
            };
            report.pass("config", None, format!("{files}; this is host {}", settings.host));
            (loaded, settings)
        }
        Err(error) => {
            // All errors in the sections that every agent needs at once, other errors one by one.
            let mut troubles = config::troubles(file);
            if !troubles.contains(&error) {
                troubles.push(error);
            }
            for error in troubles {
                let place = error.line.map(|line| format!(", line {line}")).unwrap_or_default();
                let correct = || format!("correct {}{place}, then try again", error.file.display());
                let remedy = error.remedy.clone().unwrap_or_else(correct);
                report.fail("config", None, Exit::Config, error.to_string(), &remedy);
            }
            return report;
        }
    };
    match &settings.auth {
        Auth::Signed { issuers, .. } => {
            report.pass("issuers", None, format!("grants are verified with: {}", issuers.kids().join(", ")));
        }
        Auth::Opaque(_) => report.skip(
            "issuers",
            None,
            "simple mode: commands are not signed, so there are no keys to check",
        ),
    }
    match settings.trust() {
        Ok(tls) => {
            let dialer = Dialer { tls, proxy: settings.proxy.clone(), limits: settings.websocket };
            for url in &settings.relays {
                relay::test(&mut report, &dialer, url, leeway(&settings)).await;
            }
        }
        Err(error) => {
            report.fail("relay-trust", None, Exit::Config, format!("{error:#}"), RELAY_CA);
        }
    }
    bus::test(&mut report, &settings).await;
    let installed = Installed::with(file);
    let opener = opener(&mut report, installed.as_ref());
    let allowed = match installed.as_ref().is_some_and(Installed::is_split) {
        false => settings.targets,
        true => match config::load_opener(file) {
            Ok(opener) => opener.targets,
            Err(error) => {
                let place = error.line.map(|line| format!(", line {line}")).unwrap_or_default();
                let remedy = format!("correct {}{place}, then try again", error.file.display());
                report.fail(
                    "opener",
                    Some(OPENER),
                    Exit::Config,
                    error.to_string(),
                    error.remedy.as_deref().unwrap_or(&remedy),
                );
                return report;
            }
        },
    };
    targets(&mut report, &allowed, only, opener.as_ref()).await;
    unit::test(&mut report, installed.as_ref(), file, &loaded, &allowed);
    report
}

/// The opener of the installed service, if it can be asked.
fn opener(report: &mut Report, installed: Option<&Installed>) -> Option<Opener> {
    if !installed?.is_split() {
        report.skip(
            "opener",
            None,
            "the service is unsplit: the process that faces the network opens the targets",
        );
        return None;
    }
    if Path::new(OPENER).exists() {
        report.pass("opener", Some(OPENER), "it is there, and is asked for the targets below".into());
        return Some(Opener::elsewhere(OPENER.into()));
    }
    match service::unit::is_active() {
        true => {
            let why = "its socket is not there, so no target can be opened".into();
            report.fail(
                "opener",
                Some(OPENER),
                Exit::Unavailable,
                why,
                "`systemctl restart stream-agent`, which starts stream-agent-open.socket",
            );
        }
        false => report.skip(
            "opener",
            Some(OPENER),
            "the service does not run, so this command opens the targets itself",
        ),
    }
    None
}

async fn targets(report: &mut Report, targets: &[Target], only: Option<&str>, opener: Option<&Opener>) {
    let mut chosen = targets.iter().filter(|target| only.is_none_or(|only| only == target.name)).peekable();
    if chosen.peek().is_none() {
        match only {
            Some(name) => report.fail(
                "target",
                Some(name),
                Exit::Config,
                "no such target on this host's allowlist".into(),
                "`stream-agent targets` lists them",
            ),
            None => report.skip("target", None, "the allowlist is empty: uncomment an example in targets.d"),
        }
    }
    for target in chosen {
        let probed = match opener {
            Some(opener) => opener.probe(&target.name).await,
            None => target.probe().await.map_err(|error| error.message),
        };
        match probed {
            Ok(found) => {
                report.pass("target", Some(&target.name), format!("{}: {found}", target.kind_name()))
            }
            // It is in the files, so the service has not read them since.
            Err(why) if opener.is_some() && why == NO_SUCH_TARGET => report.fail(
                "target",
                Some(&target.name),
                Exit::Unavailable,
                "the running service does not know it yet".into(),
                "`systemctl reload stream-agent`",
            ),
            Err(why) => report.fail(
                "target",
                Some(&target.name),
                Exit::Unavailable,
                why,
                "check that it runs and that this user may open it, or remove it from the configuration",
            ),
        }
    }
}

/// How far clocks may be apart before grants are refused.
fn leeway(settings: &Settings) -> std::time::Duration {
    match &settings.auth {
        Auth::Signed { leeway, .. } => *leeway,
        // Nothing in simple mode has a date, so only a clock that is far off is reported.
        Auth::Opaque(_) => std::time::Duration::from_secs(300),
    }
}
