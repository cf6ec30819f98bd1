//! A pool of buffers for each thread. A stream borrows one while bytes move and returns it while it waits, so that an
//! idle stream holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use protocol::profile::Profile;

/// Sizes of buffers, in bytes. The largest is also the largest piece that moves at once, and the largest frame
/// that is ever sent.
const SIZES: [usize; 4] = [16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024];

/// How many free buffers of each size a thread keeps.
const MAX_FREE: [usize; SIZES.len()] = [16, 16, 4, 2];

thread_local! {
    static FREE: RefCell<[Vec<Box<[u8]>>; SIZES.len()]> = const { RefCell::new([vec![], vec![], vec![], vec![]]) };
}

/// How many bytes a stream reads at once: more if it fills its buffer, fewer if it does not.
#[derive(Clone, Copy, Debug)]
pub struct ReadSize {
    profile: Profile,
    /// Indices in [`SIZES`]; bytes, because each idle stream has several.
    now: u8,
    max: u8,
}

impl ReadSize {
    /// Begins with the smallest size. Large pieces save system calls, but delay what follows them.
    pub fn new(profile: Profile) -> ReadSize {
        let max = match profile {
            Profile::Interactive => 1,
            Profile::Bulk => SIZES.len() as u8 - 1,
        };
        ReadSize { profile, now: 0, max }
    }

    /// Adapts to a read of `bytes` into a buffer with room for `room`.
    fn adapt(&mut self, bytes: usize, room: usize) {
        if bytes == room {
            self.now = (self.now + 1).min(self.max);
        } else if self.now > 0 && bytes < SIZES[usize::from(self.now) - 1] {
            self.now -= 1;
        }
    }

    /// Returns to the smallest size if the stream is interactive. To be called when the other side does not take bytes
    /// at once: larger pieces would only make them older when they arrive.
    pub fn shrink(&mut self) {
        if self.profile == Profile::Interactive {
            self.now = 0;
        }
    }

    fn size(self) -> usize {
        SIZES[usize::from(self.now)]
    }

    fn fits(self, buffer: &Buffer) -> bool {
        buffer.len() == self.size()
    }
}

/// A borrowed buffer; dropping it returns it to the pool.
#[derive(Debug)]
pub struct Buffer(Box<[u8]>);

impl Buffer {
    /// Borrows a buffer, which still holds bytes of its last use.
    fn borrow(read_size: ReadSize) -> Buffer {
        let free = FREE.with(|free| free.borrow_mut()[usize::from(read_size.now)].pop());
        Buffer(free.unwrap_or_else(|| vec![0; read_size.size()].into_boxed_slice()))
    }

    /// A buffer of its own size, which holds `bytes` and does not return to the pool.
    pub fn holding(bytes: &[u8]) -> Buffer {
        Buffer(bytes.into())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let Some(size) = SIZES.iter().position(|size| *size == buffer.len()) else { return };
        // Fails in a thread that is ending, which has no pool any more: then the buffer is freed.
        let _ = FREE.try_with(|free| {
            let free = &mut free.borrow_mut()[size];
            if free.len() < MAX_FREE[size] {
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

/// Reads what is available into `slot`, behind its first `kept` bytes, and returns how many bytes that is; 0 is the
/// end of `io`. Borrows a buffer if `slot` has none of the right size. While nothing is available, `slot` is empty
/// unless bytes are kept.
///
/// # Errors
/// Those of `io`.
pub fn poll_read<R: AsyncRead + Unpin + ?Sized>(
    io: &mut R,
    slot: &mut Option<Buffer>,
    kept: usize,
    read_size: &mut ReadSize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buffer = match slot.take() {
        Some(buffer) if read_size.fits(&buffer) || (kept > 0 && kept < buffer.len()) => buffer,
        Some(full) if kept > 0 => {
            let mut larger = Buffer::borrow(*read_size);
            larger[..kept].copy_from_slice(&full[..kept]);
            larger
        }
        _ => Buffer::borrow(*read_size),
    };
    let mut space = ReadBuf::new(&mut buffer[kept..]);
    let room = space.remaining();
    let polled = Pin::new(io).poll_read(cx, &mut space);
    let n = space.filled().len();
    if polled.is_ready() || kept > 0 {
        *slot = Some(buffer);
    }
    ready!(polled)?;
    read_size.adapt(n, room);
    Poll::Ready(Ok(n))
}

/// Reads what is available, and borrows a buffer only for that. 0 bytes are the end of `io`. Cancel safe.
///
/// # Errors
/// Those of `io`.
pub async fn read<R: AsyncRead + Unpin + ?Sized>(
    io: &mut R,
    read_size: &mut ReadSize,
) -> io::Result<(Buffer, usize)> {
    let mut slot = None;
    poll_fn(|cx| {
        let n = ready!(poll_read(io, &mut slot, 0, read_size, cx))?;
        // A read that is ready leaves a buffer.
        Poll::Ready(Ok((slot.take().unwrap_or_else(|| Buffer::holding(&[])), n)))
    })
    .await
}
