//! The watchdog of a unit (`WatchdogSec=`): signs of life while the program is healthy.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::socket::send;

/// Sends signs of life until it is dropped, at half the interval that the unit's `WatchdogSec=` allows.
#[derive(Debug)]
pub struct Watchdog(JoinHandle<()>);

impl Watchdog {
    /// `None` if the unit has no watchdog.
    ///
    /// `health` gets the time that it may take. While it returns an error or does not return, there are no signs of
    /// life, so that systemd restarts the program. `on_change` gets the error, and `None` when it is over. Keep the
    /// watchdog until after the drain, which systemd watches, too.
    pub fn start<F>(
        health: impl Fn(Duration) -> F + Send + 'static,
        on_change: impl Fn(Option<&str>) + Send + 'static,
    ) -> Option<Watchdog>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero())?;
        Some(Watchdog(tokio::spawn(signs_of_life(allowed / 2, health, on_change))))
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
    on_change: impl Fn(Option<&str>),
) {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble: Option<String> = None;
    loop {
        tick.tick().await;
        // A slow check still leaves time for the sign of life.
        let checked = timeout(period * 3 / 4, health(period / 2)).await;
        let found = checked.unwrap_or_else(|_| Err("the check of our own health does not end".into())).err();
        match &found {
            None => send(&[NotifyState::Watchdog]),
            Some(found) if trouble.as_ref() != Some(found) => {
                warn!("no sign of life for the watchdog: {found}");
                on_change(Some(found));
            }
            Some(_) => {}
        }
        if found.is_none() && trouble.is_some() {
            info!("signs of life for the watchdog again");
            on_change(None);
        }
        if found.is_some() {
            // Checks again before systemd's time is over: one slow answer must not end all streams.
            tick.reset_after(period / 8);
        }
        trouble = found;
    }
}
