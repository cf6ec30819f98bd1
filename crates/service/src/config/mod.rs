//! A TOML file and its fragments, merged into one table that knows the file and line of each key. The settings types
//! of each program check the values.

mod error;
mod expected;
mod files;
mod origin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use error::{ConfigError, explain, nearest};
pub use files::is_missing;
pub use origin::Origin;

use super::name::program;
use error::Explained;
use files::{fragments, read_text};
use origin::Origins;

/// A file of the configuration that is about to be written or removed.
#[derive(Clone, Debug)]
pub struct Change {
    pub file: PathBuf,
    /// What it will contain; `None` if it is about to be removed.
    pub text: Option<String>,
}

/// The merged configuration as written. No value has been checked.
#[derive(Clone, Debug)]
pub struct Loaded {
    files: Vec<PathBuf>,
    table: Table,
    origins: Origins,
}

impl Loaded {
    /// Reads `main`, then every `*.toml` of each of `fragment_dirs` in lexical order.
    ///
    /// Tables are merged, later values win, and arrays are replaced whole. A missing directory counts as empty, and
    /// names that begin with a dot are skipped. A child of a path in `once` (`&["target"]` for `[target.NAME]`) must
    /// not be in two files: merging two that have the same name by accident would open what no file describes.
    ///
    /// # Errors
    /// If a file cannot be read or is not TOML, or if a child of `once` is in two files.
    pub fn read(main: &Path, fragment_dirs: &[PathBuf], once: &[&[&str]]) -> Result<Loaded, ConfigError> {
        Loaded::read_with(main, fragment_dirs, once, None)
    }

    /// The same, as it will be after a change of a file in one of `fragment_dirs`.
    ///
    /// # Errors
    /// As for [`Loaded::read`].
    pub fn read_with(
        main: &Path,
        fragment_dirs: &[PathBuf],
        once: &[&[&str]],
        change: Option<&Change>,
    ) -> Result<Loaded, ConfigError> {
        let mut loaded = Loaded { files: Vec::new(), table: Table::new(), origins: Origins::default() };
        if is_missing(main) {
            let program = program();
            let made = format!("`{program} --print-default-config > {}`", main.display());
            let message =
                format!("there is no such file: {made} makes one, and `man {program}.toml` explains it");
            let error = ConfigError::new(main, None, message);
            return Err(error.corrected_by(None, "make the file, or name another with --config"));
        }
        loaded.add(main, &read_text(main)?, once)?;
        for dir in fragment_dirs {
            let mut files = fragments(dir)?;
            let changed = change.filter(|change| change.file.parent() == Some(dir));
            files.retain(|file| changed.is_none_or(|change| change.file != *file));
            files.extend(changed.filter(|change| change.text.is_some()).map(|change| change.file.clone()));
            files.sort();
            for file in files {
                match changed.filter(|change| change.file == file).and_then(|change| change.text.as_deref()) {
                    Some(text) => loaded.add(&file, text, once)?,
                    None => loaded.add(&file, &read_text(&file)?, once)?,
                }
            }
        }
        Ok(loaded)
    }

    /// Whether no key is set, as in the shipped files. Headings of sections do not count.
    pub fn is_blank(&self) -> bool {
        fn is_blank(table: &Table) -> bool {
            table.values().all(|value| value.as_table().is_some_and(is_blank))
        }
        is_blank(&self.table)
    }

