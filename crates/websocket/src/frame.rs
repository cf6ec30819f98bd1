//! The header of a websocket frame (RFC 6455 section 5.2) and the mask. Pure functions on bytes.

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5), in bytes.
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Which end of the websocket this is. A client masks what it sends, a server never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dialled.
    Client,
    /// Accepted.
    Server,
}

/// The type of a frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Continues the message of the frame before.
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether this is a control frame (RFC 6455 section 5.5), and not part of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The type of the frame.
    pub opcode: Opcode,
    /// Payload bytes that follow the header.
    pub len: u64,
    /// The mask, in frames that a client sent.
    pub mask: Option<[u8; 4]>,
}

/// How a peer broke RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit is set, and no extension was agreed on.
    #[error("reserved bits are set")]
    ReservedBits,
    /// The opcode is reserved.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A length is not in its shortest form, or has its highest bit set.
    #[error("length is not in its shortest form")]
    Length,
    /// A control frame is fragmented or longer than 125 bytes.
    #[error("control frame is fragmented or too long")]
    Control,
    /// A client's frame without a mask, or a server's with one.
    #[error("frame is masked by the wrong side")]
    Mask,
    /// A continuation of nothing, or a new message inside another.
    #[error("fragments are out of order")]
    Fragment,
    /// A close frame with one byte, a code that must not be sent, or a reason that is not UTF-8.
    #[error("close frame is malformed")]
    Close,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
}

/// Parses the header that `bytes` begin with, as received by `reader`; returns it and its length. `None`: more bytes
/// are needed.
///
/// # Errors
/// If `bytes` violate RFC 6455, even if they are not a whole header yet.
pub fn parse(bytes: &[u8], reader: Role) -> Result<Option<(Header, usize)>, FrameError> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::ReservedOpcode)?;
    let masked = second & 0x80 != 0;
    if masked != (reader == Role::Server) {
        return Err(FrameError::Mask);
    }
    let short = second & 0x7f;
    if opcode.is_control() && (!fin || short as usize > MAX_CONTROL_PAYLOAD) {
        return Err(FrameError::Control);
    }
    let (len, rest) = match short {
        126 => {
            let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let len = u64::from(u16::from_be_bytes(*len));
            (if len > 125 { Ok(len) } else { Err(FrameError::Length) }?, rest)
        }
        127 => {
            let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
            let len = u64::from_be_bytes(*len);
            (if len > 0xffff && len >> 63 == 0 { Ok(len) } else { Err(FrameError::Length) }?, rest)
        }
        short => (u64::from(short), rest),
    };
    let (mask, rest) = match (masked, rest.split_first_chunk()) {
        (false, _) => (None, rest),
        (true, Some((mask, rest))) => (Some(*mask), rest),
        (true, None) => return Ok(None),
    };
    Ok(Some((Header { fin, opcode, len, mask }, bytes.len() - rest.len())))
}

/// Encodes a header; the second value is its length.
pub fn encode(header: Header) -> ([u8; MAX_HEADER], usize) {
    let mut bytes = [0; MAX_HEADER];
    bytes[0] = (u8::from(header.fin) << 7) | header.opcode.bits();
    let mask_bit = u8::from(header.mask.is_some()) << 7;
    let mut at = match header.len {
        len @ 0..=125 => {
            bytes[1] = mask_bit | len as u8;
            2
        }
        len @ 126..=0xffff => {
            bytes[1] = mask_bit | 126;
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        len => {
            bytes[1] = mask_bit | 127;
            bytes[2..10].copy_from_slice(&len.to_be_bytes());
            10
        }
    };
    if let Some(mask) = header.mask {
        bytes[at..at + 4].copy_from_slice(&mask);
        at += 4;
    }
    (bytes, at)
}

/// Applies a mask in place, beginning at its byte `phase` (0 to 3); returns the phase for the byte after.
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], phase: usize) -> usize {
    let key = u32::from_le_bytes(mask).rotate_right(phase as u32 * 8);
    let long = u128::from(key) * 0x1_0000_0001_0000_0001_0000_0001;
    // Wide words, and no iterator that needs inlining, since programs are compiled for size.
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u128::from_le_bytes(*word) ^ long).to_le_bytes();
    }
    for (at, byte) in rest.iter_mut().enumerate() {
        *byte ^= (key >> (at % 4 * 8)) as u8;
    }
    (phase + bytes.len()) % 4
}

/// Parses the payload of a close frame: its code and reason, or `None` if it is empty (RFC 6455 section 5.5.1).
///
/// # Errors
/// [`FrameError::Close`].
pub(super) fn parse_close(payload: &[u8]) -> Result<Option<(u16, String)>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(FrameError::Close) };
    };
    let code = u16::from_be_bytes(*code);
    let reason = String::from_utf8(reason.to_vec()).map_err(|_| FrameError::Close)?;
    if may_be_sent(code) { Ok(Some((code, reason))) } else { Err(FrameError::Close) }
}

/// Whether a code may stand in a close frame (RFC 6455 section 7.4).
pub const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_wire_at_every_length_boundary() {
        for len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let role = if mask.is_some() { Role::Server } else { Role::Client };
                let header = Header { fin: true, opcode: Opcode::Binary, len, mask };
                let (bytes, n) = encode(header);
                assert_eq!(parse(&bytes[..n], role), Ok(Some((header, n))));
                for cut in 0..n {
                    assert_eq!(parse(&bytes[..cut], role), Ok(None), "{len} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn what_rfc_6455_forbids_is_an_error() {
        let cases: [(&[u8], Role, FrameError); 9] = [
            (&[0xc2, 0x00], Role::Client, FrameError::ReservedBits),
            (&[0x83, 0x00], Role::Client, FrameError::ReservedOpcode),
            (&[0x82, 126, 0, 125], Role::Client, FrameError::Length),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Role::Client, FrameError::Length),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Role::Client, FrameError::Length),
            (&[0x09, 0x00], Role::Client, FrameError::Control),
            (&[0x89, 126, 0, 126], Role::Client, FrameError::Control),
            (&[0x82, 0x00], Role::Server, FrameError::Mask),
            (&[0x82, 0x80], Role::Client, FrameError::Mask),
        ];
        for (bytes, role, error) in cases {
            assert_eq!(parse(bytes, role), Err(error), "{bytes:x?}");
        }
    }

    #[test]
    fn the_mask_is_its_own_inverse_in_any_pieces() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let plain: Vec<u8> = (0..100).collect();
        let slow: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        for cut in 0..plain.len() {
            let mut bytes = plain.clone();
            let (head, tail) = bytes.split_at_mut(cut);
            let phase = apply_mask(head, mask, 0);
            apply_mask(tail, mask, phase);
            assert_eq!(bytes, slow, "cut at {cut}");
        }
    }

    #[test]
    fn codes_that_stand_for_no_code_are_never_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert!(!may_be_sent(code), "{code}");
        }
        for end in protocol::end::End::ALL {
            assert!(may_be_sent(end.code()), "{end:?}");
        }
    }
}
