//! Descriptors that travel over unix sockets, beside bytes (SCM_RIGHTS in unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// Descriptors that may come with one message.
const MOST: usize = 4;

/// Sends `bytes`, the first of them with `descriptor`.
pub(super) async fn send(
    stream: &mut UnixStream,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let rights = [descriptor.as_raw_fd()];
            let control = [ControlMessage::ScmRights(&rights)];
            let parts = [IoSlice::new(bytes)];
            Ok(sendmsg::<()>(stream.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)?)
        })
        .await?;
    stream.write_all(&bytes[sent..]).await
}

/// Fills `buffer`, and puts what came with its bytes into `descriptors`.
pub(super) async fn receive(
    stream: &UnixStream,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = stream
            .async_io(Interest::READABLE, || {
                let (read, came) = receive_some(stream, &mut buffer[filled..])?;
                descriptors.extend(came);
                Ok(read)
            })
            .await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    Ok(())
}

fn receive_some(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; MOST]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(rights) = control {
            descriptors.extend(rights.into_iter().map(own));
        }
    }
    Ok((message.bytes, descriptors))
}

#[allow(unsafe_code)]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The descriptor of a connected stream socket, as a stream of the runtime.
pub(super) fn into_stream(descriptor: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(descriptor);
    // Says at once of anything else that it is no socket.
    stream.peer_addr()?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::agent::target::testing::in_time;

    #[tokio::test]
    async fn a_descriptor_arrives_with_its_bytes() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let (mut kept, given) = UnixStream::pair().unwrap();
        in_time(send(&mut here, b"take it", given.as_fd())).await.unwrap();
        drop((here, given));
        let (mut bytes, mut descriptors) = ([0; 7], Vec::new());
        in_time(receive(&there, &mut bytes, &mut descriptors)).await.unwrap();
        assert_eq!((&bytes, descriptors.len()), (b"take it", 1));
        let mut taken = into_stream(descriptors.remove(0)).unwrap();
        taken.write_all(b"through it").await.unwrap();
        drop(taken);
        let mut said = String::new();
        in_time(kept.read_to_string(&mut said)).await.unwrap();
        assert_eq!(said, "through it");
        let error = in_time(receive(&there, &mut bytes, &mut descriptors)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(into_stream(file.into()).unwrap_err().raw_os_error(), Some(nix::libc::ENOTSOCK));
    }
}
