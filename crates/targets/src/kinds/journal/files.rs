//! The journal that is read: the host's own, a namespace's, or files in a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::journalctl::follows_one_boot;
use crate::support::access::{Need, explain};
use crate::support::opened::{OpenError, Opening};

/// The persistent journals, and those of this boot (systemd-journald.service(8)).
const PLACES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

const MACHINE_ID: &str = "/etc/machine-id";

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Files {
    pub(super) directory: Option<PathBuf>,
    pub(super) namespace: Option<String>,
}

/// What journalctl(1) needs to follow all boots of a journal.
pub(super) struct AllBoots {
    pub(super) options: Vec<String>,
    /// A match that every entry must fulfil.
    pub(super) machine: Option<String>,
}

impl Files {
    /// Options for journalctl(1). A directory may hold journals of several hosts, as written by systemd-journal-remote.
    pub(super) fn options(&self) -> Vec<String> {
        let directory = self.directory.as_ref();
        let directory =
            directory.map(|path| [format!("--directory={}", path.display()), "--merge".to_owned()]);
        let namespace = self.namespace.as_ref().map(|name| format!("--namespace={name}"));
        directory.into_iter().flatten().chain(namespace).collect()
    }

    /// What `--follow` needs to show what other boots wrote. In versions 250 to 253, and from 257 on, `--boot=all` is
    /// enough. From 254 on, `--merge` is enough, and a match on the machine then leaves out the journals of containers.
    pub(super) async fn all_boots(&self, opening: &Opening) -> Result<AllBoots, OpenError> {
        let id = fs::read_to_string(MACHINE_ID).unwrap_or_default();
        let is_bound = follows_one_boot(opening).await?;
        Ok(match (&self.directory, id.trim()) {
            (Some(_), _) if is_bound => AllBoots { options: vec!["--boot=all".to_owned()], machine: None },
            (None, id) if is_bound && !id.is_empty() => AllBoots {
                options: vec!["--merge".to_owned(), "--boot=all".to_owned()],
                machine: Some(format!("_MACHINE_ID={id}")),
            },
            _ => AllBoots { options: vec![], machine: None },
        })
    }

    /// Checks that the journal can be read, because journalctl(1) silently shows only what it can read.
    pub(super) fn look(&self) -> Result<String, OpenError> {
        let places = match &self.directory {
            Some(directory) => vec![directory.clone()],
            None => PLACES.iter().map(PathBuf::from).collect(),
        };
        let mut refused = None;
        for place in &places {
            match self.readable(place) {
                Ok(Some(path)) => return Ok(format!("{} may be read", path.display())),
                Ok(None) => {}
                Err((path, error)) => refused = Some(explain(&path, Need::Read, &error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let shown: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            let shown = shown.join(" or ");
            OpenError::failed(match (&self.namespace, &self.directory) {
                (Some(name), _) => format!(
                    "there is no journal of namespace {name} in {shown}: does systemd-journald@{name} run?"
                ),
                (None, None) => format!("there is no journal in {shown}: does systemd-journald run?"),
                (None, Some(_)) => format!("there is no journal in {shown}: no file *.journal is there"),
            })
        }))
    }

    /// A journal file below `place` that can be read. A namespace's files are in MACHINE.NAMESPACE.
    fn readable(&self, place: &Path) -> Result<Option<PathBuf>, (PathBuf, io::Error)> {
        let Some(machines) = entries(place)? else { return Ok(None) };
        let namespace = self.namespace.as_deref();
        let is_meant = |path: &PathBuf| {
            let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
            path.is_dir() && extension.as_deref() == namespace
        };
        let above = Some(place.to_owned()).filter(|_| namespace.is_none());
        let mut refused = None;
        for directory in above.into_iter().chain(machines.into_iter().filter(is_meant)) {
            for path in entries(&directory)?.unwrap_or_default() {
                if !self.is_journal(&path) {
                    continue;
                }
                match fs::File::open(&path) {
                    Ok(_) => return Ok(Some(path)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => refused = Some((path, error)),
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// For the host's own journal only the system's files count: an agent that can read only a user's is refused.
    fn is_journal(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let is_one = name.ends_with(".journal") || name.ends_with(".journal~");
        let is_system = name.starts_with("system.") || name.starts_with("system@");
        is_one && (is_system || self.directory.is_some())
    }
}

/// The entries of a directory; `None` if it does not exist.
fn entries(directory: &Path) -> Result<Option<Vec<PathBuf>>, (PathBuf, io::Error)> {
    match fs::read_dir(directory) {
        Ok(found) => Ok(Some(found.filter_map(|entry| Some(entry.ok()?.path())).collect())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err((directory.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_journal_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let look = |namespace: Option<&str>| {
            let namespace = namespace.map(str::to_owned);
            Files { directory: Some(dir.path().to_owned()), namespace }.look()
        };
        let make = |name: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("system.journal"), "").unwrap();
        };
        make("1a2b.web");
        assert!(look(None).unwrap_err().message.contains("no file *.journal"));
        assert!(look(Some("web")).unwrap().contains("1a2b.web/system.journal"));
        make("1a2b");
        assert!(look(None).unwrap().contains("1a2b/system.journal"));
        let error = look(Some("db")).unwrap_err().message;
        assert!(error.ends_with("does systemd-journald@db run?"), "{error}");
    }

    #[test]
    fn journals_of_other_hosts_and_archived_ones_are_journals() {
        for name in ["remote-10.0.0.1.journal", "system@0005f0-0001-0005f1.journal", "user-7@0005f0.journal~"]
        {
            let dir = tempfile::tempdir().unwrap();
            let files = Files { directory: Some(dir.path().to_owned()), namespace: None };
            fs::write(dir.path().join("notes.txt"), "").unwrap();
            assert!(files.look().is_err());
            fs::write(dir.path().join(name), "").unwrap();
            assert!(files.look().unwrap().contains(name));
        }
    }
}
