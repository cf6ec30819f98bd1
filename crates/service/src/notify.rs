//! Reports to the service manager (sd_notify(3)): ready, reloading, stopping, a status line, and the watchdog's signs of
//! life. Does nothing without `$NOTIFY_SOCKET`.

mod socket;
mod watchdog;

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::warn;

use socket::send;

pub use watchdog::Watchdog;

/// The program is ready, or has finished a reload.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// A reload begins. [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // With Type=notify-reload, systemd ignores a reload without the time.
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(err) => warn!("cannot read the monotonic clock: {err}"),
    }
}

/// The program begins to stop. It may still drain streams.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// The line that `systemctl status` shows.
pub fn status(status: &str) {
    send(&[NotifyState::Status(&one_line(status))]);
}

/// How much time each request adds to the stop.
const EXTENSION: Duration = Duration::from_secs(60);

/// How often a request is sent: several times within an extension.
const EXTENSION_PERIOD: Duration = Duration::from_secs(10);

/// Requests more time to stop until it is dropped, so that `TimeoutStopSec=` does not end a drain that the owner allows
/// to take an hour. A program that hangs sends no requests.
#[derive(Debug)]
pub struct StopExtension(JoinHandle<()>);

impl StopExtension {
    pub fn start() -> StopExtension {
        extend_stop();
        StopExtension(tokio::spawn(async {
            loop {
                sleep(EXTENSION_PERIOD).await;
                extend_stop();
            }
        }))
    }
}

fn extend_stop() {
    send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX))]);
}

impl Drop for StopExtension {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A line break in the status would start another assignment.
fn one_line(status: &str) -> String {
    status.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// The environment is process-wide, so this test has a process of its own.
    #[test]
    #[ignore = "run by the_service_manager_receives_each_report"]
    fn in_a_process_of_its_own() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            ready("serving\nMAINPID=1");
            reloading();
            status("draining 2 streams");
            stopping("");
            let checks = AtomicU32::new(0);
            let health = move |_| {
                let check = checks.fetch_add(1, Ordering::Relaxed);
                async move {
                    match check {
                        0 | 2 => Ok(()),
                        1 | 3 => Err("bus task died".to_owned()),
                        _ => std::future::pending().await,
                    }
                }
            };
            let (wedged, mut is_wedged) = tokio::sync::mpsc::unbounded_channel();
            let on_change = move |trouble: Option<&str>| {
                status(trouble.unwrap_or("well"));
                if trouble.is_some_and(|trouble| trouble.contains("does not end")) {
                    let _ = wedged.send(());
                }
            };
            let watchdog = Watchdog::start(health, on_change).unwrap();
            is_wedged.recv().await.unwrap();
            drop(watchdog);
            status("end");
        });
    }

    #[test]
    fn the_service_manager_receives_each_report() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "notify::tests::in_a_process_of_its_own"])
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "20000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut received = Vec::new();
        while received.last().is_none_or(|last| last != "STATUS=end\n") {
            let mut buffer = [0; 256];
            let length = manager.recv(&mut buffer).unwrap();
            received.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        assert_eq!(received[0], "READY=1\nSTATUS=serving MAINPID=1\n");
        let monotonic = received[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(monotonic.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(received[2], "STATUS=draining 2 streams\n");
        assert_eq!(received[3], "STOPPING=1\nSTATUS=\n");
        // The first and third check are good. From the fifth on, checks do not return.
        let rest: Vec<&str> = received[4..].iter().map(|line| line.trim_end()).collect();
        let (died, wedged) = ("STATUS=bus task died", "STATUS=the check of our own health does not end");
        let expected = ["WATCHDOG=1", died, "WATCHDOG=1", "STATUS=well", died, wedged, "STATUS=end"];
        assert_eq!(rest, expected);
    }

    #[tokio::test]
    async fn without_a_watchdog_nothing_is_started() {
        assert!(Watchdog::start(|_| async { Ok(()) }, |_| {}).is_none());
        ready("without a socket");
    }
}
