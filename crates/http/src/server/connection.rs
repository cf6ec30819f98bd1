//! Serves one connection, from its first byte to its last request or to its upgrade. Every wait for the other side has
//! a limit.

use std::convert::Infallible;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::response::Response;

/// The largest head of a request, in bytes: browsers bring every cookie of the site.
pub const MAX_HEAD: usize = 32 * 1024;

/// The most header lines of a request.
pub const MAX_LINES: usize = 200;

/// How long the client may take to read a response.
const TAKE: Duration = Duration::from_secs(10);

/// In the extensions of a response: how long the client may take to read this one, if not 10 s. A large file over a slow
/// line takes longer.
#[derive(Clone, Copy, Debug)]
pub struct TakeWithin(pub Duration);

/// How long the work on a request may take. Requests that take longer than a moment have shorter limits themselves.
const WORK: Duration = Duration::from_secs(120);

/// Why a connection did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A head is over [`MAX_HEAD`] or [`MAX_LINES`]; it was answered with 431.
    #[error(transparent)]
    HeadTooLarge(hyper::Error),
    /// It broke, or no HTTP came.
    #[error(transparent)]
    Broken(hyper::Error),
    /// The client did not read a response, or did not send the next request, in time.
    #[error("the answer was not taken in time")]
    Slow,
}

/// Serves the connection. A head may take `head`.
///
/// # Errors
/// Any of [`Error`].
pub async fn serve<I, F, R>(io: I, head: Duration, respond: F) -> Result<(), Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response>,
{
    let (deadline, until) = watch::channel(Instant::now() + head + TAKE);
    let (deadline, respond) = (&deadline, &respond);
    let service = service_fn(move |request| async move {
        deadline.send_replace(Instant::now() + WORK);
        let response = respond(request).await;
        let take = response.extensions().get().map_or(TAKE, |TakeWithin(take)| *take);
        // To take the response, and to ask again.
        deadline.send_replace(Instant::now() + take + head);
        Ok::<_, Infallible>(response)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_LINES)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::select! {
        served = served => served.map_err(|error| match error.is_parse_too_large() {
            true => Error::HeadTooLarge(error),
            false => Error::Broken(error),
        }),
        () = passed(until) => Err(Error::Slow),
    }
}

/// Waits for a time that may be moved.
async fn passed(mut until: watch::Receiver<Instant>) {
    loop {
        let at = *until.borrow_and_update();
        tokio::select! {
            () = sleep_until(at) => return,
            Ok(()) = until.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::super::response;
    use super::*;

    const HEAD: Duration = Duration::from_secs(5);

    async fn ok(_: Request<Incoming>) -> Response {
        response::body(StatusCode::OK, "text/plain", "ok\n")
    }

    /// How a connection ends on which this is sent, and what was answered.
    async fn served(request: &str) -> (Result<(), Error>, String) {
        let (server, mut client) = duplex(64 * 1024);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let (served, read) = tokio::join!(serve(server, HEAD, ok), client.read_to_string(&mut answer));
        read.unwrap();
        (served, answer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_over_its_limits_is_another_error_than_what_is_not_http() {
        let (ended, answer) = served("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(ended.is_ok() && answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let lines = "a: b\r\n".repeat(MAX_LINES + 1);
        for head in [lines, format!("a: {}\r\n", "x".repeat(MAX_HEAD * 3 / 2))] {
            let (ended, answer) = served(&format!("GET / HTTP/1.1\r\n{head}\r\n")).await;
            assert!(matches!(ended, Err(Error::HeadTooLarge(_))), "{ended:?}");
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
        assert!(matches!(served("nonsense\r\n\r\n").await.0, Err(Error::Broken(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_taken_ends_the_connection() {
        // No room for the whole response, and nobody reads.
        let (server, mut client) = duplex(40);
        let asked = async {
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            std::future::pending::<()>().await
        };
        let ended = tokio::select! {
            ended = serve(server, HEAD, ok) => ended,
            () = asked => unreachable!(),
        };
        assert!(matches!(ended, Err(Error::Slow)), "{ended:?}");
    }
}
