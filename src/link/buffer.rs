//! Buffers that are lent while bytes move and given back while a stream waits,
//! so that an idle stream holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::protocol::profile::Profile;

/// Sizes of buffers, in bytes. The largest is also the largest piece that moves at once, and the largest frame
/// that is ever sent.
const SIZES: [usize; 4] = [16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024];

/// Buffers of each size that one thread keeps for the next stream.
const KEPT: [usize; SIZES.len()] = [16, 16, 4, 2];

thread_local! {
    static FREE: RefCell<[Vec<Box<[u8]>>; SIZES.len()]> = const { RefCell::new([vec![], vec![], vec![], vec![]]) };
}

/// How much a stream reads at once: more while it fills what it is given, less when it does not.
#[derive(Clone, Copy, Debug)]
pub struct Appetite {
    profile: Profile,
    /// Places in [`SIZES`]; small, as every idle stream has some.
    now: u8,
    most: u8,
}

impl Appetite {
    /// Small at first; large pieces save system calls, and make what comes behind them wait.
    pub fn of(profile: Profile) -> Appetite {
        let most = match profile {
            Profile::Interactive => 1,
            Profile::Bulk => SIZES.len() as u8 - 1,
        };
        Appetite { profile, now: 0, most }
    }

    /// So many bytes came when there was room for `room`.
    fn had(&mut self, bytes: usize, room: usize) {
        if bytes == room {
            self.now = (self.now + 1).min(self.most);
        } else if self.now > 0 && bytes < SIZES[usize::from(self.now) - 1] {
            self.now -= 1;
        }
    }

    /// What was read had to wait until the other side took it. Then an interactive stream gains nothing from large
    /// pieces, and what lies in them is old when it arrives.
    pub fn spoilt(&mut self) {
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

/// A lent buffer; dropping it gives it back.
#[derive(Debug)]
pub struct Buffer(Box<[u8]>);

impl Buffer {
    /// Borrows a buffer; what is in it is left over from its last use.
    fn lend(appetite: Appetite) -> Buffer {
        let kept = FREE.with(|free| free.borrow_mut()[usize::from(appetite.now)].pop());
        Buffer(kept.unwrap_or_else(|| vec![0; appetite.size()].into_boxed_slice()))
    }

    /// A buffer with nothing but `bytes` in it.
    pub fn holding(bytes: &[u8]) -> Buffer {
        Buffer(bytes.into())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let Some(size) = SIZES.iter().position(|size| *size == buffer.len()) else { return };
        // A thread that is ending has no pool left: then the buffer is simply freed.
        let _ = FREE.try_with(|free| {
            let free = &mut free.borrow_mut()[size];
            if free.len() < KEPT[size] {
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

/// Reads what there is behind the first `kept` bytes of `place`, lending a buffer for it where there is none that
/// fits. Gives how many bytes came; zero is the end of `io`. Nothing is held while nothing comes, unless bytes
/// are kept.
///
/// # Errors
/// Those of `io`.
pub fn poll_read<R: AsyncRead + Unpin + ?Sized>(
    io: &mut R,
    place: &mut Option<Buffer>,
    kept: usize,
    appetite: &mut Appetite,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buffer = match place.take() {
        Some(buffer) if appetite.fits(&buffer) || (kept > 0 && kept < buffer.len()) => buffer,
        Some(full) if kept > 0 => {
            let mut larger = Buffer::lend(*appetite);
            larger[..kept].copy_from_slice(&full[..kept]);
            larger
        }
        _ => Buffer::lend(*appetite),
    };
    let mut space = ReadBuf::new(&mut buffer[kept..]);
    let room = space.remaining();
    let polled = Pin::new(io).poll_read(cx, &mut space);
    let n = space.filled().len();
    if polled.is_ready() || kept > 0 {
        *place = Some(buffer);
    }
    ready!(polled)?;
    appetite.had(n, room);
    Poll::Ready(Ok(n))
}

/// Reads what there is, holding a buffer only when something came. Zero bytes: the end of `io`. Safe to drop and
/// call again.
///
/// # Errors
/// Those of `io`.
pub async fn read<R: AsyncRead + Unpin + ?Sized>(
    io: &mut R,
    appetite: &mut Appetite,
) -> io::Result<(Buffer, usize)> {
    let mut place = None;
    poll_fn(|cx| {
        let n = ready!(poll_read(io, &mut place, 0, appetite, cx))?;
        // A read that is ready has left a buffer.
        Poll::Ready(Ok((place.take().unwrap_or_else(|| Buffer::holding(&[])), n)))
    })
    .await
}
