//! Whether the installed service has what it needs: who tries all this here is root, and the service is not.

use std::path::Path;

use crate::agent::target::Target;
use crate::agent::target::sandbox::DropIn;
use crate::daemon::config::Loaded;
use crate::daemon::exit::Exit;
use crate::daemon::unit;

use super::report::Report;

const STEP: &str = "service";

const UNIT: &str = "stream-agent.service";

const REMEDY: &str = "stream-agent targets --systemd-dropin | install -D -m 644 /dev/stdin \
                      /etc/systemd/system/stream-agent.service.d/targets.conf && systemctl daemon-reload && \
                      systemctl restart stream-agent";

/// Compares the unit, with its drop-ins, with what the targets need, and looks whether its user may read the
/// configuration and what it names.
pub fn test(report: &mut Report, file: &Path, loaded: &Loaded, targets: &[Target]) {
    let Some(text) = unit::text() else {
        return report.skip(STEP, Some(UNIT), "systemd does not run here, or no such unit is installed");
    };
    if !unit::runs_with(file) {
        return report.skip(STEP, Some(UNIT), "the service runs with another configuration");
    }
    for closed in unit::unreadable(file, loaded) {
        report.fail(STEP, Some(UNIT), Exit::NoPerm, closed.to_string(), &closed.remedy());
    }
    let wants = DropIn::of(targets);
    match wants.missing_in(&text).as_slice() {
        [] => report.pass(STEP, Some(UNIT), "it has what the targets need".into()),
        missing => {
            report.fail(STEP, Some(UNIT), Exit::NoPerm, format!("it lacks {}", missing.join(", ")), REMEDY);
        }
    }
}
