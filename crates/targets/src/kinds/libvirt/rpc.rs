//! Calls to libvirt through its unix socket, one at a time.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::xdr::{Decoder, Encoder, Malformed};
use crate::support::passing;

/// The RPC program for domains, and its only version.
const PROGRAM: u32 = 0x2000_8086;
const VERSION: u32 = 1;

/// Message types, and the status of a successful answer.
const CALL: u32 = 0;
const REPLY: u32 = 1;
const REPLY_WITH_DESCRIPTORS: u32 = 5;
const OK: u32 = 0;

/// Sizes in bytes of a message's length field, and of its header.
const LENGTH: usize = 4;
const HEADER: usize = 24;

/// The longest answer in bytes. A domain's description has some thousand, one with a thousand disks less than a
/// million.
const MAX_MESSAGE: usize = 4 << 20;

/// How many unrelated messages may come before an answer.
const MAX_STRAY: usize = 64;

/// How many descriptors an answer may have; the calls used here return at most one.
const MAX_DESCRIPTORS: u32 = 1;

/// The procedures that are called, by libvirt's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Procedure {
    Open = 1,
    DomainGetXml = 14,
    DomainByName = 23,
    DomainByUuid = 24,
    AuthList = 66,
    AuthPolkit = 70,
    ListAllDomains = 273,
    DomainOpenGraphicsFd = 343,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The connection failed, or the answer is not in libvirt's protocol.
    #[error(transparent)]
    Connection(#[from] io::Error),
    /// libvirt refused, with its error code.
    #[error("{message}")]
    Refused { code: u32, message: String },
}

impl From<Malformed> for CallError {
    fn from(_: Malformed) -> CallError {
        broken("its answer is cut off or no text")
    }
}

/// The answer is not in libvirt's protocol.
pub(super) fn broken(why: impl Into<String>) -> CallError {
    CallError::Connection(io::Error::new(io::ErrorKind::InvalidData, why.into()))
}

/// The contents of an answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// A connection with one call at a time.
pub(super) struct Connection {
    stream: UnixStream,
    serial: u32,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Connection {
        Connection { stream, serial: 0 }
    }

    /// Sends a call and waits for the answer. If dropped while it waits, the connection cannot be used again.
    pub(super) async fn call(&mut self, procedure: Procedure, body: Encoder) -> Result<Reply, CallError> {
        self.serial += 1;
        let header = [PROGRAM, VERSION, procedure as u32, CALL, self.serial, OK];
        let message = header.into_iter().fold(Encoder::default(), Encoder::word).fixed(&body.done()).done();
        let length = u32::try_from(message.len() + LENGTH).unwrap_or(u32::MAX);
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(&message).await?;
        for _ in 0..MAX_STRAY {
            if let Some(reply) = self.receive(procedure).await? {
                return Ok(reply);
            }
        }
        Err(broken("it answers everything but what was asked"))
    }

    /// Reads one message; `None` if it does not answer the last call.
    async fn receive(&self, procedure: Procedure) -> Result<Option<Reply>, CallError> {
        let mut descriptors = Vec::new();
        let mut length = [0; LENGTH];
        passing::receive(&self.stream, &mut length, &mut descriptors).await?;
        let length = u32::from_be_bytes(length) as usize;
        if !(LENGTH + HEADER..=MAX_MESSAGE).contains(&length) {
            return Err(broken(format!("it sends a message of {length} bytes, {MAX_MESSAGE} are allowed")));
        }
        let mut message = vec![0; length - LENGTH];
        passing::receive(&self.stream, &mut message, &mut descriptors).await?;
        let mut reader = Decoder::new(&message);
        let (program, _version, answered) = (reader.word()?, reader.word()?, reader.word()?);
        let (kind, serial, status) = (reader.word()?, reader.word()?, reader.word()?);
        let mut skipped = HEADER;
        if kind == REPLY_WITH_DESCRIPTORS {
            skipped += LENGTH;
            let count = reader.word()?;
            if count > MAX_DESCRIPTORS {
                return Err(broken(format!("it passes {count} descriptors")));
            }
            for _ in 0..count {
                // Each descriptor comes with a byte of its own, after the message.
                passing::receive(&self.stream, &mut [0], &mut descriptors).await?;
            }
        }
        if program != PROGRAM || !matches!(kind, REPLY | REPLY_WITH_DESCRIPTORS) {
            return Ok(None);
        }
        if answered != procedure as u32 || serial != self.serial {
            return Err(broken(format!("it answers call {serial} and not {}", self.serial)));
        }
        if status != OK {
            return Err(refusal(&message[skipped..])?);
        }
        message.drain(..skipped);
        Ok(Some(Reply { body: message, descriptors }))
    }
}

