//! Buffers that are lent while bytes move and given back while a stream waits,
//! so that an idle stream holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Size of a buffer, in bytes: the largest piece that moves at once.
pub const SIZE: usize = 64 * 1024;

/// Buffers that one thread keeps for the next stream: 1 MiB.
const KEPT: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A lent buffer; dropping it gives it back.
#[derive(Debug)]
pub struct Buffer(Box<[u8]>);

impl Buffer {
    /// Borrows a buffer; what is in it is left over from its last use.
    pub fn lend() -> Buffer {
        let kept = FREE.with(|free| free.borrow_mut().pop());
        Buffer(kept.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice()))
    }

    /// A buffer that begins with `bytes`; larger than usual if they need it.
    pub fn holding(bytes: &[u8]) -> Buffer {
        if bytes.len() > SIZE {
            return Buffer(bytes.into());
        }
        let mut buffer = Buffer::lend();
        buffer[..bytes.len()].copy_from_slice(bytes);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.len() != SIZE {
            return;
        }
        // A thread that is ending has no pool left: then the buffer is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Reads up to one buffer's worth, holding a buffer only while there is something to read.
/// Zero bytes: the end of `io`. Safe to drop and call again.
///
/// # Errors
/// Those of `io`.
pub async fn read<R: AsyncRead + Unpin + ?Sized>(io: &mut R) -> io::Result<(Buffer, usize)> {
    poll_fn(|cx| {
        let mut buffer = Buffer::lend();
        let mut space = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut space))?;
        let n = space.filled().len();
        Poll::Ready(Ok((buffer, n)))
    })
    .await
}
