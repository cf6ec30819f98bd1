//! Viewers of the desktop: SPICE by a file through CONNECT over TLS, and both protocols by `open --viewer`.

use std::path::Path;

use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{Process, SOON, World, within};
use crate::{BROWSER, CHANNELS, GUEST, Screens, TYPED, picture};

/// A screen that nobody sees, with a number of its own.
struct Desk {
    number: String,
    _server: Process,
}

impl Desk {
    async fn start(world: &World) -> Desk {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-noreset"]);
        let server = Process::start(command, world.path("xvfb.log"));
        let number = || server.said().lines().find(|line| line.parse::<u32>().is_ok()).map(str::to_owned);
        within(GUEST, || number().is_some(), || format!("no display:\n{}", server.said())).await;
        Desk { number: format!(":{}", number().unwrap()), _server: server }
    }

    /// Lets a program use this screen only.
    fn on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let no_others = ["WAYLAND_DISPLAY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];
        for name in no_others {
            command.env_remove(name);
        }
        command.env("DISPLAY", &self.number).env("GDK_BACKEND", "x11").env("NO_AT_BRIDGE", "1")
    }

    async fn run(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = timeout(GUEST, self.on(command.args(args)).output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the screen shows text: the share of light pixels, in a thousand.
    async fn shows_text(&self, viewer: &Process) {
        let deadline = Instant::now() + BROWSER;
        loop {
            self.run("import", &["-window", "root", picture().to_str().unwrap()]).await;
            let picture = picture();
            let args =
                [picture.to_str().unwrap(), "-threshold", "50%", "-format", "%[fx:1000*mean]", "info:"];
            let light: f64 = self.run("convert", &args).await.trim().parse().unwrap();
            // A dialog alone has less.
            if light > 5.0 {
                return;
            }
            assert!(Instant::now() < deadline, "{light} in {}:\n{}", picture.display(), viewer.said());
            sleep(std::time::Duration::from_millis(300)).await;
        }
    }

    /// Types into the window under the pointer.
    async fn types(&self, text: &str, delay: u32) {
        // Over the guest's text, not over the window's frame.
        self.run("xdotool", &["mousemove", "300", "300", "click", "1"]).await;
        self.run("xdotool", &["type", "--delay", &delay.to_string(), text]).await;
        self.run("xdotool", &["key", "Return"]).await;
    }
}

/// remote-viewer with a copy of the file, which it deletes. With an authority, it has no other: it stands where the
/// system's certificates are, in a mount namespace.
fn remote_viewer(desk: &Desk, world: &World, name: &str, file: &Path, authority: Option<&Path>) -> Process {
    let copy = world.path(&format!("{name}.vv"));
    std::fs::copy(file, &copy).unwrap();
    let mut command = Command::new("unshare");
    let script = "[ -z \"$2\" ] || mount --bind \"$2\" /etc/ssl/certs/ca-certificates.crt; exec remote-viewer --spice-debug \"$1\"";
    command.args(["-m", "sh", "-ec", script, "sh"]).arg(copy).args(authority.or(Some(Path::new(""))));
    desk.on(&mut command);
    Process::start(command, world.path(&format!("{name}.log")))
}

impl Screens {
    /// Types a command until the guest answers, more slowly each time: QEMU's keyboard holds 16 bytes, and loses keys
    /// while an emulated guest gets no processor time.
    async fn types(&mut self, desk: &Desk, command: &str, answer: &str) {
        for delay in [80, 250] {
            desk.types(command, delay).await;
            if timeout(SOON, self.guest_says(answer)).await.is_ok() {
                return;
            }
        }
        desk.types(command, 600).await;
        self.guest_says(answer).await;
    }

    async fn with_tls() -> Screens {
        let mut world = World::new();
        world.tls = true;
        let (cert, key) = world.certificate("relay/tls", &format!("IP:{}", world.ip));
        assert!(cert.ends_with("relay/tls.crt") && key.ends_with("relay/tls.key"));
        Screens::in_world(world).await
    }
}

#[tokio::test]
async fn remote_viewer_opens_a_file_through_the_relay() {
    let mut screens = Screens::with_tls().await;
    let desk = Desk::start(&screens.world).await;
    let file = screens.world.path("screen.vv");
    let mut open = screens.world.open_command(&["h1", "spice", "--vv", file.to_str().unwrap()]);
    let output = open.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(
        out.contains("screen.vv: good until ") && err.contains("viewers trust the system's"),
        "{out}{err}"
    );
    let authority = screens.world.path("relay/tls.crt");

    // A certificate that the system does not know: nothing is sent, so the session stays unused.
    let stranger = remote_viewer(&desk, &screens.world, "stranger", &file, None);
    stranger.says("Connect error").await;
    println!(
        "without the authority: {}",
        stranger.said().lines().find(|line| line.contains("open host")).unwrap()
    );
    stranger.kill().await;

    let viewer = remote_viewer(&desk, &screens.world, "viewer", &file, Some(&authority));
    screens.has_spice_channels(CHANNELS.len()).await;
    desk.shows_text(&viewer).await;
    screens.types(&desk, "echo typed-$((6*7)) > /dev/ttyS0", TYPED).await;
    desk.shows_text(&viewer).await;
    assert_eq!(screens.world.metric("stream_relay_streams").await, CHANNELS.len() as f64);
    assert!(!screens.world.path("viewer.vv").exists(), "the viewer did not delete its file");

    // The same file again, while the first viewer is there: refused, and the first stays.
    let second = remote_viewer(&desk, &screens.world, "second", &file, Some(&authority));
    screens.world.relay().says("a second viewer").await;
    second.says("main-1:0: channel disconnect").await;
    second.kill().await;
    screens.has_spice_channels(CHANNELS.len()).await;

    // And after its end.
    viewer.signal(Signal::SIGTERM);
    screens.world.metric_is("stream_relay_streams", 0.0).await;
    let third = remote_viewer(&desk, &screens.world, "third", &file, Some(&authority));
    third.says("HTTP proxy connection failed: 404").await;
    screens.world.relay().says("no host with this token").await;
}

#[tokio::test]
async fn nobody_uses_the_relay_as_a_proxy() {
    let screens = Screens::with_tls().await;
    let authority = screens.world.path("relay/tls.crt");
    let relay = screens.world.platform_url();
    for (address, status) in [
        ("http://169.254.169.254/latest/meta-data/", "403"),
        ("http://example.com:443/", "403"),
        (&format!("http://{}:8081/metrics", screens.world.admin_ip), "403"),
        (&format!("http://{}:1/", "a".repeat(52)), "404"),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "20", "--noproxy", "", "-p", "-w", "%{http_connect} %{size_download}"]);
        curl.args(["-x", &relay, address, "--proxy-cacert"]).arg(&authority);
        let output = curl.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, format!("{status} 0"), "{address}");
    }
}

