//! Whether the installed service has what it needs: who tries all this here is root, and the service is not.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::unistd::{Uid, User};
use tokio::process::Command;

use crate::agent::target::Target;
use crate::agent::target::sandbox::DropIn;
use crate::daemon::config::Loaded;
use crate::daemon::exit::Exit;

use super::report::Report;

const STEP: &str = "service";

const UNIT: &str = "stream-agent.service";

/// The configuration that the unit runs with.
const ITS_FILE: &str = "/etc/stream-agent/config.toml";

const REMEDY: &str = "stream-agent targets --systemd-dropin | install -D -m 644 /dev/stdin \
                      /etc/systemd/system/stream-agent.service.d/targets.conf && systemctl daemon-reload && \
                      systemctl restart stream-agent";

/// Compares the unit, with its drop-ins, with what the targets need, and looks whether its user may read the
/// configuration and what it names.
pub async fn test(report: &mut Report, file: &Path, loaded: &Loaded, targets: &[Target]) {
    if file != Path::new(ITS_FILE) {
        return report.skip(STEP, Some(UNIT), "the service runs with another configuration");
    }
    let shown = Command::new("systemctl").args(["cat", UNIT]).stdin(Stdio::null()).output().await;
    let unit = match shown {
        Ok(shown) if shown.status.success() => String::from_utf8_lossy(&shown.stdout).into_owned(),
        _ => return report.skip(STEP, Some(UNIT), "systemd does not run here, or knows no such unit"),
    };
    for closed in unreadable(&unit, &files(file, loaded)) {
        let found = format!("its user cannot read {}", closed.display());
        let remedy = format!("chgrp stream-agent {0} && chmod g+r {0}", closed.display());
        report.fail(STEP, Some(UNIT), Exit::NoPerm, found, &remedy);
    }
    let wants = DropIn::of(targets);
    match wants.missing_in(&unit).as_slice() {
        [] => report.pass(STEP, Some(UNIT), "it has what the targets need".into()),
        missing => {
            report.fail(STEP, Some(UNIT), Exit::NoPerm, format!("it lacks {}", missing.join(", ")), REMEDY);
        }
    }
}

/// The files of the configuration, the public keys and whatever else it names, but for credentials, which systemd reads.
fn files(file: &Path, loaded: &Loaded) -> Vec<PathBuf> {
    let dir = loaded.texts("issuers_dir").pop().map_or(file.with_file_name("issuers.d"), PathBuf::from);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let keys = entries.filter(|path| path.extension().is_some_and(|end| end == "pub"));
    let named = loaded.texts("_file").into_iter().map(PathBuf::from).filter(|path| path.is_absolute());
    loaded.files().iter().cloned().chain(keys).chain(named).collect()
}

/// Those that root can read and the unit's user cannot.
fn unreadable<'a>(unit: &str, files: &'a [PathBuf]) -> Vec<&'a PathBuf> {
    let user = unit.lines().filter_map(|line| line.strip_prefix("User=")).next_back();
    let Some(user) = user.and_then(|name| User::from_name(name.trim()).ok().flatten()) else { return vec![] };
    if !Uid::effective().is_root() || user.uid.is_root() {
        return vec![];
    }
    let is_closed = |file: &&PathBuf| {
        file.metadata().is_ok_and(|meta| !may_read(&meta, user.uid.as_raw(), user.gid.as_raw()))
    };
    files.iter().filter(is_closed).collect()
}

/// By the mode alone: what a file of the configuration has.
fn may_read(meta: &Metadata, user: u32, group: u32) -> bool {
    let shift = match (meta.uid() == user, meta.gid() == group) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    meta.mode() >> shift & 0o4 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_read_by_its_owner_its_group_or_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        File::create(&path).unwrap();
        let may = |mode: u32, is_owner: bool, is_group: bool| {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let meta = path.metadata().unwrap();
            may_read(&meta, meta.uid() + u32::from(!is_owner), meta.gid() + u32::from(!is_group))
        };
        assert!(may(0o640, false, true) && may(0o600, true, true) && may(0o644, false, false));
        assert!(!may(0o640, false, false) && !may(0o600, false, true) && !may(0o044, true, true));
    }
}
