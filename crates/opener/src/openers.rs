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
        timeout(limit, answer).await.map_err(|_| too_late(limit))?
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
        if let Some(spare) = spare {
            match timeout(limit, first_reply(&spare, request)).await {
                Ok(Ok(Some(reply))) => return Ok((spare, reply)),
                // It has ended while it waited.
                Ok(_) => {}
                // It may have accepted the grant, which no other would then.
                Err(_) => return Err(too_late(limit)),
            }
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
            // A spare is a convenience: the session that needs an opener reports what is wrong.
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

fn too_late(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", limit.as_secs()))
}

#[cfg(test)]
mod tests {
    use tokio_seqpacket::UnixSeqpacketListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// Openers with a spare, whose other end is here.
    async fn with_spare() -> (tempfile::TempDir, UnixSeqpacketListener, Arc<Openers>, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("open");
        let mut listener = UnixSeqpacketListener::bind(&socket).unwrap();
        let openers = Arc::new(Openers::behind(socket));
        openers.keep_spare();
        let spare = Connection::from_socket(listener.accept().await.unwrap());
        while openers.spare().is_none() {
            tokio::task::yield_now().await;
        }
        (dir, listener, openers, spare)
    }

    async fn answer(connection: &Connection) {
        connection.receive::<Request>().await.unwrap().unwrap();
        connection.send(&Reply::Targets(vec![]), None).await.unwrap();
    }

    #[tokio::test]
    async fn the_spare_opener_is_asked_and_only_once() {
        let (_dir, mut listener, openers, spare) = with_spare().await;
        let (asked, ()) = tokio::join!(openers.ask_spare(&Request::List, SOON), answer(&spare));
        assert!(matches!(asked.unwrap().1, Reply::Targets(_)) && openers.spare().is_none());
        let next = async { answer(&Connection::from_socket(listener.accept().await.unwrap())).await };
        let (asked, ()) = tokio::join!(openers.ask_spare(&Request::List, SOON), next);
        assert!(asked.is_ok());
    }

    #[tokio::test]
    async fn a_spare_that_has_ended_is_replaced() {
        let (_dir, mut listener, openers, spare) = with_spare().await;
        drop(spare);
        let next = async { answer(&Connection::from_socket(listener.accept().await.unwrap())).await };
        let (asked, ()) = tokio::join!(openers.ask_spare(&Request::List, SOON), next);
        assert!(asked.is_ok());
    }

    #[tokio::test]
    async fn what_a_spare_may_have_accepted_is_not_asked_again() {
        let (_dir, _listener, openers, _stuck) = with_spare().await;
        let asked = openers.ask_spare(&Request::List, Duration::from_millis(50)).await;
        assert_eq!(asked.err().unwrap().kind(), io::ErrorKind::TimedOut);
    }
}
