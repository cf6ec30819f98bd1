//! Virtual machines that run as programs of their own, by the arguments of QEMU.

use std::path::PathBuf;

use super::display::Display;
use super::processes::{RunningProcess, processes};

/// The folder of libvirt, which occurs in the arguments of its machines.
const LIBVIRT: &str = "/var/lib/libvirt/";

/// The port of VNC's display 0.
const FIRST_VNC: u16 = 5900;

/// Where QEMU listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Socket(PathBuf),
    Port(u16),
}

/// A virtual machine, and what of it has a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vm {
    pub(crate) name: String,
    pub(crate) screens: Vec<(Display, Place)>,
    /// Sockets of serial lines.
    pub(crate) serials: Vec<PathBuf>,
}

/// The machines that run, but for those of libvirt, which opens their displays itself.
pub(crate) fn machines() -> Vec<(RunningProcess, Vm)> {
    let programs = processes().into_iter().filter(|process| process.name.starts_with("qemu-system-"));
    programs.filter_map(|process| Vm::read(&process.arguments()).map(|vm| (process, vm))).collect()
}

impl Vm {
    fn read(arguments: &[String]) -> Option<Vm> {
        if arguments.iter().any(|argument| argument.contains(LIBVIRT)) {
            return None;
        }
        let mut vm = Vm { name: "vm".to_owned(), ..Vm::default() };
        for pair in arguments.windows(2) {
            let (option, value) = (pair[0].trim_start_matches('-'), pair[1].as_str());
            if !pair[0].starts_with('-') {
                continue;
            }
            match option {
                "name" => vm.name = value.split(',').next().map(bare_name).unwrap_or_default(),
                "vnc" => vm.screens.extend(vnc(value).map(|place| (Display::Vnc, place))),
                "spice" => vm.screens.extend(spice(value).map(|place| (Display::Spice, place))),
                "serial" => vm.serials.extend(socket(value)),
                _ => {}
            }
        }
        Some(vm)
    }
}

fn bare_name(value: &str) -> String {
    value.strip_prefix("guest=").unwrap_or(value).to_owned()
}

/// The socket in `unix:PATH,…`, if its path is absolute: others are relative to QEMU's directory.
fn socket(value: &str) -> Option<PathBuf> {
    let path = PathBuf::from(value.strip_prefix("unix:")?.split(',').next()?);
    path.is_absolute().then_some(path)
}

fn vnc(value: &str) -> Option<Place> {
    let (_host, display) = value.split(',').next()?.rsplit_once(':')?;
    let port = || FIRST_VNC.checked_add(display.parse().ok()?).map(Place::Port);
    socket(value).map(Place::Socket).or_else(port)
}

fn spice(value: &str) -> Option<Place> {
    let part = |key: &str| value.split(',').find_map(|part| part.strip_prefix(key));
    match part("port=") {
        Some(port) => port.parse().ok().filter(|port| *port != 0).map(Place::Port),
        None => part("addr=").filter(|path| path.starts_with('/')).map(|path| Place::Socket(path.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(line: &str) -> Option<Vm> {
        Vm::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn displays_and_serial_lines_are_read_from_the_arguments() {
        let found = vm(
            "qemu-system-x86_64 -name guest=web1,debug-threads=on -vnc unix:/run/vm/web1.vnc -serial \
                        unix:/run/vm/web1.serial,server=on,wait=off -spice unix=on,addr=/run/vm/web1.spice,disable-ticketing=on",
        );
        let socket = |path: &str| Place::Socket(path.into());
        let screens =
            vec![(Display::Vnc, socket("/run/vm/web1.vnc")), (Display::Spice, socket("/run/vm/web1.spice"))];
        let serials = vec![PathBuf::from("/run/vm/web1.serial")];
        assert_eq!(found, Some(Vm { name: "web1".into(), screens, serials }));
        let ports = vm("qemu -name db -vnc 127.0.0.1:3,to=9 -spice port=5931,addr=127.0.0.1").unwrap();
        assert_eq!((ports.name.as_str(), ports.serials.len()), ("db", 0));
        let (vnc, spice) = ((Display::Vnc, Place::Port(5903)), (Display::Spice, Place::Port(5931)));
        assert_eq!(ports.screens, [vnc, spice]);
        for none in [
            "-vnc none",
            "-vnc :70000",
            "-vnc unix:web1.vnc",
            "-spice port=0",
            "-spice addr=127.0.0.1",
            "-serial pty",
        ] {
            let vm = vm(&format!("qemu {none}")).unwrap();
            assert_eq!((vm.screens, vm.serials), (vec![], vec![]), "{none}");
        }
        assert_eq!(vm("qemu -name web1 -object file=/var/lib/libvirt/qemu/key -vnc :1"), None);
    }
}
