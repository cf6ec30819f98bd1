//! Ordinary tools through `stream-relay open`.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::bulk::{Pattern, sha256};
use crate::world::{Process, RELAY, World};

/// How long a tool may take for its whole work.
const WORK: Duration = Duration::from_secs(120);

async fn output(mut command: Command) -> Output {
    command.kill_on_drop(true);
    timeout(WORK, command.output()).await.unwrap_or_else(|_| panic!("{command:?} takes too long")).unwrap()
}

/// Its output; fails unless it succeeds.
async fn said(command: Command) -> String {
    let what = format!("{command:?}");
    let output = output(command).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A program that uses a local port which leads to a target.
async fn listening(world: &World, target: &str) -> (Process, SocketAddr) {
    let command = world.open_command(&["h1", target, "--listen", "127.0.0.1:0"]);
    let process = Process::start(command, world.path(&format!("open-{target}.log")));
    process.says("listening at ").await;
    let address = process.said().lines().find_map(|line| line.strip_prefix("listening at ")?.parse().ok());
    (process, address.unwrap())
}

/// An ssh server with keys of its own, and a world in which it is a target.
struct Ssh {
    world: World,
    _server: Process,
}

impl Ssh {
    async fn start() -> Ssh {
        let mut world = World::new();
        world.targets = format!("[target.ssh]\nkind = 'tcp'\naddress = '{}:2222'\n", world.ip);
        let dir = world.dir.path().display().to_string();
        for key in ["host_key", "user_key"] {
            world.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &format!("{dir}/{key}")]);
        }
        let host_key = std::fs::read_to_string(world.path("host_key.pub")).unwrap();
        std::fs::write(world.path("known_hosts"), format!("h1 {host_key}")).unwrap();
        let config = format!(
            "ListenAddress {}:2222\nHostKey {dir}/host_key\nAuthorizedKeysFile {dir}/user_key.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            world.ip
        );
        std::fs::write(world.path("sshd_config"), config).unwrap();
        // The folder that sshd requires, in its own mount namespace.
        let script = "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(world.path("sshd_config"));
        let server = Process::start(command, world.path("sshd.log"));
        server.says("Server listening").await;
        world.start().await;
        Ssh { world, _server: server }
    }

    /// The words of an ssh command, up to the host.
    fn words(&self) -> Vec<String> {
        let dir = self.world.dir.path().display();
        let options = [
            format!("ProxyCommand={RELAY} open h1 ssh --stdio"),
            format!("UserKnownHostsFile={dir}/known_hosts"),
            format!("IdentityFile={dir}/user_key"),
            "StrictHostKeyChecking=yes".into(),
            "IdentitiesOnly=yes".into(),
            "BatchMode=yes".into(),
        ];
        let mut words = vec!["ssh".to_owned(), "-F".into(), "none".into()];
        words.extend(options.into_iter().flat_map(|option| ["-o".into(), option]));
        words
    }

    /// With the environment that `open` needs.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("STREAM_PLATFORM", self.world.platform_url());
        command.env("STREAM_API_KEY_FILE", self.world.path("api.key"));
        command.stdin(Stdio::null());
        command
    }

    fn ssh(&self, script: &str) -> Command {
        let mut command = self.command("ssh");
        command.args(&self.words()[1..]).args(["h1", script]);
        command
    }
}

#[tokio::test]
async fn ssh_runs_commands_and_carries_bytes() {
    let ssh = Ssh::start().await;
    let ran = output(ssh.ssh("echo out; echo err >&2; exit 7")).await;
    let said = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!((ran.status.code(), said.0.as_ref(), said.1.as_ref()), (Some(7), "out\n", "err\n"));

    let file = ssh.world.path("bytes");
    let mut pattern = Pattern::new();
    let bytes: Vec<u8> = (0..64).flat_map(|_| pattern.next_piece().to_vec()).collect();
    std::fs::write(&file, &bytes).unwrap();
    let mut cat = ssh.ssh("cat");
    cat.stdin(std::fs::File::open(&file).unwrap());
    let came = output(cat).await;
    assert!(came.status.success(), "{}", String::from_utf8_lossy(&came.stderr));
    assert_eq!((came.stdout.len(), sha256(&came.stdout)), (64 << 20, sha256(&bytes)));

    // A client that trusts another key only is refused by ssh, not by us.
    std::fs::write(ssh.world.path("known_hosts"), "").unwrap();
    let refused = output(ssh.ssh("true")).await;
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Host key verification failed"));
    ssh.world.metric_is("stream_relay_streams", 0.0).await;
}

