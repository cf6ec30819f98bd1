//! Decides which files beside a log are its rotations. With `history` the owner shares these, and nothing else whose
//! name begins with the log's: a private key beside the log, another host's log, an editor's copy.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// Endings of packed files. A rotation's name may end with one of them.
const PACKED: [&str; 8] = [".gz", ".xz", ".zst", ".bz2", ".lz4", ".lzma", ".lzo", ".Z"];

/// The most digits of a counter, or of a time written as one number: `20260102030405`.
const DIGITS: usize = 14;

/// Whether `name` is the log's name with a counter, a date, a time or `.old` after it, and perhaps one ending of a
/// packed file: `log.1`, `log.2.gz`, `log-20260101`, `log.2026-01-01_03:04.1.zst`, `log.old`.
pub(super) fn is_rotated(log: &OsStr, name: &OsStr) -> bool {
    let Some(behind) = name.as_bytes().strip_prefix(log.as_bytes()) else { return false };
    let Ok(behind) = std::str::from_utf8(behind) else { return false };
    let plain = unpacked(behind);
    plain == ".old"
        || plain.strip_prefix(['.', '-', '_']).is_some_and(|stamp| is_counter(stamp) || is_time(stamp))
}

/// The name without the ending of a packed file.
pub(super) fn unpacked(name: &str) -> &str {
    PACKED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Whether a rotated file is for the same readers as the log now: it has the log's owner, and no permission for others
/// that the log does not have.
pub(super) fn is_as_open(log: &Metadata, rotated: &Metadata) -> bool {
    let (log_mode, mode) = (log.mode(), rotated.mode());
    let has_bits = log_mode & 0o044 & !mode == 0;
    let is_for_all = mode & 0o004 != 0;
    let is_same_group = log.gid() == rotated.gid() || log_mode & 0o040 == 0;
    log.uid() == rotated.uid() && has_bits && (is_for_all || is_same_group)
}

fn is_counter(text: &str) -> bool {
    (1..=DIGITS).contains(&text.len()) && is_digits(text)
}

/// A date, then perhaps a time, then perhaps a counter.
fn is_time(text: &str) -> bool {
    let Some(behind) = date(text) else { return false };
    let (_, behind) = separated(behind, &['-', '_', 'T', '.'], clock).unwrap_or(("", behind));
    let behind = behind.strip_prefix('Z').unwrap_or(behind);
    let (_, behind) = separated(behind, &['.', '-', '_'], |text| {
        let digits = digits_at(text);
        (1..=10).contains(&digits).then(|| &text[digits..])
    })
    .unwrap_or(("", behind));
    behind.is_empty()
}

/// The text after a date such as `20260102`, `2026-01-02` or `2026_01`.
fn date(text: &str) -> Option<&str> {
    let (year, behind) = digits(text, 4)?;
    if !(1970..=2999).contains(&year) {
        return None;
    }
    let between = behind.chars().next().filter(|first| ['-', '_', '.'].contains(first));
    let part = |text: &'_ str, most| -> Option<usize> {
        let rest = between.map_or(Some(text), |between| text.strip_prefix(between))?;
        let (value, behind) = digits(rest, 2)?;
        (1..=most).contains(&value).then_some(text.len() - behind.len())
    };
    let month = part(behind, 12)?;
    let behind = &behind[month..];
    match part(behind, 31) {
        Some(day) => Some(&behind[day..]),
        // A date in one number has both month and day: six digits are a counter.
        None => between.map(|_| behind),
    }
}

/// The text after a time of day such as `03`, `0304`, `03:04:05` or `03-04`.
fn clock(text: &str) -> Option<&str> {
    let part = |text: &'_ str, most| -> Option<usize> {
        let (value, behind) = digits(text, 2)?;
        (value <= most).then_some(text.len() - behind.len())
    };
    let mut behind = &text[part(text, 23)?..];
    for most in [59, 60] {
        let rest = behind.strip_prefix([':', '-', '.', '_']).unwrap_or(behind);
        let Some(taken) = part(rest, most) else { break };
        behind = &rest[taken..];
    }
    (digits_at(behind) == 0).then_some(behind)
}

/// What `next` leaves of the text after one of these characters.
fn separated<'a>(
    text: &'a str,
    by: &[char],
    next: impl Fn(&'a str) -> Option<&'a str>,
) -> Option<(&'a str, &'a str)> {
    let rest = text.strip_prefix(by)?;
    next(rest).map(|behind| (rest, behind))
}

/// The number in the first `count` characters, and the text after them.
fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let (first, behind) = text.split_at_checked(count)?;
    is_digits(first).then(|| first.parse().ok())?.map(|value| (value, behind))
}

fn digits_at(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn rotated(name: &str) -> bool {
        is_rotated(OsStr::new("app.log"), OsStr::new(name))
    }

    #[test]
    fn counters_dates_times_and_old_are_rotations() {
        for end in [
            ".1",
            ".0",
            ".001",
            "-1767225600",
            ".old",
            ".old.gz",
            ".2.gz",
            ".2.zst",
            ".3.xz",
            "-20260101",
            "-20260101.gz",
            "_20260101",
            "-2026010203",
            "-20260102030405",
            "-20260101-1767225600",
            ".2026-01-01",
            ".2026-01",
            ".2026.01.31",
            ".2026-01-01.1",
            ".2026-01-01.1.gz",
            ".2026-01-01_03:04",
            ".2026-01-01T03-04-05Z.bz2",
            "-20260101T030405.7",
        ] {
            assert!(rotated(&format!("app.log{end}")), "{end}");
        }
    }

    #[test]
    fn neighbours_are_no_rotations() {
        for name in [
            "app.log",
            "app.log.",
            "app.log-",
            "app.log.key",
            "app.log-private.txt",
            "app.log.1.key",
            "app.log.1~",
            "app.log.1a",
            "app.log.1.old",
            "app.log.old.1",
            "app.log.old.bak",
            "app.log-old",
            "app.log.gz",
            "app.log.2.gz.gz",
            "app.log.2.gz.asc",
            "app.log.2.tar",
            "app.log..1",
            "app.log.10.0.0.5",
            "app.log-10.0.0.5",
            "app.log.123456789012345",
            "app.log.2026-13-01",
            "app.log.2026-01-01.secret",
            "app.log.2026-01-01T99",
            "app.log.pos",
            "app.log.swp",
            "app.log1",
            "app2.log.1",
            "other.log.1",
            "app.log.\u{661}",
        ] {
            assert!(!rotated(name), "{name}");
        }
        assert!(!is_rotated(OsStr::new("app.log"), OsStr::from_bytes(b"app.log.1\xff")));
    }

    #[test]
    fn what_is_more_private_than_the_log_stays_private() {
        let dir = tempfile::tempdir().unwrap();
        let with = |name: &str, mode| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
            file.metadata().unwrap()
        };
        let is = |log, rotated| is_as_open(&with("log", log), &with("log.1", rotated));
        assert!(is(0o644, 0o644) && is(0o640, 0o640) && is(0o600, 0o600) && is(0o600, 0o644));
        assert!(!is(0o644, 0o640) && !is(0o640, 0o600) && !is(0o644, 0o600) && !is(0o644, 0o604));
    }
}
