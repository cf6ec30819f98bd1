//! Checks that a listener is served: gives its accept loop a connection of the program's own, and expects an HTTP
//! answer. Needs no network, takes no slot from clients, and is not counted.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::debug;

/// The answer is an error, which shows as well as any other that requests are served.
const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// What every answer begins with.
const ANSWER: &[u8] = b"HTTP/1.1 ";

/// Hands connections to one accept loop.
pub struct Probe {
    address: String,
    door: mpsc::Sender<UnixStream>,
}

/// A probe for the listener at `address`, and what its accept loop gets from it.
pub fn probe(address: String) -> (Probe, mpsc::Receiver<UnixStream>) {
    let (door, visits) = mpsc::channel(1);
    (Probe { address, door }, visits)
}

impl Probe {
    /// The address of the listener, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks once. Has no time limit of its own.
    ///
    /// # Errors
    /// When the accept loop has ended, or what answers does not speak HTTP.
    pub async fn look(&self) -> Result<(), String> {
        let address = &self.address;
        let (mut ours, theirs) = match UnixStream::pair() {
            Ok(pair) => pair,
            // The accept loop reports a lack of descriptors. A restart would end streams and fix nothing.
            Err(error) => {
                debug!("cannot look at the listener at {address}: {error}");
                return Ok(());
            }
        };
        self.door.send(theirs).await.map_err(|_| format!("the listener at {address} has ended"))?;
        let mut answer = Vec::new();
        let asked = async {
            ours.write_all(QUESTION).await?;
            ours.read_to_end(&mut answer).await
        };
        asked.await.map_err(|error| format!("the listener at {address}: {error}"))?;
        match answer.starts_with(ANSWER) {
            true => Ok(()),
            false => Err(format!("the listener at {address} does not answer with HTTP")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_answer_with_http_is_told_from_what_has_ended() {
        let (probe, mut visits) = probe("here".into());
        let visited = tokio::spawn(async move {
            let mut visit = visits.recv().await.unwrap();
            visit.read_exact(&mut [0; QUESTION.len()]).await.unwrap();
            visit.write_all(b"nonsense").await.unwrap();
            visits
        });
        assert_eq!(probe.look().await.unwrap_err(), "the listener at here does not answer with HTTP");
        drop(visited.await.unwrap());
        assert_eq!(probe.look().await.unwrap_err(), "the listener at here has ended");
    }
}
