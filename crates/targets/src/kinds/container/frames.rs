//! The output of a container without a terminal: frames of its two streams, each with a header of eight bytes (Docker
//! Engine API, "Attach to a container", stream format).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

const HEADER: usize = 8;

/// The stream type of errors that the engine itself reports.
const SYSTEM_ERROR: u8 = 3;

/// Bytes at which the engine's errors are cut.
const MAX_WORDS: usize = 1024;

/// The contents of the frames, of both streams in the order in which they were written.
pub(super) struct Frames<R> {
    inner: R,
    header: [u8; HEADER],
    filled: usize,
    /// Bytes that are left of the current frame.
    left: usize,
    /// The engine's error, as far as it was read.
    words: Option<Vec<u8>>,
}

impl<R> Frames<R> {
    pub(super) fn new(inner: R) -> Frames<R> {
        Frames { inner, header: [0; HEADER], filled: 0, left: 0, words: None }
    }

    /// Begins the frame of a complete header.
    fn begin(&mut self) -> io::Result<()> {
        let [stream, 0, 0, 0, len @ ..] = self.header else { return Err(broken()) };
        if stream > SYSTEM_ERROR {
            return Err(broken());
        }
        self.left = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        self.words = (stream == SYSTEM_ERROR).then(Vec::new);
        self.filled = 0;
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Frames<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.left == 0 {
                if let Some(words) = &this.words {
                    return Poll::Ready(Err(io::Error::other(String::from_utf8_lossy(words).into_owned())));
                }
                let mut part = ReadBuf::new(&mut this.header[this.filled..]);
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
                match part.filled().len() {
                    0 if this.filled == 0 => return Poll::Ready(Ok(())),
                    0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    read => this.filled += read,
                }
                if this.filled == HEADER {
                    this.begin()?;
                }
                continue;
            }
            let mut own = [0; 256];
            let room = if this.words.is_some() { own.len() } else { buf.remaining() };
            if room == 0 {
                return Poll::Ready(Ok(()));
            }
            let room = room.min(this.left);
            let place = match this.words {
                Some(_) => &mut own[..room],
                None => buf.initialize_unfilled_to(room),
            };
            let mut part = ReadBuf::new(place);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.left -= read;
            let Some(words) = &mut this.words else {
                buf.advance(read);
                return Poll::Ready(Ok(()));
            };
            words.extend_from_slice(&own[..read]);
            words.truncate(MAX_WORDS);
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the engine's frames are broken")
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio_util::io::StreamReader;

    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let len = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &len[..], text.as_bytes()].concat()
    }

    /// What comes out when `bytes` come in pieces.
    async fn read(bytes: &[u8], piece: usize) -> io::Result<String> {
        let pieces: Vec<_> = bytes.chunks(piece).map(|chunk| io::Result::Ok(chunk.to_vec())).collect();
        let pieces = pieces.into_iter().map(|chunk| chunk.map(std::io::Cursor::new));
        let mut said = String::new();
        let mut frames = Frames::new(StreamReader::new(futures_util::stream::iter(pieces)));
        frames.read_to_string(&mut said).await.map(|_| said)
    }

    #[tokio::test]
    async fn both_streams_come_out_in_order_however_they_are_cut() {
        let bytes = [frame(1, "out "), frame(2, "err "), frame(1, ""), frame(1, &"x".repeat(300))].concat();
        for piece in [1, 3, 8, 11, bytes.len()] {
            assert_eq!(read(&bytes, piece).await.unwrap(), format!("out err {}", "x".repeat(300)));
        }
        assert_eq!(read(b"", 1).await.unwrap(), "");
    }

    #[tokio::test]
    async fn what_is_cut_off_or_no_frame_is_an_error() {
        let whole = frame(1, "text");
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end], 4).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        assert_eq!(read(b"plain text", 4).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&frame(4, "x"), 4).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let engine = [frame(1, "out"), frame(3, "log driver does not support reading")].concat();
        assert_eq!(read(&engine, 5).await.unwrap_err().to_string(), "log driver does not support reading");
    }
}
