//! The pumps alone, over memory and without a kernel: for counting instructions.

use std::future::{pending, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use clap::ValueEnum;
use stream::bridge::{AtEof, ControlEffect, Local, bridge};
use stream::pair;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use websocket::connection::{Limits, WebSocket};
use websocket::frame::{self, Header, Opcode, Role};
use websocket::reader::Text;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    part: Part,
    /// Payload of each frame, in bytes.
    #[arg(long, default_value_t = 65536)]
    frame: usize,
    /// Frames that go through.
    #[arg(long, default_value_t = 256)]
    frames: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The relay: masked frames in, frames out.
    Relay,
    /// The agent on the way to the client: bytes in, masked frames out.
    Up,
    /// The agent on the way to the target: frames in, bytes out.
    Down,
}

/// A connection that gives the same bytes so many times, and takes everything.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
    times: usize,
    ends: bool,
}

impl Memory {
    fn silent() -> Memory {
        Memory { bytes: vec![], at: 0, times: 0, ends: false }
    }

    fn frames(args: &Args, mask: Option<[u8; 4]>) -> Memory {
        let (header, len) =
            frame::encode(Header { fin: true, opcode: Opcode::Binary, len: args.frame as u64, mask });
        let bytes = [&header[..len], &vec![0x5a; args.frame]].concat();
        Memory { bytes, at: 0, times: args.frames, ends: true }
    }

    fn bytes(args: &Args) -> Memory {
        Memory { bytes: vec![0x5a; args.frame], at: 0, times: args.frames, ends: true }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.times == 0 && !self.ends {
            return Poll::Pending;
        }
        while self.times > 0 && space.remaining() > 0 {
            let n = space.remaining().min(self.bytes.len() - self.at);
            space.put_slice(&self.bytes[self.at..self.at + n]);
            self.at += n;
            if self.at == self.bytes.len() {
                (self.at, self.times) = (0, self.times - 1);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let websocket = |memory, role| WebSocket::new(memory, &[], role, Text::Bytes, Limits::default());
    let moved = runtime.block_on(async {
        let mask = Some([1, 2, 3, 4]);
        match args.part {
            Part::Relay => {
                let host = websocket(Memory::silent(), Role::Server);
                let client = websocket(Memory::frames(args, mask), Role::Server);
                let (outcome, _, _) = pair::link(host, client, false, pending()).await;
                outcome.bytes_in
            }
            Part::Up => {
                let peer = websocket(Memory::silent(), Role::Client);
                let local = Local {
                    output: Memory::bytes(args),
                    input: None::<Memory>,
                    at_eof: AtEof::End,
                    control: None,
                };
                let (outcome, _) =
                    bridge(peer, local, |_| ControlEffect::None, ready(Ok(None)), pending()).await;
                outcome.bytes_out
            }
            Part::Down => {
                let peer = websocket(Memory::frames(args, None), Role::Client);
                let local = Local {
                    output: Memory::silent(),
                    input: Some(Memory::silent()),
                    at_eof: AtEof::End,
                    control: None,
                };
                let (outcome, _) =
                    bridge(peer, local, |_| ControlEffect::None, ready(Ok(None)), pending()).await;
                outcome.bytes_in
            }
        }
    });
    anyhow::ensure!(moved == (args.frame * args.frames) as u64, "{moved} bytes came through");
    Ok(())
}
