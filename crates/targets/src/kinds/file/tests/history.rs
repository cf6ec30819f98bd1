//! What was rotated away.

use super::*;

fn gzip(from: &Path, to: &Path) {
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(to).unwrap(), flate2::Compression::fast());
    encoder.write_all(&fs::read(from).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(from).unwrap();
}

fn written_at(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn what_was_rotated_away_comes_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let (log, silent) = log_in(dir.path());
    let name = |end: &str| PathBuf::from(format!("{}{end}", log.display()));
    for (end, text, at) in
        [(".4", "four\n", 100), (".3", "three\n", 200), (".2", "two\n", 300), (".1", "one\n", 400)]
    {
        append(&name(end), text);
        written_at(&name(end), at);
    }
    for end in [".3", ".2"] {
        gzip(&name(end), &name(&format!("{end}.gz")));
    }
    written_at(&name(".3.gz"), 200);
    written_at(&name(".2.gz"), 300);
    // Being made just now.
    append(&name(".1.gz"), "unfinished");
    std::os::unix::fs::symlink("/etc/passwd", name(".5")).unwrap();
    append(&dir.path().join("other.1"), "other\n");
    append(&log, "now\n");

    let opened = in_time(silent.open(Mode::Ro, None)).await.unwrap();
    assert!((opened.asked)(Ask::Since(0)).unwrap_err().to_string().contains("cannot go back"));
    let with = |history| target(&format!("kind = 'file'\npath = '{}'\nhistory = {history}", log.display()));
    for (history, since, expected) in [
        (9, 0, "now\nfour\nthree\ntwo\none\nnow\n"),
        (9, 250, "now\ntwo\none\nnow\n"),
        (2, 0, "now\ntwo\none\nnow\n"),
        (9, 500, "now\nnow\n"),
    ] {
        let mut opened = in_time(with(history).open(Mode::Ro, None)).await.unwrap();
        expect(&mut opened.output, "now\n").await;
        (opened.asked)(Ask::Since(since)).unwrap();
        expect(&mut opened.output, &expected[4..]).await;
        append(&log, "more\n");
        expect(&mut opened.output, "more\n").await;
        fs::write(&log, "now\n").unwrap();
    }
}

/// Asks for everything, and reads until the end of the log as it is now.
async fn all_of(log: &Path) -> String {
    let target = target(&format!("kind = 'file'\npath = '{}'\nhistory = 9\nlines = 0", log.display()));
    let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
    (opened.asked)(Ask::Since(0)).unwrap();
    let mut said = vec![];
    while !said.ends_with(b"now\n") {
        let mut bytes = vec![0; 64 * 1024];
        let n = in_time(opened.output.read(&mut bytes)).await.unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&bytes[..n]);
    }
    String::from_utf8(said).unwrap()
}

/// `history` is consent to the log's rotations, and to nothing else that is beside it.
#[tokio::test]
async fn neighbours_of_a_log_are_not_its_history() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = log_in(dir.path());
    let name = |end: &str| PathBuf::from(format!("{}{end}", log.display()));
    append(&log, "now\n");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o644)).unwrap();
    for end in [".key", "-private.txt", ".1~", ".swp", ".10.0.0.5", ".3", ".4"] {
        append(&name(end), "SECRET\n");
        fs::set_permissions(name(end), fs::Permissions::from_mode(0o644)).unwrap();
    }
    // More private than the log is now, and another user's.
    fs::set_permissions(name(".3"), fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        chown(name(".4"), Some(65534), None).unwrap();
    } else {
        fs::remove_file(name(".4")).unwrap();
    }
    for end in [".2", "-20260101", ".old"] {
        append(&name(end), "older\n");
        fs::set_permissions(name(end), fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert_eq!(all_of(&log).await, "older\nolder\nolder\nnow\n");
}

/// What is packed in another way, or damaged, is said; the rest of the log follows.
#[tokio::test]
async fn one_bad_file_of_the_history_does_not_end_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = log_in(dir.path());
    let name = |end: &str| PathBuf::from(format!("{}{end}", log.display()));
    let make = |end: &str, bytes: &[u8], at| {
        fs::write(name(end), bytes).unwrap();
        written_at(&name(end), at);
    };
    append(&name(".plain"), &"line\n".repeat(50_000));
    gzip(&name(".plain"), &name(".1.gz"));
    let packed = fs::read(name(".1.gz")).unwrap();
    make(".9", &packed, 100);
    make(".8.xz", b"\xfd7zXZ\0and so on", 200);
    make(".7.gz", &[0; 100], 300);
    make(".6.gz", b"", 400);
    make(".5", b"\x28\xb5\x2f\xfd\x04", 500);
    make(".4.gz", &packed[..packed.len() / 2], 600);
    fs::remove_file(name(".1.gz")).unwrap();
    append(&log, "now\n");
    let said = all_of(&log).await;
    let (first, rest) = said.split_at(5 * 50_000);
    assert_eq!(first, "line\n".repeat(50_000));
    assert_eq!(rest.matches("is left out").count(), 3, "{}", &rest[..200]);
    assert!(rest.ends_with("[the rest of this older file cannot be read: it is damaged]\nnow\n"), "{said}");
    assert!(!said.contains(['^', '\u{0}']) && rest.contains("line\nline\n"));
}
