//! The same screens through a split agent: the one of libvirt by a cell, the one of QEMU's monitor by the opener itself.

use crate::daemon::Libvirt;
use crate::qmp::Machine;
use crate::world::World;

const UUID: &str = "5f0e1b52-0c1a-4a9b-8f57-8a1f4c0b7c21";

#[tokio::test]
async fn a_split_agent_opens_screens_that_have_no_port() {
    let libvirt = Libvirt::new().await;
    libvirt.start("web1", UUID, "<graphics type='vnc'><listen type='none'/></graphics>").await;
    let machine = Machine::new(&["-vnc", "none"]).await;
    let mut world = World::new();
    world.split = true;
    world.targets = format!(
        "[target.domain]\n{}\n[target.monitor]\n{}\n",
        libvirt.table("domains = ['web1']"),
        machine.table("display = 'vnc'")
    );
    world.start().await;
    for target in ["domain", "monitor"] {
        let mut client = world.open(target).await;
        assert_eq!(client.read(12).await, b"RFB 003.008\n", "{target}: {}", world.agent().said());
    }
}
