//! The files that an owner allows: one path, or those that patterns match.

use std::path::{Path, PathBuf};

use glob::Pattern;

use crate::support::names::OPTIONS;
use crate::support::params::{ParamError, Params};
use crate::support::value::{TargetConfigError, absolute, absolute_file};

/// The parameter that picks one of several files.
pub(super) const FILE: &str = "file";

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Which {
    One(PathBuf),
    Some(Vec<Tree>),
}

/// The files below a directory that a pattern matches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    /// The part of the pattern without a wildcard. Nothing outside of it is ever opened.
    pub(super) base: PathBuf,
    pub(super) pattern: Pattern,
}

#[derive(Clone, Debug)]
pub(super) struct Picked {
    pub(super) path: PathBuf,
    /// The directory that it must stay in if links are followed.
    pub(super) base: Option<PathBuf>,
}

impl Which {
    pub(super) fn check(
        path: Option<PathBuf>,
        paths: Option<Vec<String>>,
    ) -> Result<Which, TargetConfigError> {
        match (path, paths) {
            (Some(path), None) => Ok(Which::One(absolute_file("path", path)?)),
            (None, Some(paths)) if paths.is_empty() => Err(TargetConfigError::at("paths", "is empty")),
            (None, Some(paths)) => {
                paths.iter().map(|path| Tree::check(path)).collect::<Result<_, _>>().map(Which::Some)
            }
            (Some(_), Some(_)) => {
                Err(TargetConfigError::at("paths", "cannot stand beside path: give one of them"))
            }
            (None, None) => {
                Err(TargetConfigError::at("path", "is missing: give it, or paths for several files"))
            }
        }
    }

    /// The files that exist now; if there are none, the directories that they will be in.
    pub(super) fn there(&self) -> Vec<PathBuf> {
        match self {
            Which::One(path) => vec![path.clone()],
            Which::Some(trees) => trees.iter().flat_map(Tree::there).collect(),
        }
    }

    /// The file that a grant picks.
    pub(super) fn pick(&self, params: &mut Params<'_>) -> Result<Picked, ParamError> {
        let trees = match self {
            Which::One(path) => return Ok(Picked { path: path.clone(), base: None }),
            Which::Some(trees) => trees,
        };
        let refused = |rule: &str| ParamError::new(FILE, rule);
        let name = params.take(FILE)?.ok_or_else(|| refused("is missing: it says which file"))?;
        if !name.split('/').all(is_part) {
            return Err(refused(
                "is not a file's name below the directory that its owner allows: no part of it may be empty or begin with a dot",
            ));
        }
        let matching = trees.iter().find_map(|tree| {
            let path = tree.base.join(name);
            let is_allowed = tree.pattern.matches_path_with(&path, OPTIONS);
            is_allowed.then(|| Picked { path, base: Some(tree.base.clone()) })
        });
        matching.ok_or_else(|| refused("is not among the files that the host's owner allows"))
    }
}

impl Tree {
    /// Not what a link leads to: anyone who may write to the directory would choose it.
    fn there(&self) -> Vec<PathBuf> {
        let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.is_file());
        let found = glob::glob_with(self.pattern.as_str(), OPTIONS)
            .map(|paths| paths.flatten().filter(is_file).collect());
        found.ok().filter(|paths: &Vec<_>| !paths.is_empty()).unwrap_or_else(|| vec![self.base.clone()])
    }

    fn check(text: &str) -> Result<Tree, TargetConfigError> {
        let wrong = |message: &str| TargetConfigError::at("paths", format!("\"{text}\" {message}"));
        let path = absolute("paths", text.into())?;
        if path.components().any(|part| part.as_os_str() == "..") {
            return Err(wrong("must not go up with .."));
        }
        let pattern = Pattern::new(text).map_err(|error| wrong(error.msg))?;
        let is_plain = |part: &Path| part.to_str().is_some_and(|part| Pattern::escape(part) == part);
        let plain = path.components().take_while(|part| is_plain(part.as_ref())).count();
        // The last part names files, with or without a wildcard.
        let parts = path.components().count();
        let base: PathBuf = path.components().take(plain.min(parts - 1)).collect();
        match base.parent() {
            Some(_) => Ok(Tree { base, pattern }),
            None => Err(wrong("begins with a wildcard: name at least one directory before it")),
        }
    }
}

/// Whether a part of a path is neither hidden nor `..`.
fn is_part(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '*', '?', '['])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn which(paths: &[&str]) -> Result<Which, TargetConfigError> {
        Which::check(None, Some(paths.iter().map(ToString::to_string).collect()))
    }

    fn pick(which: &Which, file: &str) -> Result<PathBuf, String> {
        let given = BTreeMap::from([(FILE.to_owned(), file.to_owned())]);
        which.pick(&mut Params::new(&given)).map(|picked| picked.path).map_err(|error| error.rule)
    }

    #[test]
    fn a_file_is_picked_below_the_part_without_wildcards() {
        let which = which(&["/var/log/nginx/*.log", "/srv/*/logs/**/*.txt", "/var/log/syslog"]).unwrap();
        assert_eq!(pick(&which, "access.log").unwrap(), Path::new("/var/log/nginx/access.log"));
        assert_eq!(pick(&which, "a/logs/b/c/d.txt").unwrap(), Path::new("/srv/a/logs/b/c/d.txt"));
        assert_eq!(pick(&which, "syslog").unwrap(), Path::new("/var/log/syslog"));
        for name in ["access.log.1", "sub/access.log", "auth.txt", "a/b/c.txt"] {
            assert!(pick(&which, name).unwrap_err().contains("not among"), "{name}");
        }
        for name in [
            "",
            "/etc/passwd",
            "../nginx/access.log",
            "a/../access.log",
            ".log",
            "a//b.log",
            "./access.log",
            "*.log",
        ] {
            assert!(pick(&which, name).unwrap_err().contains("is not a file's name"), "{name}");
        }
        assert!(which.pick(&mut Params::new(&BTreeMap::new())).unwrap_err().rule.contains("missing"));
    }

    #[test]
    fn a_pattern_that_allows_everything_is_refused() {
        for (pattern, why) in [
            ("*.log", "absolute"),
            ("/*", "at least one directory"),
            ("/**/x.log", "at least one directory"),
            ("/var/log/../*.log", "go up"),
            ("/var/log/[", "invalid range"),
        ] {
            let error = which(&[pattern]).unwrap_err();
            assert!(error.message.contains(why), "{pattern}: {error}");
        }
        assert!(which(&[]).is_err());
    }
}
