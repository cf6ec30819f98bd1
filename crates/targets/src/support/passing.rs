//! Passes descriptors through unix sockets, together with bytes (SCM_RIGHTS in unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// How many descriptors a message may have.
const MOST: usize = 4;

/// Sends `bytes`, and `descriptor` with the first of them.
pub(crate) async fn send(
    stream: &mut UnixStream,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let rights = [descriptor];
            control.push(SendAncillaryMessage::ScmRights(&rights));
            Ok(sendmsg(&*stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
        })
        .await?;
    stream.write_all(&bytes[sent..]).await
}

/// Fills `buffer`, and appends descriptors that come with its bytes.
pub(crate) async fn receive(
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
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    match message.flags.contains(ReturnFlags::CTRUNC) {
        true => Err(Errno::NOBUFS.into()),
        false => Ok((message.bytes, descriptors)),
    }
}

/// Turns the descriptor of a connected stream socket into a stream of the runtime.
pub(crate) fn into_stream(descriptor: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(descriptor);
    // Fails for anything that is not a socket.
    stream.peer_addr()?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::testing::in_time;

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
