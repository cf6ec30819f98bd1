//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, a status line and
//! the watchdog's signs of life. Without `$NOTIFY_SOCKET` all of it does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::LazyLock;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

/// The program does its work; also said when a reload is done.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// A reload begins; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // With Type=notify-reload systemd ignores the one without the other.
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(err) => warn!("cannot read the monotonic clock: {err}"),
    }
}

/// The program ends; streams may still be drained.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// The line that `systemctl status` shows.
pub fn status(status: &str) {
    send(&[NotifyState::Status(&one_line(status))]);
}

/// How much longer than up to now a stop may take, each time we ask for it.
const MORE: Duration = Duration::from_secs(60);

/// How often we ask: several times, before a time that was granted is over.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Asks for more time to stop, again and again until dropped: a drain of an owner who allows it an hour is not ended by
/// `TimeoutStopSec=`. A program that hangs asks no more.
#[derive(Debug)]
pub struct Patience(JoinHandle<()>);

impl Patience {
    /// Asks from now on.
    pub fn ask() -> Patience {
        ask_for_more();
        Patience(tokio::spawn(async {
            loop {
                sleep(ASK_EVERY).await;
                ask_for_more();
            }
        }))
    }
}

fn ask_for_more() {
    send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(MORE.as_micros()).unwrap_or(u32::MAX))]);
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Signs of life until dropped, at half the time that the unit's `WatchdogSec=` allows.
#[derive(Debug)]
pub struct Watchdog(JoinHandle<()>);

impl Watchdog {
    /// Starts the signs of life; `None` when the unit has no watchdog.
    ///
    /// No sign is given while `health`, which is told how long it may take, says what is wrong or does not
    /// end, so that systemd restarts the program. `told` hears what is wrong, and `None` when it is mended.
    /// Keep the watchdog until after the drain: systemd watches that too.
    pub fn start<F>(
        health: impl Fn(Duration) -> F + Send + 'static,
        told: impl Fn(Option<&str>) + Send + 'static,
    ) -> Option<Watchdog>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero())?;
        Some(Watchdog(tokio::spawn(signs_of_life(allowed / 2, health, told))))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn signs_of_life<F: Future<Output = Result<(), String>>>(
    period: Duration,
    health: impl Fn(Duration) -> F,
    told: impl Fn(Option<&str>),
) {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble: Option<String> = None;
    loop {
        tick.tick().await;
        // A check that takes its time still leaves the sign in time.
        let asked = timeout(period * 3 / 4, health(period / 2)).await;
        let found = asked.unwrap_or_else(|_| Err("the check of our own health does not end".into())).err();
        match &found {
            None => send(&[NotifyState::Watchdog]),
            Some(found) if trouble.as_ref() != Some(found) => {
                warn!("no sign of life for the watchdog: {found}");
                told(Some(found));
            }
            Some(_) => {}
        }
        if found.is_none() && trouble.is_some() {
            info!("signs of life for the watchdog again");
            told(None);
        }
        if found.is_some() {
            // Once more before systemd's time is over: one slow answer is no reason to end all streams.
            tick.reset_after(period / 8);
        }
        trouble = found;
    }
}

/// A line break in a status would begin another assignment.
fn one_line(status: &str) -> String {
    status.replace(char::is_control, " ")
}

/// Connected once: a program that has run out of descriptors still gives its signs of life.
static MANAGER: LazyLock<Option<UnixDatagram>> = LazyLock::new(|| {
    let path = std::env::var_os("NOTIFY_SOCKET")?;
    connect(&path).inspect_err(|err| warn!("cannot reach the service manager: {err}")).ok()
});

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

fn send(states: &[NotifyState<'_>]) {
    let Some(manager) = &*MANAGER else { return };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    // A socket that was made anew is found by its path. Not being heard is no reason to stop serving; systemd has
    // timeouts of its own.
    if manager.send(text.as_bytes()).is_err()
        && let Err(err) = sd_notify::notify(states)
    {
        debug!("cannot notify the service manager: {err}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// The environment belongs to the whole process, so the variables are set for one of its own.
    #[test]
    #[ignore = "run by the_service_manager_hears_each_word"]
    fn in_a_process_of_its_own() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            ready("serving\nMAINPID=1");
            reloading();
            status("draining 2 streams");
            stopping("");
            let asked = AtomicU32::new(0);
            let health = move |_| {
                let asked = asked.fetch_add(1, Ordering::Relaxed);
                async move {
                    match asked {
                        0 | 2 => Ok(()),
                        1 | 3 => Err("bus task died".to_owned()),
                        _ => std::future::pending().await,
                    }
                }
            };
            let (wedged, mut is_wedged) = tokio::sync::mpsc::unbounded_channel();
            let told = move |trouble: Option<&str>| {
                status(trouble.unwrap_or("well"));
                if trouble.is_some_and(|trouble| trouble.contains("does not end")) {
                    let _ = wedged.send(());
                }
            };
            let watchdog = Watchdog::start(health, told).unwrap();
            is_wedged.recv().await.unwrap();
            drop(watchdog);
            status("end");
        });
    }

    #[test]
    fn the_service_manager_hears_each_word() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "daemon::notify::tests::in_a_process_of_its_own"])
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "20000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "STATUS=end\n") {
            let mut buffer = [0; 256];
            let length = manager.recv(&mut buffer).unwrap();
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        assert_eq!(heard[0], "READY=1\nSTATUS=serving MAINPID=1\n");
        let monotonic = heard[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(monotonic.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(heard[2], "STATUS=draining 2 streams\n");
        assert_eq!(heard[3], "STOPPING=1\nSTATUS=\n");
        // Well at the first and the third; from the fifth on there is no answer.
        let rest: Vec<&str> = heard[4..].iter().map(|line| line.trim_end()).collect();
        let (died, wedged) = ("STATUS=bus task died", "STATUS=the check of our own health does not end");
        let expected = ["WATCHDOG=1", died, "WATCHDOG=1", "STATUS=well", died, wedged, "STATUS=end"];
        assert_eq!(rest, expected);
    }

    #[tokio::test]
    async fn without_a_watchdog_nothing_is_started() {
        assert!(Watchdog::start(|_| async { Ok(()) }, |_| {}).is_none());
        ready("nobody listens");
    }
}
