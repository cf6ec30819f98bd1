//! Log files that programs have open for writing.

use std::collections::BTreeMap;
use std::fs::{self, File as OpenFile};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::support::candidate::{Candidate, Findings, Group};
use crate::support::processes::processes;

const LOGS: &str = "/var/log";

/// How much of a file shows whether it is text.
const BEGINNING: u64 = 512;

pub(super) fn discover() -> Findings {
    below(Path::new(LOGS)).into_iter().map(Ok).collect()
}

fn below(dir: &Path) -> Vec<Candidate> {
    let mut writers: BTreeMap<PathBuf, String> = BTreeMap::new();
    for process in processes() {
        for (link, path) in process.written_below(dir) {
            if is_same(&link, &path) && is_text(&path) {
                writers.entry(path).or_insert_with(|| process.name.clone());
            }
        }
    }
    writers.iter().filter_map(|(path, writer)| log(dir, path, writer)).collect()
}

/// Whether the path leads to what the process has open: a process in a container has paths of its own.
fn is_same(link: &Path, path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino(), meta.is_file()));
    matches!((identity(link), identity(path)), (Ok(open), Ok(named)) if open == named && open.2)
}

/// The journal and the records of logins are no text.
fn is_text(path: &Path) -> bool {
    let mut beginning = vec![];
    let read = OpenFile::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    read.is_ok() && !beginning.contains(&0)
}

fn log(dir: &Path, path: &Path, writer: &str) -> Option<Candidate> {
    let below = path.strip_prefix(dir).ok()?.to_str()?;
    let name = below.strip_suffix(".log").unwrap_or(below).replace('/', "-");
    let what = format!("log that {writer} writes");
    Some(Candidate::new(Group::Log, &name, what).of("path", path.to_str()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn text_that_is_open_for_writing_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir(dir.join("web")).unwrap();
        let open = |name: &str, bytes: &[u8]| {
            let mut file = OpenFile::create(dir.join(name)).unwrap();
            file.write_all(bytes).unwrap();
            file
        };
        let _open = [open("web/access.log", b"a line\n"), open("empty", b""), open("wtmp", &[7, 0, 0])];
        fs::write(dir.join("closed.log"), "a line\n").unwrap();
        let deleted = open("deleted.log", b"a line\n");
        fs::remove_file(dir.join("deleted.log")).unwrap();
        let found = below(&dir);
        drop(deleted);
        let found: Vec<_> = found.iter().map(|log| (log.name.as_str(), log.table["path"].as_str())).collect();
        let path = |name: &str| dir.join(name).display().to_string();
        let expected = [("empty", path("empty")), ("web-access", path("web/access.log"))];
        assert_eq!(found, expected.each_ref().map(|(name, path)| (*name, Some(path.as_str()))));
    }
}