    /// Deserializes the merged table.
    ///
    /// # Errors
    /// If serde refuses the table. The error names file, line and key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_path_to_error::deserialize(Value::Table(self.table.clone())).map_err(|err| {
            let Explained { path, message } =
                Explained::new(err.inner().message(), segments(err.path()), &self.table, &self.origins);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.locate(&path, message)
        })
    }

    /// An error about the value at `path`, for checks that serde cannot make.
    ///
    /// `path` has one key per element, so that names with dots need no quotes. An element of an array is `[0]`. File
    /// and line are those of the nearest enclosing key.
    pub fn error_at(&self, path: &[&str], message: impl std::fmt::Display) -> ConfigError {
        self.locate(path, format!("`{}`: {message}", origin::dotted(path)))
    }

    /// An error about a file that a key of the section `at` names. The path in the message shows which key.
    pub fn error_of_file(&self, at: &[&str], message: impl std::fmt::Display) -> ConfigError {
        let message = message.to_string();
        let section = at.last().map(|last| format!("[{last}]: ")).unwrap_or_default();
        let message = message.strip_prefix(&section).unwrap_or(&message);
        let path: Vec<String> = at.iter().map(|&key| key.to_owned()).collect();
        let keys = error::at(&self.table, &path).and_then(Value::as_table).into_iter().flatten();
        let is_named = |value: &Value| {
            let path = value.as_str().map(|path| path.strip_prefix("%d/").unwrap_or(path));
            path.is_some_and(|path| !path.is_empty() && message.contains(path))
        };
        let key = keys.filter(|(key, _)| key.ends_with("_file")).find(|(_, value)| is_named(value));
        match key {
            Some((key, _)) => self.error_at(&[at, &[key.as_str()]].concat(), message),
            None => self.error_at(at, message),
        }
    }

    /// The strings of all keys with this ending, at any depth.
    pub fn texts(&self, key_ends: &str) -> Vec<&str> {
        fn walk<'a>(table: &'a Table, key_ends: &str, found: &mut Vec<&'a str>) {
            for (key, value) in table {
                match value {
                    Value::Table(table) => walk(table, key_ends, found),
                    Value::String(text) if key.ends_with(key_ends) => found.push(text),
                    _ => {}
                }
            }
        }
        let mut found = vec![];
        walk(&self.table, key_ends, &mut found);
        found
    }

    /// All files that were read, in the order of the merge.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The merged table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Where the key at `path` was written, if it was.
    pub fn origin(&self, path: &[&str]) -> Option<&Origin> {
        self.origins.get(path)
    }

    /// From each dotted key to where its value was written, for `check-config --json`.
    pub fn origins(&self) -> BTreeMap<String, Origin> {
        self.origins.iter().map(|(path, origin)| (origin::dotted(path), origin.clone())).collect()
    }

    fn locate(&self, path: &[&str], message: String) -> ConfigError {
        match self.origins.nearest(path) {
            Some(origin) => ConfigError::new(&origin.file, Some(origin.line), message),
            None => {
                ConfigError::new(self.files.first().map_or(Path::new(""), PathBuf::as_path), None, message)
            }
        }
    }

    fn add(&mut self, file: &Path, text: &str, once: &[&[&str]]) -> Result<(), ConfigError> {
        let syntax = |err: toml::de::Error| {
            let line = err.span().map(|span| origin::line(text, span.start));
            // What follows is only the library's name for a part of its grammar.
            let message = match err.message().split_once(", expected ") {
                Some((message, piece)) if !piece.contains('`') => message,
                _ => err.message(),
            };
            let key = err.span().filter(|_| message == "duplicate key").and_then(|span| text.get(span));
            let key = key.map(|key| format!(" `{key}`")).unwrap_or_default();
            ConfigError::new(file, line, format!("not TOML: {message}{key}"))
        };
        let added = Origins::parse(file, text).map_err(syntax)?;
        let table: Table = toml::from_str(text).map_err(syntax)?;
        for prefix in once {
            if let Some((path, second, first)) = self.origins.clash(&added, prefix) {
                let message = format!(
                    "`{}` is already defined at {}:{}",
                    origin::dotted(path),
                    first.file.display(),
                    first.line
                );
                return Err(ConfigError::new(file, Some(second.line), message));
            }
        }
        merge(&mut self.table, table, &mut Vec::new(), &mut self.origins);
        self.origins.add(added);
        self.files.push(file.to_owned());
        Ok(())
    }
}

