//! The client: one request on a connection that was opened for it. The connection ends with what the caller holds: with
//! the [`Connection`], the [`Response`] or the [`Reader`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::MapErr;
use http_body_util::{BodyDataStream, BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{AsHeaderName, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;

use crate::upgrade::into_io;

/// What a server may use of the client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest head of a response, in bytes; at least 8 KiB.
    pub head: usize,
    /// The largest body that [`Response::bytes`] collects, in bytes.
    pub body: usize,
    /// The time from the request to the last byte of that body. `None`: the caller sees to it.
    pub time: Option<Duration>,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke, or what came in is not HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The response did not come within [`Limits::time`].
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The body is larger than [`Limits::body`].
    #[error("length limit exceeded")]
    BodyTooLarge,
    /// What came back from an upgrade is not what [`Connection::new`] was given.
    #[error("the connection is not the one that was made")]
    OtherConnection,
}

/// A connection that has had no request yet.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: Task,
    limits: Limits,
}

/// Moves the bytes; hyper leaves that to its caller.
type Task = AbortOnDropHandle<Result<(), hyper::Error>>;

impl Connection {
    /// Prepares a connection for HTTP. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Http`]
    pub async fn new<I>(io: I, limits: Limits) -> Result<Connection, Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            Builder::new().max_buf_size(limits.head).handshake(TokioIo::new(io)).await?;
        let task = tokio::spawn(connection.with_upgrades());
        Ok(Connection { sender, task: AbortOnDropHandle::new(task), limits })
    }

    /// Sends the request, and waits for the head of the response.
    ///
    /// # Errors
    /// [`Error::Http`] or [`Error::Timeout`]
    pub async fn send(mut self, request: Request<Bytes>) -> Result<Response, Error> {
        let deadline = self.limits.time.map(|time| (Instant::now() + time, time));
        let inner = match within(deadline, self.sender.send_request(request.map(Full::new))).await? {
            Ok(inner) => inner,
            Err(error) if error.is_canceled() => {
                // The connection was over before the request was sent, and its own error says why.
                return Err(within(deadline, self.task)
                    .await?
                    .ok()
                    .and_then(Result::err)
                    .unwrap_or(error)
                    .into());
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Response { inner, task: self.task, max_body: self.limits.body, deadline })
    }
}

/// A response, of which the head has come.
pub struct Response {
    inner: hyper::Response<Incoming>,
    task: Task,
    max_body: usize,
    deadline: Deadline,
}

impl Response {
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The first header of this name, if it is ASCII text.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::BodyTooLarge`], [`Error::Http`] or [`Error::Timeout`]
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let body = Limited::new(self.inner.into_body(), self.max_body).collect();
        let body = within(self.deadline, body).await?.map_err(|error| match error.downcast() {
            Ok(error) => Error::Http(*error),
            Err(other) => {
                debug_assert!(other.is::<LengthLimitError>(), "{other}");
                Error::BodyTooLarge
            }
        })?;
        // What is left is to close the connection properly, which waits for nobody.
        drop(self.task.detach());
        Ok(body.to_bytes())
    }

    /// The body as it comes, without limits.
    pub fn into_reader(self) -> Reader {
        let stream: BodyStream = self.inner.into_body().into_data_stream().map_err(io::Error::other);
        Reader { body: StreamReader::new(stream), _task: self.task }
    }

    /// The connection itself, after a 101 or a successful CONNECT, and the bytes that came in behind the head. `I` is
    /// what [`Connection::new`] was given.
    ///
    /// # Errors
    /// [`Error::Http`], [`Error::Timeout`] or [`Error::OtherConnection`]
    pub async fn upgrade<I>(self) -> Result<(I, Bytes), Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgraded = within(self.deadline, hyper::upgrade::on(self.inner)).await??;
        into_io(upgraded).ok_or(Error::OtherConnection)
    }
}

type BodyStream = MapErr<BodyDataStream<Incoming>, fn(hyper::Error) -> io::Error>;

/// The body of a response as it comes.
pub struct Reader {
    body: StreamReader<BodyStream, Bytes>,
    _task: Task,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.body).poll_read(cx, buf)
    }
}

/// When it is over, and how long that is after the request, for the error.
type Deadline = Option<(Instant, Duration)>;

async fn within<T>(deadline: Deadline, future: impl Future<Output = T>) -> Result<T, Error> {
    match deadline {
        None => Ok(future.await),
        Some((at, time)) => timeout_at(at, future).await.map_err(|_| Error::Timeout(time)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LIMITS: Limits = Limits { head: 8 * 1024, body: 4, time: Some(Duration::from_secs(10)) };

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    fn request() -> Request<Bytes> {
        Request::get("/").header("host", "x").body(Bytes::new()).unwrap()
    }

    /// The response to a request that is answered with these bytes, and the server's end of the connection.
    async fn ask(answer: &str) -> (Result<Response, Error>, DuplexStream) {
        let (ours, mut theirs) = duplex(64 * 1024);
        let connection = Connection::new(ours, LIMITS).await.unwrap();
        let server = async {
            theirs.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs
        };
        tokio::join!(connection.send(request()), server)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_collected_up_to_its_limit_and_until_its_deadline() {
        let (response, _server) = ask("HTTP/1.1 200 OK\r\ncontent-length: 4\r\na: b\r\n\r\nbody").await;
        let response = response.unwrap();
        assert_eq!((response.status(), response.header("a")), (StatusCode::OK, Some("b")));
        assert_eq!(response.bytes().await.unwrap(), "body");

        let (response, _server) = ask("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlarge").await;
        assert!(matches!(response.unwrap().bytes().await, Err(Error::BodyTooLarge)));

        let (response, _server) = ask("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo").await;
        let late = response.unwrap().bytes().await.unwrap_err();
        assert_eq!(late.to_string(), "no answer within 10 s");
        let (response, _server) = ask("").await;
        assert!(matches!(response, Err(Error::Timeout(_))));

        let (response, server) = ask("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo").await;
        drop(server);
        assert!(matches!(response.unwrap().bytes().await, Err(Error::Http(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_over_its_limit_is_an_error() {
        let (response, _server) =
            ask(&format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(9 * 1024))).await;
        match response.err().unwrap() {
            Error::Http(error) => assert!(error.to_string().contains("too large"), "{error}"),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn what_is_dropped_closes_its_connection() {
        async fn assert_closed(mut server: DuplexStream) {
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"");
        }
        let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
        let (response, server) = ask(endless).await;
        drop(response);
        assert_closed(server).await;

        let (response, server) = ask(endless).await;
        let mut reader = response.unwrap().into_reader();
        let mut read = [0; 2];
        reader.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ab");
        drop(reader);
        assert_closed(server).await;
    }

    #[tokio::test]
    async fn an_upgrade_gives_the_connection_back_with_the_bytes_behind_the_head() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nearly";
        let (response, mut server) = ask(head).await;
        let (mut io, early) = response.unwrap().upgrade::<DuplexStream>().await.unwrap();
        assert_eq!(early, "early");
        server.write_all(b"late").await.unwrap();
        let mut read = [0; 4];
        io.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"late");

        let (response, _server) = ask(head).await;
        let other = response.unwrap().upgrade::<tokio::net::TcpStream>().await;
        assert!(matches!(other, Err(Error::OtherConnection)));
    }
}
