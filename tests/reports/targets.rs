//! Targets: what local users, viewers and clients of a program must not reach.

use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::os::unix::net::UnixListener;

use nix::unistd::Uid;
use tokio::process::Command;

use crate::world::{AGENT, Process, World};

/// The user that owns nothing.
const NOBODY: u32 = 65534;

async fn agent(world: &World, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(AGENT);
    command.arg("--config").arg(world.path("agent/config.toml")).args(args);
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn root_runs_no_program_whose_owner_named_no_user() {
    let mut world = World::new();
    world.targets = "[target.sh]\nkind = 'exec'\nargv = ['/bin/sh']\nuser = 'root'\n".into();
    world.write_agent_config();
    assert_eq!(agent(&world, &["check-config"]).await.0, 0);
    let file = world.path("agent/targets.d/test.toml");
    let bare = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";
    if Uid::effective().is_root() {
        fs::write(&file, bare).unwrap();
        for command in ["check-config", "run"] {
            let (code, said) = agent(&world, &[command]).await;
            assert!(
                code == 78 && said.contains("[target.cat]") || said.contains("target.cat"),
                "{code} {said}"
            );
            assert!(said.contains("user = \"nobody\""), "{said}");
        }
    }
    // The drop-in for one would run the other as root.
    fs::write(&file, format!("{bare}[target.sh]\nkind = 'exec'\nargv = ['/bin/sh']\nuser = 'root'\n"))
        .unwrap();
    let (code, said) = agent(&world, &["targets", "--systemd-dropin"]).await;
    assert!(code == 78 && said.contains("cat") && !said.contains("User=root"), "{code} {said}");
}

#[tokio::test]
async fn a_link_that_a_local_user_can_turn_is_not_followed_to_a_socket() {
    if !Uid::effective().is_root() {
        return;
    }
    let mut world = World::new();
    let (real, srv) = (world.path("real.sock"), world.path("srv"));
    let listener = UnixListener::bind(&real).unwrap();
    chown(&real, None, Some(7)).unwrap();
    listener.set_nonblocking(true).unwrap();
    fs::create_dir(&srv).unwrap();
    chown(&srv, Some(NOBODY), Some(NOBODY)).unwrap();
    symlink(&real, srv.join("vm.sock")).unwrap();
    lchown(srv.join("vm.sock"), Some(NOBODY), Some(NOBODY)).unwrap();
    symlink(&srv, world.path("by-root")).unwrap();
    world.targets = "[target.screen]\nkind = 'unix'\npath = 'DIR/srv/vm.sock'\n\
                     [target.other]\nkind = 'unix'\npath = 'DIR/by-root/vm.sock'\n\
                     [target.line]\nkind = 'serial'\npath = 'DIR/srv/vm.sock'\n"
        .into();
    world.start().await;
    for target in ["screen", "other", "line"] {
        world.open(target).await.closed_with(4502).await;
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let (code, said) = agent(&world, &["targets", "--systemd-dropin"]).await;
    assert!(code == 0 && said.contains("symbolic link that others than root can turn"), "{said}");
    assert!(!said.contains("SupplementaryGroups") && !said.contains("DeviceAllow"), "{said}");
    // A link that root owns is followed.
    symlink(&real, world.path("root.sock")).unwrap();
    let (_, said) = agent(&world, &["test-dial", "--target", "screen"]).await;
    assert!(said.contains("name ") && !said.contains("follow_symlinks"), "{said}");
}

#[tokio::test]
async fn a_program_cannot_look_into_its_agent() {
    if !Uid::effective().is_root() {
        return;
    }
    let mut world = World::new();
    world.start_nats().await;
    world.start_relay().await;
    world.write_agent_config();
    for path in ["", "agent", "agent/config.toml", "agent/targets.d", "agent/config.d", "agent/issuers.d"] {
        chown(world.path(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for entry in ["agent/issuers.d/k1.pub", "agent/targets.d/test.toml"] {
        chown(world.path(entry), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let as_nobody = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", program]);
        command
    };
    let mut command = as_nobody(AGENT);
    command.arg("--config").arg(world.path("agent/config.toml")).arg("run").env("CANARY", "4712");
    let process = Process::start(command, world.path("agent.log"));
    process.says("subscribed to").await;
    let environ = async |pid: &str| {
        let output =
            as_nobody("cat").env("CANARY", "4712").arg(format!("/proc/{pid}/environ")).output().await;
        String::from_utf8(output.unwrap().stdout).unwrap().contains("CANARY=4712")
    };
    assert!(environ("self").await);
    assert!(!environ(&process.pid().to_string()).await);
    let mut descriptors = as_nobody("ls");
    descriptors.arg(format!("/proc/{}/fd", process.pid()));
    assert!(descriptors.output().await.unwrap().stdout.is_empty());
}

/// What `target discover` finds, by the proposed names.
async fn discovered(world: &World) -> std::collections::BTreeMap<String, serde_json::Value> {
    let (code, said) = agent(world, &["target", "discover", "--json"]).await;
    assert_eq!(code, 0, "{said}");
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    let found = found["found"].as_array().unwrap().iter();
    found.map(|one| (one["name"].as_str().unwrap().to_owned(), one["target"].clone())).collect()
}

#[tokio::test]
async fn screens_and_logs_of_running_programs_are_found_until_they_are_targets() {
    if !Uid::effective().is_root() {
        return;
    }
    let world = World::new();
    world.write_agent_config();
    let (vnc, socket) = (world.path("vnc.log"), world.path("screen"));
    let display = format!(":{}", 200 + std::process::id() % 800);
    let mut server = Command::new("Xtigervnc");
    // The port is the kernel's choice.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    server.args([&display, "-rfbport", &port, "-localhost", "-SecurityTypes", "None"]);
    let _server = Process::start(server, vnc);
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-name", "web1", "-S", "-machine", "none", "-display", "none", "-vnc"]);
    qemu.arg(format!("unix:{}", socket.display()));
    let _qemu = Process::start(qemu, world.path("qemu.log"));
    let logs = tempfile::Builder::new().prefix("stream-test-").tempdir_in("/var/log").unwrap();
    let log = logs.path().join("app.log");
    fs::write(&log, "a line\n").unwrap();
    let _open = fs::File::options().append(true).open(&log).unwrap();

    let folder = logs.path().file_name().unwrap().to_str().unwrap().to_owned();
    let name = format!("{folder}-app");
    let screen = format!("xtigervnc-{port}");
    let deadline = std::time::Instant::now() + crate::world::SOON;
    let found = loop {
        let found = discovered(&world).await;
        let is_of_qemu = |target: &serde_json::Value| target["path"] == serde_json::json!(socket);
        if found.contains_key(&screen) && found.values().any(is_of_qemu) && found.contains_key(&name) {
            break found;
        }
        assert!(std::time::Instant::now() < deadline, "{found:#?}");
    };
    assert_eq!(found[&screen]["address"], format!("127.0.0.1:{port}"));
    assert_eq!(found[&name], serde_json::json!({ "kind": "file", "path": log }));

    // The command that is printed makes it a target, and then it is none any more.
    let path = format!("path={}", log.display());
    let (code, said) = agent(&world, &["target", "add", &name, "file", &path]).await;
    assert_eq!(code, 0, "{said}");
    let found = discovered(&world).await;
    // Nor under another name.
    let is_log = |target: &serde_json::Value| target["path"] == serde_json::json!(log);
    assert!(!found.values().any(is_log) && found.contains_key(&screen), "{found:#?}");
    let (code, said) = agent(&world, &["target", "remove", &name]).await;
    assert_eq!(code, 0, "{said}");
    assert!(discovered(&world).await.contains_key(&name));
}
