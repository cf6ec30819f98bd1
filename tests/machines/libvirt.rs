//! The screens of a real libvirt's machines, found by name.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::{Uid, setfsuid};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::{ends, greets_as_vnc, links_as_spice, open, refusal, target};
use crate::daemon::{LIBVIRT, Libvirt};
use crate::world::{Client, Process, World, eventually};

const UUID: &str = "3e86282f-62e6-418f-88a0-5c110223d97b";
const OTHER: &str = "4f97393a-73f7-4290-99b1-6d2213341a8c";

const BOTH: &str = "<graphics type='spice'><listen type='none'/></graphics>\
    <graphics type='vnc'><listen type='none'/></graphics>";

#[tokio::test]
async fn screens_open_by_name_without_a_port() {
    let libvirt = Libvirt::new().await;
    libvirt.start("web-1", UUID, BOTH).await;
    let shown = libvirt.virsh(&["domdisplay", "--all", "web-1"]).await;
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "", "nothing listens");

    let web = [("domain", "web-1")];
    let spice = target(&libvirt.table("domains = ['web-*']\ndisplay = 'spice'"));
    let (a, b, c, d) =
        tokio::join!(open(&spice, &web), open(&spice, &web), open(&spice, &web), open(&spice, &web));
    for opened in [a, b, c, d] {
        links_as_spice(&mut opened.unwrap()).await;
    }
    let vnc = target(&libvirt.table("domains = ['db-*', 'web-*']\ndisplay = 'vnc'"));
    assert_eq!(greets_as_vnc(&mut open(&vnc, &web).await.unwrap()).await, [1]);
    // The first display that there is, and the only name.
    let first = target(&libvirt.table("domains = ['web-1']"));
    links_as_spice(&mut open(&first, &[]).await.unwrap()).await;
    assert_eq!(
        first.probe().await.unwrap(),
        format!("domain web-1 with UUID {UUID} runs and has a spice display")
    );
    assert_eq!(vnc.probe().await.unwrap(), "libvirt lets this user open qemu:///system");

    for name in ["db", "mail-1", "web-1/../db-1", "web 1", "-web-1", ""] {
        let given = [("domain".to_owned(), name.to_owned())].into();
        assert_eq!(spice.bind(&given).err().unwrap().name, "domain", "{name}");
    }
    assert!(spice.bind(&[].into()).is_err(), "no name where there are many");
}

#[tokio::test]
async fn a_machine_made_anew_is_another_machine() {
    let libvirt = Libvirt::new().await;
    libvirt.start("web-1", UUID, BOTH).await;
    let any = target(&libvirt.table("domains = ['web-*']"));
    let same = target(&libvirt.table(&format!("domains = ['web-*']\nuuids = ['{UUID}']")));
    let web = [("domain", "web-1")];
    let mut before = open(&same, &web).await.unwrap();
    links_as_spice(&mut before).await;
    libvirt.removed("web-1").await;
    ends(before).await;

    // Another machine now has the same display, but was not requested.
    libvirt.start("web-2", OTHER, BOTH).await;
    assert!(refusal(&any, &web).await.starts_with("libvirt has no domain web-1: `virsh list --all`"));
    // It has the same name, too.
    libvirt.removed("web-2").await;
    libvirt.start("web-1", OTHER, BOTH).await;
    let message = refusal(&same, &web).await;
    assert!(message.contains(OTHER) && message.contains("not in `uuids`"), "{message}");
    links_as_spice(&mut open(&any, &web).await.unwrap()).await;
    // The requested machine is back.
    libvirt.removed("web-1").await;
    libvirt.start("web-1", UUID, BOTH).await;
    links_as_spice(&mut open(&same, &web).await.unwrap()).await;
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let libvirt = Libvirt::new().await;
    libvirt.define("web-off", OTHER, BOTH).await;
    libvirt.start("web-1", UUID, "<graphics type='vnc'><listen type='none'/></graphics>").await;
    let web = target(&libvirt.table("domains = ['*']\ndisplay = 'spice'"));
    let cases = [
        ("web-off", "domain web-off is not running: start it with `virsh start web-off`"),
        ("web-9", "libvirt has no domain web-9: "),
        ("web-1", "domain web-1 has no spice display (it has vnc): add <graphics type='spice'>"),
    ];
    for (name, words) in cases {
        let message = refusal(&web, &[("domain", name)]).await;
        assert!(message.starts_with(words), "{message}");
    }
    let wrong = target(&libvirt.table("domains = ['web-1']\nuri = 'nothing:///system'"));
    let message = refusal(&wrong, &[]).await;
    assert!(
        message.contains("does not open nothing:///system") && message.ends_with("check `uri`"),
        "{message}"
    );
    let admin = libvirt.socket().replace("libvirt-sock", "libvirt-admin-sock");
    let message = refusal(&target(&format!("kind='libvirt'\ndomains=['a']\nsocket='{admin}'")), &[]).await;
    assert!(message.contains("does not answer as libvirt does"), "{message}");
    let readonly = libvirt.socket() + "-ro";
    let message =
        refusal(&target(&format!("kind='libvirt'\ndomains=['web-1']\nsocket='{readonly}'")), &[]).await;
    assert!(message.contains("libvirt does not"), "{message}");

    let socket = libvirt.socket();
    libvirt.daemon.kill().await;
    // Its namespace ends a moment after it.
    let is_gone = || std::os::unix::net::UnixStream::connect(&socket).is_err();
    eventually(is_gone, || "it still listens".to_owned()).await;
    let one = target(&format!("kind='libvirt'\ndomains=['web-1']\nsocket='{socket}'"));
    let message = refusal(&one, &[]).await;
    assert!(message.starts_with("libvirt is not running (connection refused on "), "{message}");
    std::fs::remove_file(&socket).unwrap();
    let message = refusal(&one, &[]).await;
    assert!(message.contains("does not exist): start virtqemud.socket or libvirtd.socket"), "{message}");
}

