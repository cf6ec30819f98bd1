//! The openers behind a socket, as the network half asks them: it keeps one that has started already, and asks only some at a
//! time.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::wire::{Connection, Reply, Request};

/// How many may start at a time. systemd starts one after the other, so more would only wait there, also those that nobody
/// waits for any more.
const STARTING: usize = 8;

/// The pause before the next spare opener starts: the session that took the last one needs the processor now.
const SPARE_AFTER: Duration = Duration::from_millis(500);

/// The socket of the openers.
pub(crate) struct Openers {
    socket: PathBuf,
    starting: Semaphore,
    /// A connection that no session has used yet. The start of a process takes most of the time that a session needs.
    spare: Mutex<Option<Connection>>,
}

impl Openers {
    pub(crate) fn behind(socket: PathBuf) -> Openers {
        Openers { socket, starting: Semaphore::new(STARTING), spare: Mutex::default() }
    }

    /// Has a new opener answer a first request.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`], and those of the connection.
    pub(crate) async fn ask(&self, request: &Request, limit: Duration) -> io::Result<(Connection, Reply)> {
        let answer = async {
            let _starting = self.starting.acquire().await;
            let connection = Connection::to(&self.socket).await.map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", self.socket.display()))
            })?;
            match first_reply(&connection, request).await? {
                Some(reply) => Ok((connection, reply)),
                None => Err(io::Error::other("it ended at once: see journalctl -u 'stream-agent-open@*'")),
            }
        };
        let too_late =
            |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", limit.as_secs()));
        timeout(limit, answer).await.map_err(too_late)?
    }

    /// The same, by the spare opener if there is one.
    ///
    /// # Errors
    /// Those of [`Openers::ask`].
    pub(crate) async fn ask_spare(
        &self,
        request: &Request,
        limit: Duration,
    ) -> io::Result<(Connection, Reply)> {
        let spare = self.spare().take();
        if let Some(spare) = spare
            && let Ok(Ok(Some(reply))) = timeout(limit, first_reply(&spare, request)).await
        {
            return Ok((spare, reply));
        }
        self.ask(request, limit).await
    }

    /// Starts a spare opener after a moment, if there is none then.
    pub(crate) fn keep_spare(self: &Arc<Self>) {
        let openers = self.clone();
        tokio::spawn(async move {
            sleep(SPARE_AFTER).await;
            if openers.spare().is_some() {
                return;
            }
            // A spare is a convenience: whoever needs an opener reports what is wrong.
            if let Ok(connection) = Connection::to(&openers.socket).await {
                openers.spare().get_or_insert(connection);
            }
        });
    }

    fn spare(&self) -> MutexGuard<'_, Option<Connection>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn first_reply(connection: &Connection, request: &Request) -> io::Result<Option<Reply>> {
    connection.send(request, None).await?;
    Ok(connection.receive().await?.map(|(reply, _)| reply))
}
