//! The file of a target that a command made. Once it is edited, it is a file of the owner, which no command touches.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// The first line.
const MADE_BY: &str =
    "# Made by `stream-agent target add`. `stream-agent target remove` removes it, unless it was edited.";

/// The mode of a new file in a folder that has this one.
const NO_PROGRAM: u32 = 0o666;

/// What the file of a target contains.
pub(super) fn text(name: &str, table: &Table) -> String {
    let heading = if name.contains('.') { Value::from(name).to_string() } else { name.to_owned() };
    let mut text = format!("{MADE_BY}\n[target.{heading}]\n");
    let first = ["kind", "title"];
    let mut rest: Vec<&str> = table.keys().map(String::as_str).filter(|key| !first.contains(key)).collect();
    rest.sort_unstable();
    for key in first.into_iter().chain(rest) {
        if let Some(value) = table.get(key) {
            let _ = writeln!(text, "{} = {value}", word(key));
        }
    }
    text
}

/// A key as TOML has it.
fn word(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { Value::from(key).to_string() }
}

/// Whether a command made this file of one target, and nobody edited it.
pub(super) fn is_made(written: &str) -> bool {
    let Ok(mut file) = written.parse::<Table>() else { return false };
    let Some(Value::Table(targets)) = file.remove("target") else { return false };
    let mut texts = targets.iter().filter_map(|(name, table)| Some(text(name, table.as_table()?)));
    texts.next().is_some_and(|text| text == written)
}

/// The file for a new target in `dir`: one that is not there yet. `None` if all are.
pub(super) fn free_file(dir: &Path, name: &str) -> Option<PathBuf> {
    // The package has files of its own there, such as logs.toml.
    let files = ["toml", "target.toml"].map(|end| dir.join(format!("{name}.{end}")));
    files.into_iter().find(|file| file.symlink_metadata().is_err())
}

/// Writes the file so that it is never there in part, for those who may read the folder.
pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    if !dir.exists() {
        make_like(dir, dir.parent().unwrap_or(Path::new("/")))?;
    }
    // Files whose names begin with a dot are not read.
    let new = dir.join(format!(".new-target.{}", std::process::id()));
    let written = write_new(&new, dir, text).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.and_then(|()| sync(dir))
}

fn write_new(new: &Path, dir: &Path, text: &str) -> io::Result<()> {
    let readers = fs::metadata(dir)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    fchown(&file, Some(readers.uid()), Some(readers.gid()))?;
    file.set_permissions(Permissions::from_mode(readers.mode() & NO_PROGRAM))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes a folder with the mode and group of another.
fn make_like(dir: &Path, other: &Path) -> io::Result<()> {
    let other = fs::metadata(other)?;
    DirBuilder::new().mode(0o700).create(dir)?;
    std::os::unix::fs::chown(dir, Some(other.uid()), Some(other.gid()))?;
    fs::set_permissions(dir, Permissions::from_mode(other.mode() & 0o777))
}

pub(super) fn remove(file: &Path) -> io::Result<()> {
    fs::remove_file(file)?;
    sync(file.parent().unwrap_or(Path::new("/")))
}

fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn the_file_is_toml_and_known_again() {
        let logs = table("units = ['a.service', 'b\"c']\nkind = 'journal'\ntitle = 'Log'\nsince = '1h'");
        let lines = "[target.web]\nkind = \"journal\"\ntitle = \"Log\"\nsince = \"1h\"\nunits = [\"a.service\", 'b\"c']\n";
        assert_eq!(text("web", &logs), format!("{MADE_BY}\n{lines}"));
        let nested =
            table("kind = 'exec'\nargv = ['/bin/ls', '{dir}']\nparams.dir = { values = ['a b', \"x\\ny\"] }");
        for (name, table) in [("web", &logs), ("web.1", &logs), ("ls", &nested)] {
            let text = text(name, table);
            let mut file: Table = text.parse().unwrap();
            let Value::Table(mut targets) = file.remove("target").unwrap() else { panic!("{text}") };
            assert_eq!(targets.remove(name), Some(Value::Table(table.clone())), "{text}");
            assert!(is_made(&text), "{text}");
        }
    }

    #[test]
    fn an_edit_makes_it_the_owners() {
        let made = text("web", &table("kind = 'file'\npath = '/a'"));
        for edited in [
            made.replace("kind", "\nkind"),
            made.replace(MADE_BY, "# Mine"),
            made.clone() + "# a note\n",
            made.clone() + "[target.b]\nkind = \"file\"\npath = \"/b\"\n",
            made.clone() + "[nats]\n",
            made.replace("path = \"/a\"", "path = '/a'"),
            String::new(),
            "not TOML".into(),
        ] {
            assert!(!is_made(&edited), "{edited}");
        }
    }

    #[test]
    fn a_file_has_the_readers_of_its_folder_and_replaces_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();
        let targets = dir.path().join("targets.d");
        let file = free_file(&targets, "logs").unwrap();
        write(&file, "one\n").unwrap();
        assert_eq!(targets.metadata().unwrap().mode() & 0o777, 0o750);
        assert_eq!(
            (file.file_name().unwrap().to_str(), file.metadata().unwrap().mode() & 0o777),
            (Some("logs.toml"), 0o640)
        );
        let second = free_file(&targets, "logs").unwrap();
        assert!(second.ends_with("logs.target.toml"));
        write(&second, "two\n").unwrap();
        assert_eq!((free_file(&targets, "logs"), fs::read_dir(&targets).unwrap().count()), (None, 2));
        remove(&second).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
    }
}