#[tokio::test]
async fn who_may_not_connect_is_told_the_group() {
    let settings = ["unix_sock_rw_perms = \"0660\"", "unix_sock_group = \"kvm\""];
    let libvirt = Libvirt::with(&settings).await;
    std::fs::set_permissions(libvirt.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let web = target(&libvirt.table("domains = ['web-1']"));
    // For this thread and those that it starts.
    setfsuid(Uid::from_raw(65534));
    let message = refusal(&web, &[]).await;
    setfsuid(Uid::from_raw(0));
    assert!(message.starts_with("permission denied on /"), "{message}");
    assert!(message.contains("add the service user to group kvm"), "{message}");
}

#[tokio::test]
async fn polkit_decides_who_may_use_libvirt() {
    let libvirt = Libvirt::with(&["--polkit", "nobody"]).await;
    std::fs::set_permissions(libvirt.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let all = target(&libvirt.table("domains = ['*']"));
    let as_user = async |uid| {
        act_as(uid);
        let done = all.probe().await;
        act_as(0);
        done.map_err(|error| error.message)
    };
    assert_eq!(as_user(65534).await.unwrap(), "libvirt lets this user open qemu:///system");
    // `games`, who is in every system and in no group of libvirt's.
    let message = as_user(5).await.unwrap_err();
    assert!(message.starts_with("libvirt does not let this user in ("), "{message}");
    assert!(message.contains("with `usermod -aG libvirt USER`"), "{message}");
}

/// Changes the user of this thread only, as its peers see it.
#[allow(unsafe_code)]
fn act_as(uid: nix::libc::uid_t) {
    let keep = nix::libc::uid_t::MAX;
    // SAFETY: it takes numbers, and changes only this thread.
    let done = unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, keep, uid, keep) };
    assert_eq!(done, 0);
}

#[tokio::test]
async fn a_display_with_a_password_asks_for_it_unless_the_owner_says_otherwise() {
    let libvirt = Libvirt::new().await;
    libvirt
        .start("web-1", UUID, "<graphics type='vnc' passwd='secret'><listen type='none'/></graphics>")
        .await;
    for (keys, offered) in [("", 2), ("skip_auth = true", 1)] {
        let target = target(&libvirt.table(&format!("domains = ['web-1']\n{keys}")));
        assert_eq!(greets_as_vnc(&mut open(&target, &[]).await.unwrap()).await, [offered], "{keys}");
    }
}

