//! Containers of the real Docker Engine and the real Podman, with the same targets.

use std::process::{Command as Now, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Client, Process, World, eventually};

/// Engines take seconds on a busy machine.
const ENGINE: Duration = Duration::from_secs(60);

/// An engine for one test, with an image of busybox and without a network.
struct Engine {
    brand: &'static str,
    dir: TempDir,
    daemon: Option<Process>,
}

impl Engine {
    async fn start(brand: &'static str) -> Engine {
        let mut engine = Engine { brand, dir: tempfile::tempdir().unwrap(), daemon: None };
        let deadline = Instant::now() + ENGINE;
        // Docker gives up if its containerd does not start within 15 s, which happens on a busy machine.
        while !engine.runs().await {
            assert!(Instant::now() < deadline, "{}", engine.daemon.as_ref().unwrap().said());
        }
        engine.import().await;
        engine
    }

    /// Starts the daemon. False: it ended before it answered.
    async fn runs(&mut self) -> bool {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let mut command = Command::new("dockerd");
        if self.brand == "docker" {
            command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
            command.args(["-H", &format!("unix://{}", at("socket")), "--data-root", &at("data")]);
            command.args(["--exec-root", &at("exec"), "-p", &at("pid")]);
        } else {
            command = Command::new("podman");
            command.args(podman(&self.dir)).args(["system", "service", "--time=0"]);
            command.arg(format!("unix://{}", at("socket")));
        }
        let mut daemon = Process::start(command, self.dir.path().join("log"));
        let mut asking = Command::new(self.brand);
        asking.args(self.args()).arg("info").stdin(Stdio::null()).kill_on_drop(true);
        let answers = async {
            // The socket is there before the daemon answers.
            while std::os::unix::net::UnixStream::connect(self.socket()).is_err()
                || !asking.output().await.unwrap().status.success()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let is_up = tokio::select! {
            () = answers => true,
            _ = daemon.child.wait() => false,
            () = tokio::time::sleep(ENGINE) => false,
        };
        self.daemon = Some(daemon);
        is_up
    }

    /// An image with a shell.
    async fn import(&self) {
        let script = "set -e; mkdir -p tree/bin tree/proc tree/sys tree/dev tree/tmp tree/etc; cp /bin/busybox tree/bin; \
            for applet in $(busybox --list); do [ -e tree/bin/$applet ] || ln -s busybox tree/bin/$applet; done; \
            echo root:x:0:0::/:/bin/sh >tree/etc/passwd; tar -C tree -cf tree.tar .";
        let made = Command::new("sh").args(["-c", script]).current_dir(self.dir.path()).status().await;
        assert!(made.unwrap().success());
        self.does(&["import", self.dir.path().join("tree.tar").to_str().unwrap(), "shell:1"]).await;
    }

    fn socket(&self) -> String {
        self.dir.path().join("socket").display().to_string()
    }

    fn args(&self) -> Vec<String> {
        match self.brand {
            "docker" => vec!["--host".into(), format!("unix://{}", self.socket())],
            _ => podman(&self.dir),
        }
    }

    async fn does(&self, args: &[&str]) -> String {
        let mut command = Command::new(self.brand);
        command.args(self.args()).args(args).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(ENGINE, command.output()).await.expect("too long").unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts a container and gives its ID.
    async fn run(&self, name: &str, options: &[&str], argv: &[&str]) -> String {
        let mut args = vec!["run", "--detach", "--network=none", "--name", name];
        if self.brand == "podman" {
            args.extend(["--ulimit=nofile=20000:20000", "--ulimit=nproc=4096:4096"]);
        }
        args.extend_from_slice(options);
        args.push("shell:1");
        args.extend_from_slice(argv);
        self.does(&args).await
    }

    /// The table of a target.
    fn table(&self, name: &str, keys: &str) -> String {
        format!(
            "[target.{name}]\nkind = 'container'\nengine = '{}'\nsocket = '{}'\n{keys}\n",
            self.brand,
            self.socket()
        )
    }

    /// Processes in a container, without zombies.
    async fn processes(&self, name: &str) -> usize {
        self.does(&["top", name]).await.lines().skip(1).filter(|line| !line.contains('[')).count()
    }
}

fn podman(dir: &TempDir) -> Vec<String> {
    let at = |name: &str| dir.path().join(name).display().to_string();
    let places = ["--root", &at("root"), "--runroot", &at("run"), "--tmpdir", &at("tmp")].map(str::to_owned);
    [&places[..], &["--runtime".to_owned(), "runc".to_owned()]].concat()
}

impl Drop for Engine {
    fn drop(&mut self) {
        let run = |args: &[&str]| {
            let mut command = Now::new(self.brand);
            let output = command.args(self.args()).args(args).stdin(Stdio::null()).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        for id in run(&["ps", "--all", "--quiet"]).lines() {
            run(&["rm", "--force", id]);
        }
        let Some(daemon) = self.daemon.take().filter(|daemon| daemon.child.id().is_some()) else { return };
        // It stops its containerd, if it is allowed to.
        daemon.signal(Signal::SIGTERM);
        let proc = format!("/proc/{}/exe", daemon.pid());
        poll(|| std::fs::read_link(&proc).is_err());
        if self.brand == "podman" {
            // Its supervisors stay for five minutes after a program, for anyone who asks how it ended, and call it
            // again when they end.
            let place = self.dir.path().display().to_string();
            poll(|| !end_all(&place));
            let _ = Now::new("umount").arg(self.dir.path().join("root/overlay")).status();
        }
    }
}

/// Waits for the end of something, ten seconds at most.
fn poll(mut is_over: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_over() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends podman's processes for this folder, and returns whether there were any.
fn end_all(place: &str) -> bool {
    let mut found = false;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let program = line.split('\0').next().unwrap_or_default();
        if (program.ends_with("conmon") || program.ends_with("podman")) && line.contains(place) {
            let pid = process.file_name().to_str().and_then(|pid| pid.parse().ok()).unwrap();
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
            found = true;
        }
    }
    found
}

async fn terminal(world: &World, target: &str, container: &str) -> Client {
    let url = world.url_with(target, &[&format!("container={container}")]).await;
    let mut client = Client::connect(&url, &["stream.v1"]).await;
    client.send_text(r#"{"type":"resize","cols":101,"rows":33}"#).await;
    client
}

/// The rest of a stream: bytes, exit status, close code and reason.
async fn rest(client: &mut Client) -> (String, Option<i64>, u16, String) {
    let (mut said, mut status) = (String::new(), None);
    loop {
        match client.next().await {
            Message::Binary(piece) => said.push_str(&String::from_utf8_lossy(&piece)),
            Message::Text(text) => {
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                status = message["code"].as_i64().or(status);
            }
            Message::Close(Some(close)) => {
                return (said, status, close.code.into(), close.reason.to_string());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until so many streams have been opened.
async fn started(world: &World, count: usize) {
    let said = || world.agent().said();
    eventually(|| said().matches("event=\"started\"").count() >= count, said).await;
}

async fn type_until(client: &mut Client, typed: &str, expected: &str) -> String {
    client.send(typed.as_bytes().to_vec()).await;
    client.read_until(expected).await
}

/// Containers that run are proposed, each with what it can show.
async fn found(brand: &'static str) {
    let engine = Engine::start(brand).await;
    engine.run("web-1", &["--tty", "--interactive"], &["/bin/sh"]).await;
    engine.run("db", &[], &["/bin/sleep", "600"]).await;
    // The engine is where that of the host would be, for this command only.
    let place = if brand == "docker" { "/run/docker.sock" } else { "/run/podman/podman.sock" };
    let script = "mount -t tmpfs -o mode=755 none /run && mkdir -p /run/podman && ln -s \"$1\" \"$2\" && exec \"$3\" --config /none target discover --json";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "-", &engine.socket(), place, crate::world::AGENT]);
    let output = tokio::time::timeout(ENGINE, command.output()).await.expect("too long").unwrap();
    let found: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let remarks = &found["remarks"];
    let found = found["found"].as_array().unwrap().iter().filter(|one| one["target"]["kind"] == "container");
    let mut commands: Vec<&str> = found.map(|one| one["command"].as_str().unwrap()).collect();
    commands.sort_unstable();
    let add = |name: &str, keys: &str, container: &str| {
        format!(
            "stream-agent target add {container}-{name} container {keys} containers={container} engine={brand}"
        )
    };
    let (log, shell) = ("action=logs", "action=exec argv=/bin/sh");
    let expected = [
        add("log", log, "db"),
        add("shell", shell, "db"),
        add("console", "action=attach", "web-1"),
        add("log", log, "web-1"),
        add("shell", shell, "web-1"),
    ];
    assert_eq!(commands, expected, "{remarks}");
}

async fn consoles(brand: &'static str) {
    let engine = Engine::start(brand).await;
    engine.run("web-1", &["--tty", "--interactive"], &["/bin/sh"]).await;
    let world = World::with(
        &[
            engine.table("console", "action = 'attach'\ncontainers = ['web-*']"),
            engine.table("look", "action = 'attach'\ncontainers = ['web-*']\nmodes = ['ro']"),
        ]
        .concat(),
    )
    .await;
    let mut console = terminal(&world, "console", "web-1").await;
    let mut look = terminal(&world, "look", "web-1").await;
    started(&world, 2).await;
    console.is_answered().await;
    look.read_until("\n=42=").await;
    // The size travels apart from the bytes.
    let mut size = String::new();
    while !size.contains("33 101") {
        size = type_until(&mut console, "stty size; echo ='.'=\r", "=.=\r\n").await;
    }
    // A viewer cannot type, and cannot make the screen smaller.
    look.send(b"echo typed-by-$((7*7))\r".to_vec()).await;
    look.send_text(r#"{"type":"resize","cols":40,"rows":10}"#).await;
    let said = type_until(&mut console, "stty size; echo +'.'+\r", "+.+\r\n").await;
    assert!(said.contains("33 101") && !said.contains("typed-by"), "{said:?}");
    // The previous line, with the key that engines would hold back.
    type_until(&mut console, "echo before\r", "\nbefore").await;
    type_until(&mut console, "\x10", "echo before").await;
    type_until(&mut console, "\r", "\nbefore").await;
    console.send(b"exit 7\r".to_vec()).await;
    let (_, status, code, reason) = rest(&mut console).await;
    assert_eq!((status, code), (Some(7), 1000), "{reason}");
    assert_eq!(rest(&mut look).await.2, 1000);
    let mut console = terminal(&world, "console", "web-1").await;
    assert_eq!(rest(&mut console).await.2, 4502);
    world.agent().says(&format!("start it with `{brand} start web-1`")).await;
}

async fn programs(brand: &'static str) {
    let engine = Engine::start(brand).await;
    engine.run("web-1", &[], &["/bin/sleep", "1000"]).await;
    let mut world = World::new();
    world.agent_config = "[limits]\ndrain_timeout = '0s'\n".into();
    world.targets = [
            engine.table("shell", "action = 'exec'\ncontainers = ['web-*']\nargv = ['/bin/sh']"),
            engine.table(
                "both",
                "action = 'exec'\ncontainers = ['*']\ntty = false\nuser = '7'\ncwd = '/tmp'\nenv = { A = 'b c' }\n\
                 argv = ['/bin/sh', '-c', 'read line; id -u; pwd; echo \"$A $line\"; echo wrong >&2; exit 3']",
            ),
            engine.table("deaf", "action = 'exec'\ncontainers = ['web-1']\nargv = ['/bin/cat']\ntty = false"),
            engine.table("flood", "action = 'exec'\ncontainers = ['web-1']\nargv = ['/bin/yes']"),
            engine.table(
                "stubborn",
                "action = 'exec'\ncontainers = ['web-1']\n\
                 argv = ['/bin/sh', '-c', 'trap true HUP; echo ready; while true; do sleep 1; done']",
            ),
            engine.table("nothing", "action = 'exec'\ncontainers = ['web-1']\nargv = ['/bin/nothing']"),
        ]
        .concat();
    world.start().await;
    let mut shell = terminal(&world, "shell", "web-1").await;
    shell.is_answered().await;
    let mut size = String::new();
    while !size.contains("33 101") {
        size = type_until(&mut shell, "stty size; echo $TERM +$((6*7))+\r", "+42+\r\n").await;
    }
    assert!(size.contains("xterm-256color"), "{size:?}");
    shell.send(b"exit 5\r".to_vec()).await;
    let (_, status, code, reason) = rest(&mut shell).await;
    assert_eq!((status, code), (Some(5), 1000), "{reason}");

    let mut both = terminal(&world, "both", "web-1").await;
    both.send(b"typed\n".to_vec()).await;
    let (said, status, code, reason) = rest(&mut both).await;
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!((lines, status, code), (vec!["/tmp", "7", "b c typed", "wrong"], Some(3), 1000), "{reason}");

    // The end of the input arrives, and no input is lost before it.
    let mut deaf = terminal(&world, "deaf", "web-1").await;
    deaf.send(b"all of it".to_vec()).await;
    deaf.send_text(r#"{"type":"eof"}"#).await;
    let (said, status, code, reason) = rest(&mut deaf).await;
    assert_eq!((said.as_str(), status, code), ("all of it", Some(0), 1000), "{reason}");

    // When a client leaves, its program ends in any state.
    let mut shell = terminal(&world, "shell", "web-1").await;
    shell.is_answered().await;
    type_until(&mut shell, "echo $((7*7)); sleep 1001\r", "\n49").await;
    let mut flood = terminal(&world, "flood", "web-1").await;
    flood.read_until("y\r\ny").await;
    let mut stubborn = terminal(&world, "stubborn", "web-1").await;
    stubborn.read_until("ready").await;
    assert!(engine.processes("web-1").await >= 5);
    for client in [shell, flood, stubborn] {
        client.close().await;
    }
    let deadline = std::time::Instant::now() + ENGINE;
    while engine.processes("web-1").await > 1 {
        assert!(std::time::Instant::now() < deadline, "{}", world.agent().said());
    }
    assert!(!world.agent().said().contains("goes on in container"), "{}", world.agent().said());

    let mut nothing = terminal(&world, "nothing", "web-1").await;
    let (said, status, code, reason) = rest(&mut nothing).await;
    println!("{brand}, no such program: {said:?} {status:?} {code} {reason:?}");
    assert!(code == 4502 || matches!(status, Some(126 | 127)), "{code} {status:?} {reason}");

    // The same when the agent stops.
    let mut stubborn = terminal(&world, "stubborn", "web-1").await;
    stubborn.read_until("ready").await;
    world.agent().signal(Signal::SIGTERM);
    assert_eq!(stubborn.rest().await.1, 1001);
    assert_eq!(world.agent.as_mut().unwrap().ended().await, 0);
    // The cell of a split agent needs a moment more.
    let deadline = std::time::Instant::now() + ENGINE;
    while engine.processes("web-1").await != 1 {
        assert!(std::time::Instant::now() < deadline, "{}", world.agent().said());
    }
}

async fn logs(brand: &'static str) {
    let engine = Engine::start(brand).await;
    let script = "for n in 1 2 3 4; do echo line $n; done; echo \"\x1b]0;title\x07\"; trap 'exit 0' TERM; \
        while true; do if [ -e /tmp/say ]; then rm /tmp/say; echo said; echo other; echo wrong >&2; fi; sleep 0.1; done";
    engine.run("web-1", &["--label", "team=web", "--label", "log=public"], &["/bin/sh", "-c", script]).await;
    let world = World::with(
        &[
            engine.table("log", "action = 'logs'\nlabels = { log = 'public', team = 'w*' }\nlines = 2"),
            engine.table("timed", "action = 'logs'\ncontainers = ['web-1']\ntimestamps = true"),
            engine.table("closed", "action = 'logs'\nlabels = { log = 'private' }"),
        ]
        .concat(),
    )
    .await;
    let mut log = terminal(&world, "log", "web-1").await;
    // Control characters are made visible.
    let said = log.read_until("title").await;
    assert!(said.contains("line 4\n^[]0;title"), "{said:?}");
    assert!(!said.contains("line 2") && !said.contains('\x1b'), "{said:?}");
    log.send_text(r#"{"type":"filter","pattern":"^said"}"#).await;
    log.send_text(r#"{"type":"since","time":1}"#).await;
    engine.does(&["exec", "web-1", "touch", "/tmp/say"]).await;
    let said = log.read_until("said\n").await;
    assert!(!said.contains("other"), "{said:?}");
    log.send_text(r#"{"type":"filter","pattern":""}"#).await;
    log.send_text(r#"{"type":"since","time":1}"#).await;
    let said = log.read_until("wrong\n").await;
    assert!(said.contains("line 1\n"), "{said:?}");
    let mut timed = Client::connect(&world.url("timed").await, &[]).await;
    let said = timed.read_until("line 4").await;
    assert!(said.contains("T") && said.contains("Z line 3"), "{said:?}");

    let mut closed = terminal(&world, "closed", "web-1").await;
    assert_eq!(rest(&mut closed).await.2, 4403);
    world.agent().says("does not have the label log=private").await;
    engine.does(&["stop", "--time=5", "web-1"]).await;
    let (_, _, code, reason) = rest(&mut log).await;
    assert_eq!((code, reason.as_str()), (1000, "target ended"));
    assert_eq!(timed.rest().await.1, 1000);
}

async fn ends(brand: &'static str) {
    let engine = Engine::start(brand).await;
    let id = engine.run("web-1", &["--tty", "--interactive"], &["/bin/sh"]).await;
    engine
        .run("web-2", &["--interactive"], &["/bin/sh", "-c", "read a; read b; echo $a; echo $b >&2; exit 4"])
        .await;
    let world = World::with(
        &[
            engine.table("console", "action = 'attach'\ncontainers = ['*']"),
            engine.table("log", "action = 'logs'\ncontainers = ['*']"),
        ]
        .concat(),
    )
    .await;
    // The container keeps reading when one of its clients ends its input.
    let mut first = terminal(&world, "console", "web-2").await;
    let mut second = terminal(&world, "console", "web-2").await;
    started(&world, 2).await;
    first.send(b"from one\n".to_vec()).await;
    first.send_text(r#"{"type":"eof"}"#).await;
    second.send(b"from two\n".to_vec()).await;
    for client in [&mut first, &mut second] {
        let (said, status, code, reason) = rest(client).await;
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!((lines, status, code), (vec!["from one", "from two"], Some(4), 1000), "{reason}");
    }

    // An ID, or the start of one, is not a name.
    for which in [&id[..], &id[..6], "nobody"] {
        let mut client = terminal(&world, "console", which).await;
        assert_eq!(rest(&mut client).await.2, 4502);
        world.agent().says(&format!("has no container {which}: `{brand} ps --all`")).await;
    }
    let mut console = terminal(&world, "console", "web-1").await;
    console.is_answered().await;
    let mut log = terminal(&world, "log", "web-1").await;
    log.read_until("42").await;
    engine.does(&["restart", "--time=0", "web-1"]).await;
    for client in [&mut console, &mut log] {
        let (_, status, code, reason) = rest(client).await;
        println!("{brand}, restarted: {status:?} {code} {reason:?}");
        assert_eq!((code, reason.as_str()), (4502, "the container was restarted"));
    }
    // The name opens the new container.
    let mut console = terminal(&world, "console", "web-1").await;
    console.is_answered().await;
    engine.does(&["pause", "web-1"]).await;
    let mut paused = terminal(&world, "console", "web-1").await;
    assert_eq!(rest(&mut paused).await.2, 4502);
    world.agent().says(&format!("let it go on with `{brand} unpause web-1`")).await;
    engine.does(&["unpause", "web-1"]).await;
    engine.does(&["rm", "--force", "web-1"]).await;
    let (_, status, code, reason) = rest(&mut console).await;
    println!("{brand}, removed: {status:?} {code} {reason:?}");
    // Killed first: its exit status may be seen before it is gone.
    assert!(code == 4502 || status == Some(137), "{code} {status:?} {reason}");
}

macro_rules! for_both {
    ($($what:ident),+) => {
        mod docker {
            $(#[tokio::test] async fn $what() { super::$what("docker").await; })+
        }
        mod podman {
            $(#[tokio::test] async fn $what() { super::$what("podman").await; })+
        }
    };
}

for_both!(found, consoles, programs, logs, ends);
