//! Takes a connection back after an upgrade or a CONNECT, at either end.

use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The connection that HTTP was spoken on, and the bytes that came in behind the head. `None` if it is not an `I`.
pub fn into_io<I>(upgraded: Upgraded) -> Option<(I, Bytes)>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgraded.downcast::<TokioIo<I>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}
