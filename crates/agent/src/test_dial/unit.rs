//! Tests whether the installed unit has what the targets need: this test runs as root, and the service does not.

use std::path::Path;

use service::config::Loaded;
use service::exit::Exit;
use service::unit;
use targets::Target;
use targets::sandbox::DropIn;

use super::report::Report;

const STEP: &str = "service";

const UNIT: &str = "stream-agent.service";

const REMEDY: &str = "`stream-agent targets --systemd-dropin | install -D -m 644 /dev/stdin \
                      /etc/systemd/system/stream-agent.service.d/targets.conf && systemctl daemon-reload && \
                      systemctl restart stream-agent`";

/// Compares the unit and its drop-ins with what the targets need, and checks that its user can read the configuration
/// and the files that it names.
pub(super) fn test(report: &mut Report, file: &Path, loaded: &Loaded, targets: &[Target]) {
    let Some(text) = unit::text() else {
        return report.skip(STEP, Some(UNIT), "no unit is installed here: the packages bring it, and without it `stream-agent run` does the same");
    };
    if !unit::runs_with(file) {
        let own =
            "the service runs with /etc/stream-agent/config.toml: test that with `stream-agent test-dial`";
        return report.skip(STEP, Some(UNIT), own);
    }
    for closed in unit::unreadable(file, loaded) {
        report.fail(STEP, Some(UNIT), Exit::NoPerm, closed.to_string(), &closed.remedy());
    }
    let wants = DropIn::new(targets);
    match wants.missing_in(&text).as_slice() {
        [] => report.pass(STEP, Some(UNIT), "it has what the targets need".into()),
        missing => {
            report.fail(STEP, Some(UNIT), Exit::NoPerm, format!("it lacks {}", missing.join(", ")), REMEDY);
        }
    }
}