fn refusal(body: &[u8]) -> Result<CallError, Malformed> {
    let mut reader = Decoder::new(body);
    let (code, _part) = (reader.word()?, reader.word()?);
    let message = reader.optional_text()?.unwrap_or("it does not say why").to_owned();
    Ok(CallError::Refused { code, message })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::testing::in_time;

    /// What a call gets from a server that has sent this. Each answers the first call.
    async fn answer(parts: &[&[u32]]) -> Result<Reply, String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for part in parts {
            theirs
                .write_all(&part.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>())
                .await
                .unwrap();
        }
        theirs.shutdown().await.unwrap();
        let reply = in_time(Connection::new(ours).call(Procedure::AuthList, Encoder::default())).await;
        reply.map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn a_message_is_held_against_what_was_asked() {
        let good = [28, PROGRAM, VERSION, 66, REPLY, 1, OK];
        assert_eq!(answer(&[&good]).await.unwrap().body, b"");
        let event = [32, PROGRAM, VERSION, 318, 2, 0, OK, 7];
        let ping = [28, 0x6b65_6570, 1, 1, 2, 0, OK];
        assert_eq!(answer(&[&event, &ping, &good]).await.unwrap().body, b"");
        let cases: [(&[u32], &str); 9] = [
            (&[], "UnexpectedEof"),
            (&good[..5], "UnexpectedEof"),
            (&[27], "27 bytes"),
            (&[u32::MAX], "4294967295 bytes"),
            (&[4 << 20], "UnexpectedEof"),
            (&[28, PROGRAM, VERSION, 23, REPLY, 1, OK], "answers call 1"),
            (&[28, PROGRAM, VERSION, 66, REPLY, 2, OK], "answers call 2"),
            (&[32, PROGRAM, VERSION, 66, REPLY_WITH_DESCRIPTORS, 1, OK, 2], "passes 2"),
            (&[28, PROGRAM, VERSION, 66, REPLY, 1, 1], "cut off"),
        ];
        for (message, why) in cases {
            let error = answer(&[message]).await.unwrap_err();
            assert!(error.contains(why), "{message:?}: {error}");
        }
        let endless: Vec<&[u32]> = vec![&event; MAX_STRAY];
        assert!(answer(&endless).await.unwrap_err().contains("everything but"));
    }

    #[tokio::test]
    async fn a_refusal_has_its_number() {
        let refused = [48, PROGRAM, VERSION, 66, REPLY, 1, 1, 42, 10, 1, 3, u32::from_be_bytes(*b"why\0")];
        let error = answer(&[&refused]).await.unwrap_err();
        assert_eq!(error, r#"Refused { code: 42, message: "why" }"#);
    }

    #[tokio::test]
    async fn a_descriptor_comes_after_its_message() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let message = [32, PROGRAM, VERSION, 343, REPLY_WITH_DESCRIPTORS, 1, OK, 1];
        theirs.write_all(&message.map(u32::to_be_bytes).concat()).await.unwrap();
        let (given, _kept) = UnixStream::pair().unwrap();
        passing::send(&mut theirs, &[0], given.as_fd()).await.unwrap();
        let mut libvirt = Connection::new(ours);
        let reply = in_time(libvirt.call(Procedure::DomainOpenGraphicsFd, Encoder::default())).await.unwrap();
        assert_eq!((reply.body.len(), reply.descriptors.len()), (0, 1));
    }
}
