use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Program;
use crate::kind::Open;
use crate::support::opened::Opening;
use crate::support::shared::Shared;
use crate::testing::{in_time, target};
use crate::{Ask, Opened, Output, Window};
use protocol::control::Signal;
use protocol::mode::Mode;
use protocol::profile::Profile;

async fn open(mode: Mode, argv: &[&str], more: &str) -> Opened {
    let argv = toml::Value::from(argv.to_vec());
    let target = target(&format!("kind = 'exec'\nargv = {argv}\nmodes = ['ro', 'rw']\n{more}"));
    in_time(target.open(mode, None)).await.unwrap()
}

async fn sh(mode: Mode, script: &str, more: &str) -> Opened {
    open(mode, &["/bin/sh", "-c", script], more).await
}

async fn everything(output: &mut Output) -> String {
    let mut said = Vec::new();
    in_time(output.read_to_end(&mut said)).await.unwrap();
    String::from_utf8(said).unwrap()
}

/// Reads until `text` has come; gives all that came.
async fn until(output: &mut Output, text: &str) -> String {
    let mut said = String::new();
    let reading = async {
        while !said.contains(text) {
            let mut bytes = [0; 1024];
            let count = output.read(&mut bytes).await.unwrap();
            assert!(count > 0, "ended after {said:?}");
            said.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    };
    in_time(reading).await;
    said
}

async fn exit(opened: &mut Opened) -> i32 {
    in_time(opened.process.as_mut().unwrap().exit()).await
}

/// Until there is no such process, or only its zombie: an orphan is its new parent's to reap.
async fn is_gone(pid: i32) {
    let stat = format!("/proc/{pid}/stat");
    let gone = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(gone).await;
}

/// The numbers that a script wrote, one a line.
async fn pids(output: &mut Output, count: usize) -> Vec<i32> {
    let mut said = String::new();
    while said.matches('\n').count() < count {
        said.push_str(&until(output, "\n").await);
    }
    said.lines().map(|line| line.trim().parse().unwrap()).collect()
}

#[tokio::test]
async fn what_a_program_of_the_agents_own_complains_of_is_not_the_clients() {
    let arguments = ["-c", "echo out; echo /var/log/secret >&2"].map(str::to_owned).into();
    let program = Program { is_ours: true, ..Program::new("/bin/sh", arguments, false) };
    let opening = Opening { mode: Mode::Ro, window: None, profile: Profile::Bulk, shared: Shared::default() };
    let mut opened = in_time(program.open(opening)).await.unwrap();
    assert_eq!(everything(&mut opened.output).await, "out\n");
}

#[tokio::test]
async fn output_and_errors_come_in_order_and_then_the_status() {
    let mut opened = sh(Mode::Ro, "echo one; echo two >&2; echo three; exit 7", "").await;
    assert!(opened.input.is_none());
    assert_eq!(everything(&mut opened.output).await, "one\ntwo\nthree\n");
    assert_eq!(exit(&mut opened).await, 7);
    assert_eq!(exit(&mut opened).await, 7);
    let mut opened = sh(Mode::Ro, "kill -9 $$", "").await;
    assert_eq!(exit(&mut opened).await, 137);
}

#[tokio::test]
async fn the_environment_is_what_the_owner_wrote() {
    let script = "cd .; /usr/bin/env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD= | LC_ALL=C sort; pwd";
    let env = "env = { A = 'b c', LANG = 'C', SHELL = '/bin/x' }\ncwd = '/usr'";
    let mut opened = sh(Mode::Ro, script, env).await;
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap();
    let (home, name) = (user.dir.display(), &user.name);
    let expected = format!(
        "A=b c\nHOME={home}\nLANG=C\nLOGNAME={name}\nPATH={}\nSHELL=/bin/x\nUSER={name}\n/usr\n",
        super::PATH
    );
    assert_eq!(everything(&mut opened.output).await, expected);
}

#[tokio::test]
async fn a_program_has_three_descriptors_and_every_signal() {
    let (leaked, _other) = std::io::pipe().unwrap();
    let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    nix::fcntl::fcntl(&leaked, flags).unwrap();
    let mut opened = open(Mode::Ro, &["/bin/ls", "/proc/self/fd"], "").await;
    // The fourth is the directory that it lists.
    assert_eq!(everything(&mut opened.output).await, "0\n1\n2\n3\n");
    // This process ignores SIGPIPE, as every Rust program does.
    let mut opened = open(Mode::Ro, &["/bin/grep", "-E", "SigBlk|SigIgn", "/proc/self/status"], "").await;
    for line in everything(&mut opened.output).await.lines() {
        let (name, mask) = line.split_once('\t').unwrap();
        // 32 and 33 are the C library's own, and it lets nobody set them.
        let signals = u64::from_str_radix(mask, 16).unwrap() & !(0b11 << 31);
        assert_eq!(signals, 0, "{name}");
    }
}

#[tokio::test]
async fn a_mebibyte_goes_through_cat_and_back() {
    let opened = open(Mode::Rw, &["/bin/cat"], "").await;
    let (mut output, mut input, mut process) =
        (opened.output, opened.input.unwrap(), opened.process.unwrap());
    let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let sent = bytes.clone();
    let sending = tokio::spawn(async move {
        input.write_all(&sent).await.unwrap();
        input.shutdown().await.unwrap();
    });
    let mut said = Vec::new();
    in_time(output.read_to_end(&mut said)).await.unwrap();
    assert!(said == bytes);
    in_time(sending).await.unwrap();
    assert_eq!(in_time(process.exit()).await, 0);
}

#[tokio::test]
async fn a_program_that_ends_after_its_last_byte_loses_nothing() {
    for more in ["", "pty = true"] {
        for _ in 0..100 {
            let mut opened = sh(Mode::Ro, "printf '%03000d' 7", more).await;
            let said = everything(&mut opened.output).await;
            assert_eq!((said.len(), said.as_bytes().last()), (3000, Some(&b'7')), "{more}");
        }
    }
}

#[tokio::test]
async fn what_a_program_leaves_in_the_background_does_not_hold_its_stream() {
    for more in ["", "pty = true"] {
        // It ignores SIGHUP, and holds the output open.
        let script = "trap '' HUP; sleep 1000 & echo $!; exit 3";
        let mut opened = sh(Mode::Ro, script, more).await;
        let left = everything(&mut opened.output).await.trim().parse().unwrap();
        assert_eq!(exit(&mut opened).await, 3);
        is_gone(left).await;
    }
}

#[tokio::test]
async fn a_terminal_echoes_is_resized_and_has_a_status() {
    let mut opened = open(Mode::Rw, &["/bin/sh"], "pty = true\nenv = { PS1 = '> ' }").await;
    let mut input = opened.input.take().unwrap();
    until(&mut opened.output, "> ").await;
    input.write_all(b"stty size; tty; echo $TERM\n").await.unwrap();
    let said = until(&mut opened.output, "xterm-256color").await;
    assert!(said.contains("stty size") && said.contains("24 80\r\n"), "{said}");
    assert!(said.contains("/dev/pts/"), "{said}");
    (opened.asked)(Ask::Resize(Window { cols: 132, rows: 50 })).unwrap();
    (opened.asked)(Ask::Resize(Window { cols: 0, rows: 0 })).unwrap();
    input.write_all(b"stty size; exit 7\n").await.unwrap();
    assert!(everything(&mut opened.output).await.contains("50 132\r\n"));
    assert_eq!(exit(&mut opened).await, 7);
}

#[tokio::test]
async fn a_terminal_has_its_clients_size_from_the_start() {
    let target = target("kind = 'exec'\nargv = ['/bin/stty', 'size']\npty = true");
    let window = Window { cols: 100, rows: 40 };
    let mut opened = in_time(target.open(Mode::Rw, Some(window))).await.unwrap();
    assert_eq!(everything(&mut opened.output).await, "40 100\r\n");
}

#[tokio::test]
async fn shutting_down_ends_the_input_of_a_terminal() {
    for text in ["hello\n", "no line end", ""] {
        let mut opened = open(Mode::Rw, &["/bin/cat"], "pty = true").await;
        let mut input = opened.input.take().unwrap();
        input.write_all(text.as_bytes()).await.unwrap();
        in_time(input.shutdown()).await.unwrap();
        in_time(input.shutdown()).await.unwrap();
        assert!(input.write_all(b"x").await.is_err());
        let said = everything(&mut opened.output).await;
        assert!(said.starts_with(text.trim_end()), "{said:?}");
        assert_eq!(exit(&mut opened).await, 0);
    }
}

/// A shell that reads key by key, and was not ready, or was at work, when the input ended.
#[tokio::test]
async fn a_shell_that_takes_over_the_terminal_later_still_learns_of_the_end() {
    for (text, answer) in [
        ("", ""),
        ("echo a$((1+1))a\n", "a2a"),
        ("echo a$((1+1))a", "a2a"),
        ("sleep 0.2; echo a$((1+1))a\n", "a2a"),
        ("cat; echo a$((1+1))a\n", "a2a"),
        ("IGNOREEOF=3\n", ""),
    ] {
        let start = ["/bin/sh", "-c", "sleep 0.2; exec /bin/bash --norc"];
        let mut opened = open(Mode::Rw, &start, "pty = true").await;
        let mut input = opened.input.take().unwrap();
        input.write_all(text.as_bytes()).await.unwrap();
        in_time(input.shutdown()).await.unwrap();
        let said = everything(&mut opened.output).await;
        assert!(said.contains(answer), "{text:?}: {said:?}");
        exit(&mut opened).await;
    }
}

#[tokio::test]
async fn dropping_ends_the_whole_group() {
    for more in ["", "pty = true"] {
        let mut opened = sh(Mode::Ro, "sleep 1000 & echo $!; echo $$; wait", more).await;
        let pids = pids(&mut opened.output, 2).await;
        drop(opened);
        for pid in pids {
            is_gone(pid).await;
        }
    }
}

#[tokio::test]
async fn dropping_ends_what_hears_no_signal_and_what_is_in_another_group() {
    for more in ["", "pty = true"] {
        // On a terminal `set -m` puts each job into a group of its own; a stopped one receives nothing.
        let script =
            "trap '' HUP TERM; set -m 2> /dev/null; sleep 1000 & echo $!; (kill -STOP $$) & sleep 1000";
        let script = format!("echo $$; {script}");
        let mut opened = sh(Mode::Ro, &script, more).await;
        let pids = pids(&mut opened.output, 2).await;
        let before = std::time::Instant::now();
        drop(opened);
        for pid in pids {
            is_gone(pid).await;
        }
        assert!(before.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_process_is_asked_before_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("note");
    let script =
        format!("trap 'echo bye > {}; exit 0' HUP; echo $$; while :; do sleep 0.05; done", note.display());
    let mut opened = sh(Mode::Ro, &script, "").await;
    let pid = pids(&mut opened.output, 1).await[0];
    // The output stays: a shell says "Hangup" there, and would be ended by SIGPIPE before its trap.
    drop(opened.process.take());
    is_gone(pid).await;
    assert_eq!(std::fs::read_to_string(note).unwrap(), "bye\n");
}

#[test]
fn a_runtime_that_goes_down_takes_its_programs_with_it() {
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (pid, opened) = runtime.block_on(async {
            // Just when it forks.
            let mut opened = sh(Mode::Ro, "trap '' HUP; echo $$; sleep 1000", "").await;
            (pids(&mut opened.output, 1).await[0], opened)
        });
        drop(runtime);
        assert!(super::members::members(pid).is_empty());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        drop(opened);
    }
}

#[tokio::test]
async fn what_forks_just_when_it_is_dropped_is_ended_too() {
    for more in ["", "pty = true"] {
        for _ in 0..20 {
            let mut opened = sh(Mode::Ro, "echo $$; sleep 1000; sleep 1000", more).await;
            let pid = pids(&mut opened.output, 1).await[0];
            drop(opened);
            let ended = async {
                while !super::members::members(pid).is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            in_time(ended).await;
            is_gone(pid).await;
        }
    }
}

#[tokio::test]
async fn a_program_that_cannot_run_is_told_before_it_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let refusal = async |program: &std::path::Path, more: &str| {
        let target = target(&format!("kind = 'exec'\nargv = ['{}']\n{more}", program.display()));
        let error = in_time(target.probe()).await.unwrap_err();
        assert_eq!(in_time(target.open(Mode::Rw, None)).await.err().unwrap(), error);
        error.message
    };
    assert!(refusal(&missing, "").await.ends_with("does not exist"));
    assert!(refusal(dir.path(), "").await.ends_with("is a directory, not a program"));
    std::fs::write(&missing, "").unwrap();
    assert!(refusal(&missing, "").await.contains("not even its group may run it"));
    assert!(refusal("/bin/sh".as_ref(), "cwd = '/nowhere'").await.contains("/nowhere does not exist"));
    let target = target("kind = 'exec'\nargv = ['/bin/sh']\nmodes = ['ro']");
    assert_eq!(in_time(target.probe()).await.unwrap(), "/bin/sh is there and may be run");
    let error = in_time(target.open(Mode::Rw, None)).await.err().unwrap();
    assert_eq!(error.end, protocol::end::End::NotAllowed);
}

#[tokio::test]
async fn signals_go_to_the_foreground_and_only_of_those_who_may_write() {
    let script = "trap 'echo int; exit 3' INT; echo up; while :; do sleep 0.05; done";
    let mut opened = sh(Mode::Rw, script, "").await;
    until(&mut opened.output, "up\n").await;
    (opened.asked)(Ask::Signal(Signal::Int)).unwrap();
    assert_eq!(until(&mut opened.output, "int\n").await, "int\n");
    assert_eq!(exit(&mut opened).await, 3);
    // It has ended: nobody else gets what comes too late.
    (opened.asked)(Ask::Signal(Signal::Kill)).unwrap();

    // In a terminal a shell's job is in the foreground, not the shell.
    let script =
        "set -m; (trap 'echo heard; exit 4' TERM; echo up; while :; do sleep 0.05; done); echo status $?";
    let mut opened = sh(Mode::Rw, script, "pty = true").await;
    until(&mut opened.output, "up\r\n").await;
    (opened.asked)(Ask::Signal(Signal::Term)).unwrap();
    // The shell may say first that the `sleep` was terminated, too.
    let said = everything(&mut opened.output).await;
    assert!(said.ends_with("heard\r\nstatus 4\r\n"), "{said:?}");

    let watched = sh(Mode::Ro, "sleep 60", "").await;
    assert!((watched.asked)(Ask::Signal(Signal::Kill)).unwrap_err().to_string().contains("reading only"));
    assert!((watched.asked)(Ask::Pause).unwrap_err().to_string().contains("cannot"));
}

#[tokio::test]
async fn a_program_whose_time_is_over_is_ended() {
    let mut opened = sh(Mode::Ro, "echo up; trap '' HUP; sleep 60", "timeout = '100ms'").await;
    assert_eq!(everything(&mut opened.output).await, "up\n");
    assert_eq!(exit(&mut opened).await, 124);
}

/// As root only: nobody else may run programs as somebody.
#[tokio::test]
async fn a_program_runs_as_another_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let script =
        "id -un; id -G; grep -E '^(Uid|Gid|CapEff)' /proc/self/status; exec 3<>$(tty) && echo opened";
    let mut opened = sh(Mode::Ro, script, "user = 'nobody'\npty = true").await;
    let said = everything(&mut opened.output).await.replace("\r", "");
    let expected = "nobody\n65534\nUid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n\
                    CapEff:\t0000000000000000\nopened\n";
    assert_eq!(said, expected);
    let unknown = target("kind = 'exec'\nargv = ['/bin/true']\nuser = 'no-such-user'");
    let error = in_time(unknown.open(Mode::Rw, None)).await.err().unwrap();
    assert_eq!(error.message, "there is no user no-such-user on this host");
}