#[tokio::test]
async fn open_starts_a_viewer_and_ends_with_it() {
    let mut screens = Screens::with_tls().await;
    let desk = Desk::start(&screens.world).await;
    for (target, program, streams) in [("spice", "remote-viewer", CHANNELS.len()), ("vnc", "vncviewer", 1)] {
        let mut command = screens.world.open_command(&["h1", target, "--viewer"]);
        desk.on(&mut command);
        let mut open = Process::start(command, screens.world.path(&format!("{target}.log")));
        // A viewer starts slowly on a busy machine.
        let deadline = Instant::now() + GUEST;
        while screens.world.metric("stream_relay_streams").await != streams as f64 {
            assert!(Instant::now() < deadline, "{}", open.said());
            sleep(std::time::Duration::from_millis(100)).await;
        }
        desk.shows_text(&open).await;
        let text = format!("echo {target}-$((6*7)) > /dev/ttyS0");
        screens.types(&desk, &text, &format!("{target}-42")).await;
        // The viewer is its only child.
        let children = format!("/proc/{}/task/{}/children", open.pid(), open.pid());
        let child: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        let name = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap();
        assert!(name.contains(program), "{name}");
        // What a user does to the window.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGTERM).unwrap();
        open.ended().await;
        screens.world.metric_is("stream_relay_streams", 0.0).await;
    }
    let mut without = screens.world.open_command(&["h1", "spice", "--viewer"]);
    let output = without.env("PATH", "").output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(69) && said.contains("install the package virt-viewer"), "{said}");
}
