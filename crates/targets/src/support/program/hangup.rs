//! Handles terminals that are hung up while their program lives. login(1) hangs up its own terminal with vhangup(2) and
//! opens it again, and a program may close its terminal and open it later. No event reports when a terminal is back, so
//! it is polled. The runtime considers its descriptor closed forever, so it is registered a second time.

use std::time::Duration;

use nix::unistd::write;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::pty::WeakPty;
use crate::support::tasks::spawn;
use net::backoff::Backoff;

/// The first pause between two checks of the terminal, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_millis(250);

/// How many bytes may be typed at a terminal that is hung up: as many as the kernel accepts for one that nobody reads.
const ROOM: usize = 64 * 1024;

/// Bytes typed at a time.
const CHUNK: usize = 4096;

/// The pauses between checks of a terminal that is hung up.
pub(super) const PAUSES: Backoff = Backoff::new(FIRST_LOOK, LAST_LOOK);

/// Takes what is typed after the first hang-up, and types it when the terminal is back: a hang-up empties the terminal,
/// and would lose what is typed before it is open again.
pub(super) struct Later {
    pub(super) typed: DuplexStream,
    /// Ends with the terminal, or when everything was typed after the other end was closed.
    pub(super) delivered: JoinHandle<()>,
}

impl Later {
    pub(super) fn begin(terminal: WeakPty) -> Later {
        let (typed, taken) = duplex(ROOM);
        Later { typed, delivered: spawn(deliver(terminal, taken)) }
    }
}

async fn deliver(terminal: WeakPty, mut typed: DuplexStream) {
    let mut bytes = vec![0; CHUNK];
    let mut was_away = true;
    while let Ok(count @ 1..) = typed.read(&mut bytes).await {
        let mut rest = &bytes[..count];
        let mut pauses = PAUSES;
        while !rest.is_empty() {
            // Held only briefly, because the last one to hold the terminal keeps it open.
            let Some(pty) = terminal.upgrade() else { return };
            let is_away = pty.is_hung_up();
            if is_away || std::mem::replace(&mut was_away, false) {
                // A program that has just opened the terminal sets it up first, which may drop earlier input.
                was_away = is_away;
            } else if let Ok(n @ 1..) = write(pty.as_ref().get_ref(), rest) {
                rest = &rest[n..];
                pauses = PAUSES;
                continue;
            }
            drop(pty);
            sleep(pauses.wait()).await;
        }
    }
}
