//! `test-dial`: goes the way that a stream would go, step by step, and says for each step what was found
//! and what would mend it. Opens no stream, and changes nothing.

use std::path::Path;

use crate::daemon::exit::Exit;
use crate::daemon::tls;
use crate::link::dial::Dialer;

use super::config::{self, Auth, Settings};
use super::target::Target;

mod bus;
mod certificate;
mod relay;
mod report;
mod unit;

pub use report::{Report, Step, Verdict};

/// Goes all steps; `told` hears each as it is done. With `only`, just this target is probed.
pub async fn run(file: &Path, only: Option<&str>, told: impl FnMut(&Step) + 'static) -> Report {
    let mut report = Report::new(told);
    let settings = match config::load(file) {
        Ok((loaded, settings)) => {
            let files = match loaded.files().len() {
                1 => file.display().to_string(),
                many => format!("{} and {} more", file.display(), many - 1),
            };
            report.pass("config", None, format!("{files}; this is host {}", settings.host));
            settings
        }
        Err(error) => {
            report.fail("config", None, Exit::Config, error.to_string(), "mend the file, then try again");
            return report;
        }
    };
    match &settings.auth {
        Auth::Signed { issuers, .. } => {
            report.pass("issuers", None, format!("grants are verified with: {}", issuers.kids().join(", ")));
        }
        Auth::Opaque(_) => report.skip("issuers", None, "simple mode: commands are not signed"),
    }
    match tls::client_config(settings.relay_ca.as_deref()) {
        Ok(tls) => {
            let dialer = Dialer { tls, proxy: settings.proxy.clone(), limits: settings.leg };
            for url in &settings.relays {
                relay::test(&mut report, &dialer, url, leeway(&settings)).await;
            }
        }
        Err(error) => {
            report.fail("relay-trust", None, Exit::Config, format!("{error:#}"), "check relay.ca_file");
        }
    }
    bus::test(&mut report, &settings).await;
    targets(&mut report, &settings.targets, only).await;
    unit::test(&mut report, file, &settings.targets).await;
    report
}

async fn targets(report: &mut Report, targets: &[Target], only: Option<&str>) {
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
            None => report.skip("target", None, "the allowlist is empty: add a file to targets.d"),
        }
    }
    for target in chosen {
        match target.probe().await {
            Ok(found) => {
                report.pass("target", Some(&target.name), format!("{}: {found}", target.kind_name()))
            }
            Err(error) => report.fail(
                "target",
                Some(&target.name),
                Exit::Unavailable,
                error.message,
                "see that it runs and that this user may open it, or remove it from the configuration",
            ),
        }
    }
}

/// How far clocks may be apart before grants are refused.
fn leeway(settings: &Settings) -> std::time::Duration {
    match &settings.auth {
        Auth::Signed { leeway, .. } => *leeway,
        // Nothing in simple mode has a date: only a clock that is plainly wrong is worth a word.
        Auth::Opaque(_) => std::time::Duration::from_secs(300),
    }
}