#[tokio::test]
async fn rsync_carries_a_tree_there_and_back() {
    let ssh = Ssh::start().await;
    let dir = ssh.world.dir.path().display().to_string();
    let mut pattern = Pattern::new();
    for n in 0..200 {
        let folder = ssh.world.path(&format!("tree/{}/{}", n % 7, n % 3));
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = &pattern.next_piece()[..n * n * 5];
        std::fs::write(folder.join(format!("file {n} ü")), bytes).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", ssh.world.path("tree/link")).unwrap();
    let shell: Vec<String> = ssh.words().iter().map(|word| format!("'{word}'")).collect();
    let rsync = async |from: &str, to: &str| {
        let mut command = ssh.command("rsync");
        command.args(["-a", "--stats", "-e", &shell.join(" "), from, to]);
        said(command).await
    };
    rsync(&format!("{dir}/tree/"), &format!("h1:{dir}/there/")).await;
    rsync(&format!("h1:{dir}/there/"), &format!("{dir}/back/")).await;
    ssh.world.run("diff", &["-r", "--no-dereference", &format!("{dir}/tree"), &format!("{dir}/back")]);
    let again = rsync(&format!("{dir}/tree/"), &format!("h1:{dir}/there/")).await;
    assert!(again.contains("Number of regular files transferred: 0"), "{again}");
}

#[tokio::test]
async fn redis_on_a_unix_socket_is_benchmarked() {
    let mut world = World::new();
    // The benchmark opens new connections before its previous ones are closed.
    world.targets = "[target.redis]\nkind = 'unix'\npath = 'DIR/redis.sock'\nmax_streams = 32\n".into();
    let mut command = Command::new("redis-server");
    let socket = world.path("redis.sock");
    command
        .args(["--port", "0", "--save", "", "--dir"])
        .arg(world.dir.path())
        .arg("--unixsocket")
        .arg(&socket);
    let server = Process::start(command, world.path("redis.log"));
    server.says("ready to accept connections").await;
    world.start().await;
    let (_open, address) = listening(&world, "redis").await;
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
    command.args([
        "-n",
        "2000",
        "-c",
        "8",
        "-P",
        "4",
        "-d",
        "1000",
        "-t",
        "set,get,lpush,lrange_100",
        "--csv",
    ]);
    let said = said(command).await;
    println!("{said}");
    for test in ["SET", "GET", "LPUSH", "LRANGE_100"] {
        assert!(said.contains(&format!("\"{test}")), "{test}: {said}");
    }
    assert!(!said.to_lowercase().contains("error"), "{said}");
    world.metric_is("stream_relay_streams", 0.0).await;
}

#[tokio::test]
async fn iperf3_measures_both_directions() {
    let mut world = World::new();
    world.targets = format!("[target.iperf]\nkind = 'tcp'\naddress = '{}:5201'\n", world.ip);
    let mut command = Command::new("iperf3");
    command.args(["--server", "--bind", &world.ip, "--port", "5201", "--forceflush"]);
    let server = Process::start(command, world.path("iperf3.log"));
    server.says("Server listening").await;
    world.start().await;
    let (_open, address) = listening(&world, "iperf").await;
    for (direction, option) in [("up", "--parallel=2"), ("down", "--reverse")] {
        let mut command = Command::new("iperf3");
        command.args(["--client", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--time", "3", "--json", option]);
        let said = said(command).await;
        let report: serde_json::Value = serde_json::from_str(&said).unwrap();
        let rate = |which: &str| report["end"][which]["bits_per_second"].as_f64().unwrap() / 8e6;
        let (sent, received) = (rate("sum_sent"), rate("sum_received"));
        println!("iperf3 {direction}: {sent:.0} MB/s sent, {received:.0} MB/s received");
        assert!(received > 1.0, "{said}");
    }
    world.metric_is("stream_relay_streams", 0.0).await;
}
