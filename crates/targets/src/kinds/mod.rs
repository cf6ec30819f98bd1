//! One file or folder for each kind of target, and the list of them. No kind imports another.

mod container;
mod exec;
mod fifo;
mod file;
mod incus;
mod journal;
mod libvirt;
mod lxc;
mod machine;
mod qmp;
mod serial;
mod tcp;
mod unix;

use crate::kind::{Open, Settings};
use crate::registry::kinds;

use self::{
    container::Container, exec::Exec, fifo::Fifo, file::File, incus::Incus, journal::Journal,
    libvirt::Libvirt, lxc::Lxc, machine::Machine, qmp::Qmp, serial::Serial, tcp::Tcp, unix::Unix,
};

kinds! {
    Tcp(Tcp),
    Unix(Unix),
    Fifo(Fifo),
    File(File),
    Journal(Journal),
    Exec(Exec),
    Libvirt(Libvirt),
    Qmp(Qmp),
    Serial(Serial),
    Lxc(Lxc),
    Incus(Incus),
    Machine(Machine),
    Container(Container),
}
