//! How a SPICE viewer begins each of its connections: `RedLinkMess` of the SPICE protocol.
//!
//! All connections of a viewer look the same to a proxy, and a second viewer's,
//! which has the same file, look like more of them. Only the SPICE bytes differ.

/// How many bytes are looked at.
pub(super) const OPENING: usize = 20;

/// Whether these first bytes belong to a viewer that the server knows: the server gives each viewer a number on its
/// first connection, and the viewer shows it on all others. A viewer that has none yet sends 0.
pub(super) fn is_of_known_viewer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"REDQ") && bytes.get(16..OPENING).is_some_and(|number| number != [0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_connection_of_a_viewer_is_told_from_its_others() {
        let opening = |number: u32| {
            let header = [0x5144_4552, 2, 2, 26, number].map(u32::to_le_bytes);
            [header.as_flattened(), &[1, 0]].concat()
        };
        assert!(is_of_known_viewer(&opening(0x0100_0000)));
        assert!(!is_of_known_viewer(&opening(0)));
        assert!(!is_of_known_viewer(&opening(7)[..19]));
        assert!(!is_of_known_viewer(b"RFB 003.008\nxxxxxxxxx"));
    }
}