/// Merges `from` over `into`, and forgets the origins of what it replaces.
fn merge(into: &mut Table, from: Table, path: &mut Vec<String>, origins: &mut Origins) {
    for (key, value) in from {
        path.push(key.clone());
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new, path, origins),
            (_, value) => {
                origins.forget(path);
                into.insert(key, value);
            }
        }
        path.pop();
    }
}

fn segments(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .map_while(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Seq { index } => Some(origin::index(*index)),
            Segment::Unknown => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        host: String,
        #[serde(default)]
        relay: Relay,
        #[serde(default)]
        target: BTreeMap<String, Target>,
        #[serde(default)]
        listen: Vec<Listen>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Relay {
        allow: Vec<String>,
        port: u16,
        #[serde(with = "humantime_serde")]
        wait: std::time::Duration,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
    enum Target {
        Socket {
            path: String,
        },
        Log {
            path: String,
            #[serde(default)]
            lines: u32,
            #[serde(default)]
            mode: Mode,
        },
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Ro,
        Rw,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Listen {
        address: String,
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Folder {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Folder(dir)
        }

        fn read(&self) -> Result<Loaded, ConfigError> {
            let at = |name: &str| self.0.path().join(name);
            Loaded::read(&at("main.toml"), &[at("config.d"), at("targets.d")], &[&["target"]])
        }

        /// The error as text, without the folder's own name.
        fn refusal(&self) -> String {
            let err = match self.read() {
                Err(err) => err,
                Ok(loaded) => loaded.parse::<Settings>().unwrap_err(),
            };
            self.short(err)
        }

        fn short(&self, err: ConfigError) -> String {
            err.to_string().replace(&format!("{}/", self.0.path().display()), "")
        }
    }

    #[test]
    fn fragments_are_merged_in_order_and_keep_their_origins() {
        let folder = Folder::with(&[
            ("main.toml", "host = 'a'\n[relay]\nallow = ['x', 'y']\nport = 1\nwait = '2s'\n"),
            ("config.d/20-b.toml", "relay.port = 3\n"),
            ("config.d/10-a.toml", "# first\n[relay]\nport = 2\nallow = ['z']\n"),
            ("config.d/.hidden.toml", "nonsense"),
            ("config.d/README", "nonsense"),
            ("targets.d/vm.toml", "[target.'vm.1']\nkind = 'socket'\npath = '/s'\n"),
            (
                "targets.d/y.toml",
                "[target.y]\nkind='log'\npath='/y'\nlines=5\nmode='rw'\n[[listen]]\naddress='a'\n",
            ),
        ]);
        let loaded = folder.read().unwrap();
        let settings: Settings = loaded.parse().unwrap();
        assert_eq!((settings.host.as_str(), settings.relay.port), ("a", 3));
        assert_eq!(settings.relay.allow, ["z"]);
        assert_eq!(settings.relay.wait.as_secs(), 2);
        assert!(matches!(&settings.target["vm.1"], Target::Socket { path } if path == "/s"));
        assert!(
            matches!(&settings.target["y"], Target::Log { path, lines: 5, mode: Mode::Rw } if path == "/y")
        );
        assert_eq!(settings.listen[0].address, "a");

        let names: Vec<_> = loaded.files().iter().map(|f| f.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["main.toml", "10-a.toml", "20-b.toml", "vm.toml", "y.toml"]);
        let origins = loaded.origins();
        let origin = |key: &str| {
            let origin = &origins[key];
            format!("{}:{}", origin.file.file_name().unwrap().display(), origin.line)
        };
        assert_eq!(origin("host"), "main.toml:1");
        assert_eq!(origin("relay"), "main.toml:2");
        assert_eq!(origin("relay.wait"), "main.toml:5");
        assert_eq!(origin("relay.port"), "20-b.toml:1");
        assert_eq!(origin("relay.allow"), "10-a.toml:4");
        assert_eq!(origin("target.\"vm.1\".path"), "vm.toml:3");
        assert!(!origins.contains_key("relay.allow[1]"), "an array is replaced whole");
        let err = loaded.error_at(&["target", "vm.1", "path"], "must be below /run");
        assert_eq!(folder.short(err), "targets.d/vm.toml:3: `target.\"vm.1\".path`: must be below /run");
    }

    #[test]
    fn a_change_counts_before_it_is_made() {
        let folder = Folder::with(&[
            ("main.toml", "host = 'a'\n"),
            ("targets.d/a.toml", "[target.a]\nkind = 'socket'\npath = '/a'\n"),
        ]);
        let at = |name: &str| folder.0.path().join(name);
        let read = |name: &str, text: Option<&str>| {
            let change = Change { file: at(name), text: text.map(str::to_owned) };
            Loaded::read_with(&at("main.toml"), &[at("targets.d")], &[&["target"]], Some(&change))
        };
        let added = read("targets.d/b.toml", Some("[target.b]\nkind = 'socket'\npath = '/b'\n")).unwrap();
        assert_eq!(added.parse::<Settings>().unwrap().target.len(), 2);
        assert_eq!(added.origin(&["target", "b"]).unwrap().file, at("targets.d/b.toml"));
        assert!(added.origin(&["target", "c"]).is_none() && !at("targets.d/b.toml").exists());
        assert_eq!(read("targets.d/a.toml", None).unwrap().parse::<Settings>().unwrap().target.len(), 0);
        let twice = read("targets.d/b.toml", Some("[target.a]\n")).unwrap_err();
        assert_eq!(
            folder.short(twice),
            "targets.d/b.toml:1: `target.a` is already defined at targets.d/a.toml:1"
        );
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (text, refusal) in [
            (
                "host = 'a'\n[relay]\nalow = []\n",
                "main.toml:3: unknown key `relay.alow`, did you mean `allow`?",
            ),
            (
                "host = 'a'\n[relay]\ncolour = 1\n",
                "main.toml:3: unknown key `relay.colour`, known keys are `allow`, `port`, `wait`",
            ),
            ("hots = 'a'\n", "main.toml:1: unknown key `hots`, did you mean `host`?"),
            ("[relay]\n", "main.toml: missing key `host`"),
            (
                "host = 'a'\n\n[relay]\nport = 'x'\n",
                "main.toml:4: `relay.port`: a whole number from 0 to 65535 is needed, and not \"x\"",
            ),
            (
                "host = 'a'\nrelay.allow = ['a', 2]\n",
                "main.toml:2: `relay.allow[1]`: a string is needed: write \"2\"",
            ),
            (
                "host = 'a'\n[[listen]]\naddress='a'\n[[listen]]\n",
                "main.toml:4: missing key `listen[1].address`",
            ),
            (
                "host = 'a'\n[[listen]]\nadress='a'\n",
                "main.toml:3: unknown key `listen[0].adress`, did you mean `address`?",
            ),
            (
                "host = 'a'\n[target.t]\nkind = 'sockt'\n",
                "main.toml:3: `target.t.kind`: unknown value `sockt`, did you mean `socket`?",
            ),
            (
                "host = 'a'\n[target.t]\nkind = 'log'\npath = '/x'\npth = 1\n",
                "main.toml:5: unknown key `target.t.pth`, did you mean `path`?",
            ),
            (
                "host = 'a'\n[target.t]\nkind = 'log'\npath = '/x'\nmode = 'rx'\n",
                "main.toml:5: `target.t.mode`: unknown value `rx`, did you mean `ro`?",
            ),
            (
                "host = 'a'\n[target.t]\nkind = 'log'\npath = '/x'\nlines = 'many'\n",
                "main.toml:5: `target.t.lines`: a whole number from 0 to 4294967295 is needed, and not \"many\"",
            ),
            (
                "host = 'a'\n[relay]\nwait = 'long'\n",
                "main.toml:3: `relay.wait`: \"long\" is not a duration: write one such as \"10s\", \"5m\" or \"1h 30m\"",
            ),
            (
                "host = 'a'\nrelay.allow = 'b'\n",
                "main.toml:2: `relay.allow`: a list is needed: write [\"b\"]",
            ),
            (
                "host = 'a'\n[listen]\naddress = 'b'\n",
                "main.toml:2: `listen`: several of these are possible: write [[listen]], and not [listen]",
            ),
            (
                "host = 'a'\n[[relay]]\nallow = ['b']\n",
                "main.toml:2: `relay`: is one section: write [relay], and not [[relay]]",
            ),
            ("host = 'a'\n[target.t]\nkind = 'log'\n", "main.toml:2: missing key `target.t.path`"),
        ] {
            assert_eq!(Folder::with(&[("main.toml", text)]).refusal(), refusal, "{text}");
        }
    }

    #[test]
    fn headings_alone_configure_nothing() {
        let is_blank = |files: &[(&str, &str)]| Folder::with(files).read().unwrap().is_blank();
        assert!(is_blank(&[("main.toml", "# host = 'a'\n[relay]\n[target.x]\n"), ("config.d/a.toml", "")]));
        assert!(!is_blank(&[("main.toml", "[relay]\nport = 1\n")]));
        assert!(!is_blank(&[("main.toml", ""), ("targets.d/x.toml", "[target.x]\nkind = 'log'\n")]));
        assert!(!is_blank(&[("main.toml", "[[listen]]\n")]));
    }

    #[test]
    fn syntax_errors_name_file_and_line() {
        let refusal =
            Folder::with(&[("main.toml", "host = 'a'\n"), ("config.d/x.toml", "\n\na = = 1\n")]).refusal();
        assert!(refusal.starts_with("config.d/x.toml:3: not TOML: "), "{refusal}");
        let refusal = Folder::with(&[("main.toml", "a = 1\na = 2\n")]).refusal();
        assert_eq!(refusal, "main.toml:2: not TOML: duplicate key `a`");
        let folder = Folder::with(&[("main.toml", "")]);
        fs::write(folder.0.path().join("main.toml"), b"host = 'a'\nx = '\xfc'\n").unwrap();
        assert_eq!(folder.refusal(), "main.toml:2: not UTF-8: byte 0xfc; save the file as UTF-8");
    }

    #[test]
    fn one_name_in_two_files_is_refused_if_the_caller_wants_that() {
        let folder = Folder::with(&[
            ("main.toml", "host = 'a'\n[target.a]\nkind = 'log'\npath = '/a'\n"),
            ("targets.d/b.toml", "[target.b]\nkind = 'log'\npath = '/b'\n"),
            ("targets.d/c.toml", "# again\ntarget.b.path = '/etc/shadow'\n"),
        ]);
        let first = folder.0.path().join("targets.d/b.toml");
        let expected = format!("targets.d/c.toml:2: `target.b` is already defined at {}:1", first.display());
        assert_eq!(
            folder.short(folder.read().unwrap_err()),
            expected.replace(&format!("{}/", folder.0.path().display()), "")
        );
    }

    #[test]
    fn a_missing_directory_is_empty_but_a_missing_or_unreadable_file_is_an_error() {
        assert!(Folder::with(&[]).refusal().contains("there is no such file: `"));
        let folder = Folder::with(&[("main.toml", "host = 'a'\n"), ("config.d", "a file")]);
        assert!(folder.refusal().starts_with("config.d: cannot read directory: "));
        let folder = Folder::with(&[("main.toml", "host = 'a'\n"), ("config.d/x.toml", "")]);
        fs::set_permissions(folder.0.path().join("config.d/x.toml"), fs::Permissions::from_mode(0o000))
            .unwrap();
        if !nix::unistd::geteuid().is_root() {
            assert!(folder.refusal().starts_with("config.d/x.toml: cannot read: "));
        }
    }
}
