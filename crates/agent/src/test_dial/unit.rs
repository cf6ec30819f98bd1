//! Tests whether the installed units have what the targets need: this test runs as root, and they do not.

use std::path::Path;

use service::config::Loaded;
use service::exit::Exit;
use service::unit;
use targets::Target;

use super::report::Report;
use crate::installed::Installed;

const STEP: &str = "service";

const UNIT: &str = "stream-agent.service";

/// Compares the units and their drop-ins with what the targets need, and checks that their users can read the
/// configuration and the files that it names.
pub(super) fn test(
    report: &mut Report,
    installed: Option<&Installed>,
    file: &Path,
    loaded: &Loaded,
    targets: &[Target],
) {
    let Some(installed) = installed else {
        let why = match unit::runs_with(file) {
            true => {
                "no unit is installed here: the packages bring it, and without it `stream-agent run` does the same"
            }
            false => {
                "the service runs with /etc/stream-agent/config.toml: test that with `stream-agent test-dial`"
            }
        };
        return report.skip(STEP, Some(UNIT), why);
    };
    for closed in installed.unreadable(file, loaded) {
        report.fail(STEP, Some(UNIT), Exit::NoPerm, closed.to_string(), &closed.remedy());
    }
    let lacks = installed.lacks(targets);
    for lack in &lacks {
        report.fail(STEP, Some(UNIT), Exit::NoPerm, lack.what.clone(), &lack.remedy);
    }
    if lacks.is_empty() {
        report.pass(STEP, Some(UNIT), "it has what the targets need".into());
    }
}
