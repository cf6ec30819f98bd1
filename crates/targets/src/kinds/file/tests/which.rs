//! Which files are opened: links, templates, and what is no plain file.

use super::*;

#[tokio::test]
async fn what_is_not_a_plain_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target_of_log) = log_in(dir.path());
    let refusal = async |target: &Target| {
        let error = in_time(target.open(Mode::Ro, None)).await.err().unwrap();
        assert_eq!(in_time(target.probe()).await.unwrap_err(), error);
        error.message
    };
    assert_eq!(refusal(&target_of_log).await, format!("{} does not exist", log.display()));
    fs::create_dir(&log).unwrap();
    assert!(refusal(&target_of_log).await.ends_with("not a regular file"));
    fs::remove_dir(&log).unwrap();
    nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refusal(&target_of_log).await.ends_with("not a regular file"));
}

#[tokio::test]
async fn a_symbolic_link_is_followed_only_when_the_owner_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    let (log, target_of_log) = log_in(dir.path());
    append(&real, "a\n");
    std::os::unix::fs::symlink(&real, &log).unwrap();
    let error = in_time(target_of_log.open(Mode::Ro, None)).await.err().unwrap();
    assert!(error.message.contains(&format!("name {} instead", real.display())), "{error}");
    assert!(error.message.ends_with("or set follow_symlinks = true"), "{error}");
    // Nor a directory that is a link, nor a link that takes the log's place later.
    std::os::unix::fs::symlink(dir.path(), dir.path().join("sub")).unwrap();
    let (_, through) = log_in(&dir.path().join("sub"));
    assert!(in_time(through.open(Mode::Ro, None)).await.is_err());

    let text = format!("kind = 'file'\npath = '{}'\nfollow_symlinks = true", log.display());
    let mut output = open(&target(&text)).await.output;
    expect(&mut output, "a\n").await;
    rotate(&real);
    append(&real, "b\n");
    expect(&mut output, "b\n").await;
    rotate(&real);
    std::os::unix::fs::symlink("/etc/passwd", &real).unwrap();
    append(&dir.path().join("new"), "c\n");
    fs::rename(dir.path().join("new"), &real).unwrap();
    // What was there for a moment may have been a file.
    let said = read_until(&mut output, "c\n").await;
    assert!(said.lines().all(|line| line == "c" || line.contains("is missing here")), "{said}");
}

async fn read_until(output: &mut Output, text: &str) -> String {
    let mut said = String::new();
    while !said.ends_with(text) {
        let mut bytes = [0; 4096];
        let n = in_time(output.read(&mut bytes)).await.unwrap();
        said.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
    }
    said
}

/// logrotate makes the new file for its owner alone and then gives it away. Root may read it at
/// once, so this says something only where the tests run as another user.
#[tokio::test]
async fn a_file_that_may_be_read_only_later_is_waited_for() {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "a\n");
    let mut output = open(&target).await.output;
    expect(&mut output, "a\n").await;
    rotate(&log);
    let mut new = OpenOptions::new().append(true).create_new(true).mode(0o200).open(&log).unwrap();
    // The watcher looks, and is refused.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    new.write_all(b"b\n").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    expect(&mut output, "b\n").await;
}

fn picked(target: &Target, file: &str) -> crate::Bound {
    target.bind(&[("file".to_owned(), file.to_owned())].into()).unwrap()
}

#[tokio::test]
async fn one_of_several_files_is_picked_and_none_outside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::create_dir_all(path.join("logs/sub")).unwrap();
    append(&path.join("logs/a.log"), "a\n");
    append(&path.join("logs/sub/b.log"), "b\n");
    append(&path.join("secret.log"), "secret\n");
    std::os::unix::fs::symlink("../secret.log", path.join("logs/out.log")).unwrap();
    std::os::unix::fs::symlink("a.log", path.join("logs/in.log")).unwrap();
    std::os::unix::fs::symlink("..", path.join("logs/up")).unwrap();
    let text = |more: &str| {
        format!("kind = 'file'\npaths = ['{0}/logs/*.log', '{0}/logs/*/*.log']\n{more}", path.display())
    };
    let target = target(&text(""));
    assert_eq!(target.info().params, ["file"]);
    assert_eq!(in_time(target.probe()).await.unwrap(), "5 files match");
    for (file, said) in [("a.log", "a\n"), ("sub/b.log", "b\n")] {
        let mut opened = in_time(picked(&target, file).open_alone(Mode::Ro, None)).await.unwrap();
        expect(&mut opened.output, said).await;
    }
    for file in ["out.log", "in.log", "up/secret.log"] {
        assert!(in_time(picked(&target, file).open_alone(Mode::Ro, None)).await.is_err(), "{file}");
    }
    // Links may be followed where the owner says so, and still not out of the tree.
    let following = crate::testing::target(&text("follow_symlinks = true"));
    let mut opened = in_time(picked(&following, "in.log").open_alone(Mode::Ro, None)).await.unwrap();
    expect(&mut opened.output, "a\n").await;
    for file in ["out.log", "up/secret.log"] {
        let error = in_time(picked(&following, file).open_alone(Mode::Ro, None)).await.err().unwrap();
        assert!(error.message.contains("leads out of"), "{error}");
    }
}

/// Somebody who may write to the tree swaps files and directories for links while they are being opened.
#[test]
fn what_is_swapped_ten_thousand_times_never_leads_out() {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for tree in ["allowed/app", "outside/app"] {
        fs::create_dir_all(path.join(tree)).unwrap();
    }
    append(&path.join("allowed/app/log"), "inside\n");
    append(&path.join("outside/app/log"), "SECRET\n");
    symlink(path.join("outside/app"), path.join("allowed/dir-link")).unwrap();
    symlink(path.join("outside/app/log"), path.join("allowed/file-link")).unwrap();
    let is_over = AtomicBool::new(false);
    let log = |follow_symlinks| {
        let reading =
            crate::kinds::file::ReadOptions { lines: 10, history: 0, follow_symlinks, is_raw: false };
        let picked = crate::kinds::file::Picked {
            path: path.join("allowed/app/log"),
            base: Some(path.join("allowed")),
        };
        crate::kinds::file::Log { picked, reading }
    };
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = |a: &str, b: &str| {
                let (a, b) = (path.join(a), path.join(b));
                // The file may have moved with its directory: then there is nothing to swap.
                let _ = renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE);
            };
            while !is_over.load(Ordering::Relaxed) {
                for _ in 0..2 {
                    swap("allowed/app", "allowed/dir-link");
                }
                for _ in 0..2 {
                    swap("allowed/app/log", "allowed/file-link");
                }
            }
        });
        for round in 0..10_000 {
            let log = log(round % 2 == 0);
            // Following needs quiet moments to begin, which there are few of.
            let found = match round % 100 {
                0 => log.find(None).map(|(_, new, ..)| new.file).ok(),
                _ => log.way().location().ok().and_then(|location| location.open(location.name()).ok()),
            };
            let Some(mut file) = found else {
                refused += 1;
                continue;
            };
            let mut said = String::new();
            file.read_to_string(&mut said).unwrap();
            assert_eq!(said, "inside\n");
            opened += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    println!("{opened} times opened, {refused} times refused");
    // Otherwise the race did not take place.
    assert!(opened > 100 && refused > 100, "{opened} {refused}");
}