/// Through a platform, NATS, a relay and a host's agent: the client knows only a name.
#[tokio::test]
async fn a_grant_picks_the_machine() {
    let libvirt = Libvirt::new().await;
    libvirt.start("web-1", UUID, BOTH).await;
    let target = libvirt.table("domains = ['web-*']\ndisplay = 'vnc'");
    let world = World::with(&format!("[target.screens]\n{target}")).await;
    let ask = async |params: Value| {
        let wish = json!({ "host": "h1", "target": "screens", "params": params });
        world.api("POST", "/api/v1/sessions", wish).await
    };
    let (status, session) = ask(json!({ "domain": "web-1" })).await;
    assert_eq!(status, 201, "{session}");
    let mut client = Client::connect(session["url"].as_str().unwrap(), &[]).await;
    assert_eq!(client.read(12).await, b"RFB 003.008\n");
    for params in [json!({ "domain": "db-1" }), json!({}), json!({ "domain": "web-1", "uri": "x" })] {
        let (status, refusal) = ask(params).await;
        assert_eq!((status, &refusal["code"]), (409, &json!("params_not_allowed")), "{refusal}");
    }
}

/// A stock client, to which the target is a port: its channels find each other by a number that the server gives
/// to the first, so they all have to end in the same machine.
#[tokio::test]
async fn a_stock_spice_client_opens_all_its_channels() {
    let libvirt = Libvirt::new().await;
    libvirt.start("web-1", UUID, BOTH).await;
    let spice = Arc::new(target(&libvirt.table("domains = ['web-*']\ndisplay = 'spice'")));
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("spice://{}", port.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut client, _) = port.accept().await.unwrap();
            let spice = Arc::clone(&spice);
            tokio::spawn(async move {
                let opened = open(&spice, &[("domain", "web-1")]).await.unwrap();
                let mut machine = tokio::io::join(opened.output, opened.input.unwrap());
                let _ = copy_bidirectional(&mut client, &mut machine).await;
            });
        }
    });
    let mut command = Command::new("spicy-stats");
    command.arg("--uri").arg(uri);
    let client = Process::start(command, libvirt.dir.path().join("client"));
    let deadline = Instant::now() + LIBVIRT;
    loop {
        let answer = libvirt.does(&["qemu-monitor-command", "web-1", "{\"execute\":\"query-spice\"}"]).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let channels = answer["return"]["channels"].as_array().map_or(0, Vec::len);
        if channels >= 4 {
            break;
        }
        assert!(Instant::now() < deadline, "{answer}\n{}", client.said());
    }
    serving.abort();
}

#[tokio::test]
async fn domains_are_found_with_their_screens_and_serial_lines() {
    let libvirt = Libvirt::new().await;
    let serial = format!("{}/web-1.serial", libvirt.dir.path().display());
    let lines = format!("{BOTH}<serial type='unix'><source mode='bind' path='{serial}'/></serial>");
    libvirt.start("web-1", UUID, &lines).await;
    libvirt.define("db", OTHER, BOTH).await;
    // This libvirt is where that of the host would be, for this command only.
    let script = "mount -t tmpfs -o mode=755 none /run && mkdir /run/libvirt && ln -s \"$1\" /run/libvirt/libvirt-sock && exec \"$2\" \
                  --config /none target discover --json";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "-", &libvirt.socket(), crate::world::AGENT]);
    let output = tokio::time::timeout(LIBVIRT, command.output()).await.unwrap().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let found = found["found"].as_array().unwrap().iter();
    let mut what: Vec<&str> = found.clone().map(|one| one["what"].as_str().unwrap()).collect();
    what.retain(|what| what.contains("domain"));
    what.sort_unstable();
    let expected = [
        "SPICE screen of the domain db, which is off",
        "SPICE screen of the domain web-1",
        "VNC screen of the domain db, which is off",
        "VNC screen of the domain web-1",
        "serial line of the domain web-1",
    ];
    assert_eq!(what, expected, "{output:?}");
    let is_line = |one: &&Value| one["target"]["path"] == serial.as_str();
    assert_eq!(found.clone().find(is_line).unwrap()["target"]["kind"], "unix");
}

#[tokio::test]
async fn a_password_for_libvirt_itself_is_none_that_this_agent_has() {
    let libvirt = Libvirt::with(&["auth_unix_rw = \"sasl\""]).await;
    let message = refusal(&target(&libvirt.table("domains = ['web-1']")), &[]).await;
    assert!(message.contains("SASL"), "{message}");
}
