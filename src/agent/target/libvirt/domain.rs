//! What libvirt tells of a domain: who it is, and which displays it has.

use std::fmt;
use std::str::FromStr;

use super::super::display::Display;
use super::rpc::{CallError, broken};
use super::xdr::{Malformed, Reader, Writer};

/// Elements and texts of a domain's description at most; one with a thousand disks has 20 thousand.
const MAX_NODES: u32 = 200_000;

/// What stays the same for as long as a machine lives, however it is named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::agent::target) struct Uuid([u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = String;

    fn from_str(text: &str) -> Result<Uuid, String> {
        let wrong = || format!("\"{text}\" is no UUID: write it as `virsh domuuid` does");
        let plain = text.replace('-', "");
        let dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
        if plain.len() != 32 || !(dashed || text.len() == 32) {
            return Err(wrong());
        }
        // A sign before the number is taken by the parser, but is none of a UUID's digits.
        if !plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(&plain, 16).map(|number| Uuid(number.to_be_bytes())).map_err(|_| wrong())
    }
}

/// A domain as libvirt knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) uuid: Uuid,
    /// Another one for each start; `None` while it is shut off.
    pub(super) run: Option<u32>,
}

impl Domain {
    pub(super) fn read(body: &[u8]) -> Result<Domain, Malformed> {
        let mut reader = Reader::new(body);
        let (name, uuid, run) = (reader.text()?.to_owned(), Uuid(reader.fixed()?), reader.int()?);
        Ok(Domain { name, uuid, run: u32::try_from(run).ok() })
    }

    pub(super) fn write(&self) -> Writer {
        Writer::default().text(&self.name).fixed(&self.uuid.0).word(self.run.unwrap_or(u32::MAX))
    }
}

impl Uuid {
    pub(super) fn write(self) -> Writer {
        Writer::default().fixed(&self.0)
    }
}

/// A domain's displays as libvirt counts them, those that cannot be opened among them.
pub(super) fn displays(xml: &str) -> Result<Vec<Option<Display>>, CallError> {
    let options = roxmltree::ParsingOptions { nodes_limit: MAX_NODES, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(xml, options)
        .map_err(|error| broken(format!("its description of the domain is no XML: {error}")))?;
    // Only what is a device: whoever may write a domain's metadata could write <graphics> there.
    let devices = document.root_element().children().filter(|node| node.has_tag_name("devices"));
    let graphics = devices.flat_map(|devices| devices.children()).filter(|at| at.has_tag_name("graphics"));
    Ok(graphics.map(|at| at.attribute("type").and_then(Display::named)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_with_and_without_dashes() {
        let text = "3e86282f-62e6-418f-88a0-5c110223d97b";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(text.to_uppercase().replace('-', "").parse(), Ok(uuid));
        for text in
            ["", "+e86282f62e6418f88a05c110223d97b", "3e86282f-62e6", &"g".repeat(32), &"é".repeat(16)]
        {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_devices_are_displays() {
        let xml = "<domain type='qemu'><metadata><graphics type='spice'/></metadata><devices>\
                   <graphics type='egl-headless'/><graphics type='vnc'><listen type='none'/></graphics>\
                   <disk><graphics type='spice'/></disk><graphics type='spice'/></devices></domain>";
        assert_eq!(displays(xml).unwrap(), [None, Some(Display::Vnc), Some(Display::Spice)]);
        assert_eq!(displays("<domain/>").unwrap(), []);
        for xml in ["", "<domain>", "<!DOCTYPE a [<!ENTITY b \"c\">]><domain>&b;</domain>"] {
            assert!(displays(xml).is_err(), "{xml}");
        }
    }

    #[test]
    fn a_domain_that_is_off_has_no_run() {
        let off = Domain { name: "web-1".into(), uuid: Uuid([7; 16]), run: None };
        assert_eq!(Domain::read(&off.write().done()), Ok(off.clone()));
        let on = Domain { run: Some(3), ..off };
        assert_eq!(Domain::read(&on.write().done()), Ok(on));
        assert_eq!(Domain::read(&[0; 8]), Err(Malformed));
    }
}
