//! `stream-bench forward`: one TCP hop that does nothing but forward, with the cheapest means there are.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use tokio::io::{Interest, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};

/// Capacity of a pipe between two sockets, in bytes.
const PIPE: usize = 1 << 20;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    to: SocketAddr,
    /// Bytes of each buffer.
    #[arg(long, default_value_t = 65536)]
    buffer: usize,
    /// Move pages in the kernel instead.
    #[arg(long)]
    splice: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        println!("listening");
        loop {
            let (mut here, _) = listener.accept().await?;
            here.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut there = TcpStream::connect(args.to).await?;
                there.set_nodelay(true)?;
                if args.splice {
                    tokio::try_join!(spliced(&here, &there), spliced(&there, &here)).map(drop)
                } else {
                    copy_bidirectional_with_sizes(&mut here, &mut there, args.buffer, args.buffer)
                        .await
                        .map(drop)
                }
            });
        }
    })
}

async fn spliced(from: &TcpStream, to: &TcpStream) -> std::io::Result<()> {
    let (out, inn): (OwnedFd, OwnedFd) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
    // Less than asked for is slower, and not wrong.
    let _ = fcntl(&inn, FcntlArg::F_SETPIPE_SZ(PIPE as i32));
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        let moved = from
            .async_io(Interest::READABLE, || Ok(splice(from.as_fd(), None, &inn, None, PIPE, flags)?))
            .await?;
        if moved == 0 {
            return Ok(nix::sys::socket::shutdown(to.as_raw_fd(), nix::sys::socket::Shutdown::Write)?);
        }
        let mut left = moved;
        while left > 0 {
            left -= to
                .async_io(Interest::WRITABLE, || Ok(splice(&out, None, to.as_fd(), None, left, flags)?))
                .await?;
        }
    }
}
