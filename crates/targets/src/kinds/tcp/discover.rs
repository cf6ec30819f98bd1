//! Screens with a port: VNC servers, and QEMU's displays.

use std::net::SocketAddr;

use crate::support::candidate::{Candidate, Findings, Group};
use crate::support::display::Display;
use crate::support::processes::{listening, processes};
use crate::support::qemu::{Place, machines};

/// Programs that serve VNC, by the first 15 bytes of their names.
const VNC_SERVERS: [&str; 10] = [
    "Xvnc",
    "Xtigervnc",
    "Xtightvnc",
    "Xrealvnc",
    "x0vncserver",
    "x0tigervncserve",
    "x11vnc",
    "wayvnc",
    "vino-server",
    "krfb",
];

/// Ports of the same programs that are for a browser, and for programs of the X server.
fn serves_something_else(port: u16) -> bool {
    (5800..5900).contains(&port) || (6000..6064).contains(&port)
}

pub(super) fn discover() -> Findings {
    let listening = listening();
    let mut found = vec![];
    for server in processes().into_iter().filter(|process| VNC_SERVERS.contains(&process.name.as_str())) {
        let screens = server.listens(&listening).into_iter().filter(|at| !serves_something_else(at.port()));
        // One screen has an address of each family.
        let mut screens: Vec<SocketAddr> = screens.collect();
        screens.dedup_by_key(|at| at.port());
        found.extend(screens.into_iter().map(|at| Ok(screen(&server.name, Display::Vnc, at))));
    }
    for (process, vm) in machines() {
        let open = process.listens(&listening);
        for (display, place) in &vm.screens {
            let Place::Port(port) = place else { continue };
            let at = open.iter().find(|at| at.port() == *port);
            found.extend(at.map(|at| Ok(screen(&vm.name, *display, *at))));
        }
    }
    found
}

fn screen(of: &str, display: Display, at: SocketAddr) -> Candidate {
    let what = format!("{} screen of {of} on port {}", display.name().to_uppercase(), at.port());
    let name = format!("{}-{}", of.to_ascii_lowercase(), at.port());
    let mut screen =
        Candidate::new(Group::Screen, &name, what).of("address", at.to_string()).with("view", display.name());
    if !at.ip().is_loopback() {
        screen = screen.with("allow_remote", true);
    }
    match display {
        Display::Spice => screen.with("max_streams", 8),
        Display::Vnc => screen,
    }
}
