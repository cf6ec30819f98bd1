//! Whether the installed service has what the targets need: who tries them here is root, and the service is not.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::agent::target::Target;
use crate::agent::target::sandbox::DropIn;
use crate::daemon::exit::Exit;

use super::report::Report;

const STEP: &str = "service";

const UNIT: &str = "stream-agent.service";

/// The configuration that the unit runs with.
const ITS_FILE: &str = "/etc/stream-agent/config.toml";

const REMEDY: &str = "stream-agent targets --systemd-dropin | install -D -m 644 /dev/stdin \
                      /etc/systemd/system/stream-agent.service.d/targets.conf && systemctl daemon-reload && \
                      systemctl restart stream-agent";

/// Compares the unit, with its drop-ins, with what the targets need.
pub async fn test(report: &mut Report, file: &Path, targets: &[Target]) {
    if file != Path::new(ITS_FILE) {
        return report.skip(STEP, Some(UNIT), "the service runs with another configuration");
    }
    let shown = Command::new("systemctl").args(["cat", UNIT]).stdin(Stdio::null()).output().await;
    let unit = match shown {
        Ok(shown) if shown.status.success() => String::from_utf8_lossy(&shown.stdout).into_owned(),
        _ => return report.skip(STEP, Some(UNIT), "systemd does not run here, or knows no such unit"),
    };
    let wants = DropIn::of(targets);
    match wants.missing_in(&unit).as_slice() {
        [] => report.pass(STEP, Some(UNIT), "it has what the targets need".into()),
        missing => {
            report.fail(STEP, Some(UNIT), Exit::NoPerm, format!("it lacks {}", missing.join(", ")), REMEDY);
        }
    }
}
