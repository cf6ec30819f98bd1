//! Sockets of QEMU: displays and serial lines.

use std::path::Path;

use crate::support::candidate::{Candidate, Findings, Group};
use crate::support::display::Display;
use crate::support::qemu::{Place, Vm, machines};

pub(super) fn discover() -> Findings {
    // A machine in a container has paths of its own.
    let is_there =
        |socket: &Candidate| socket.table["path"].as_str().is_some_and(|path| Path::new(path).exists());
    machines().iter().flat_map(|(_, vm)| of_machine(vm)).filter(is_there).map(Ok).collect()
}

fn of_machine(vm: &Vm) -> Vec<Candidate> {
    let screens = vm.screens.iter().filter_map(|(display, place)| {
        let Place::Socket(path) = place else { return None };
        let protocol = display.name().to_uppercase();
        let what = format!("{protocol} screen of {}", vm.name);
        let screen = socket(Group::Screen, &format!("{}-{display}", vm.name), what, path)?
            .with("view", display.name());
        Some(match display {
            // A connection for each of its channels.
            Display::Spice => screen.with("max_streams", 8),
            Display::Vnc => screen,
        })
    });
    let serials = vm.serials.iter().filter_map(|path| {
        let what = format!("serial line of {}", vm.name);
        Some(socket(Group::Console, &format!("{}-serial", vm.name), what, path)?.with("view", "terminal"))
    });
    screens.chain(serials).collect()
}

/// A socket whose path can be written in the configuration.
fn socket(group: Group, name: &str, what: String, path: &Path) -> Option<Candidate> {
    Some(Candidate::new(group, name, what).of("path", path.to_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_of_a_machine_is_a_target() {
        let vm = Vm {
            name: "web1".into(),
            screens: vec![
                (Display::Spice, Place::Socket("/run/s".into())),
                (Display::Vnc, Place::Port(5901)),
            ],
            serials: vec!["/run/t".into()],
        };
        let found = of_machine(&vm);
        let names: Vec<_> = found.iter().map(|candidate| candidate.name.as_str()).collect();
        assert_eq!(names, ["web1-spice", "web1-serial"]);
        for candidate in found.into_iter().map(|candidate| candidate.found_by("unix")) {
            crate::Target::from_table(&candidate.name, candidate.table).unwrap();
        }
    }
}
