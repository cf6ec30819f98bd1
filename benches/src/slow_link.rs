//! A link of 20 Mbit/s and 20 ms each way into a network namespace: two TUN devices and a thread each way.
//!
//! In user space because not every kernel has netem.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

const BITS_PER_SECOND: f64 = 20e6;
const DELAY: Duration = Duration::from_millis(20);
/// What the narrow end queues before it drops: 100 ms of it, as a home router may have.
const QUEUE: Duration = Duration::from_millis(100);

nix::ioctl_write_int!(set_iff, b'T', 202);

/// The link; dropping it takes the namespace away.
pub struct SlowLink {
    namespace: String,
    /// This side's address.
    pub near: std::net::IpAddr,
}

impl SlowLink {
    /// Makes it. Needs root.
    ///
    /// # Errors
    /// When a device or the namespace cannot be made.
    pub fn new() -> anyhow::Result<SlowLink> {
        let id = std::process::id() % 250;
        let link =
            SlowLink { namespace: format!("stream-bench-{id}"), near: format!("10.77.{id}.1").parse()? };
        let (near, far) = (format!("sbn{id}"), format!("sbf{id}"));
        ip(&["netns", "add", &link.namespace])?;
        let (near_device, far_device) = (tun(&near)?, tun(&far)?);
        ip(&["link", "set", &far, "netns", &link.namespace])?;
        ip(&["address", "add", &format!("10.77.{id}.1/30"), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", &link.namespace, "address", "add", &format!("10.77.{id}.2/30"), "dev", &far])?;
        ip(&["-n", &link.namespace, "link", "set", &far, "up"])?;
        carry(near_device.try_clone()?, far_device.try_clone()?);
        carry(far_device, near_device);
        Ok(link)
    }

    /// Runs something whose sockets are at the far side.
    ///
    /// # Errors
    /// Those of `work`, or that the namespace cannot be entered.
    pub fn behind<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        let path = PathBuf::from("/run/netns").join(&self.namespace);
        thread::scope(|scope| {
            let far = scope.spawn(move || {
                setns(File::open(path)?, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
                work()
            });
            far.join().unwrap_or_else(|_| bail!("the far side panicked"))
        })
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.namespace]);
    }
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(args).output().context("run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Opens a TUN device without packet information.
fn tun(name: &str) -> anyhow::Result<File> {
    const IFF_TUN: u16 = 1;
    const IFF_NO_PI: u16 = 0x1000;
    let device = File::options().read(true).write(true).open("/dev/net/tun").context("open /dev/net/tun")?;
    // struct ifreq: a name of 16 bytes, then the flags.
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    // SAFETY: the kernel reads and writes an ifreq of 40 bytes at this address, which lives until after the call.
    unsafe { set_iff(device.as_raw_fd(), request.as_mut_ptr() as u64) }.context("make a TUN device")?;
    Ok(device)
}

/// Carries packets one way: each leaves when the ones before it are out, and arrives after the delay.
fn carry(mut from: File, mut to: File) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut free = Instant::now();
        let mut packet = vec![0; 65_536];
        while let Ok(n) = from.read(&mut packet) {
            let now = Instant::now();
            free = free.max(now);
            if free - now > QUEUE {
                continue;
            }
            free += Duration::from_secs_f64(n as f64 * 8.0 / BITS_PER_SECOND);
            if sender.send((free + DELAY, packet[..n].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, packet) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // A device that is gone takes nothing any more.
            if to.write_all(&packet).is_err() {
                return;
            }
        }
    });
}
