//! What libvirt reports about a domain: its identity and its displays.

use uuid::Uuid;

use super::rpc::{CallError, broken};
use super::xdr::{Decoder, Encoder, Malformed};
use crate::support::display::Display;

/// How many elements and texts a domain's description may have; one with a thousand disks has 20,000.
const MAX_NODES: u32 = 200_000;

/// A domain as libvirt knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) uuid: Uuid,
    /// Different for each start; `None` while it is shut off.
    pub(super) run: Option<u32>,
}

impl Domain {
    pub(super) fn read(body: &[u8]) -> Result<Domain, Malformed> {
        let mut reader = Decoder::new(body);
        let (name, uuid, run) = (reader.text()?.to_owned(), Uuid::from_bytes(reader.fixed()?), reader.int()?);
        Ok(Domain { name, uuid, run: u32::try_from(run).ok() })
    }

    pub(super) fn write(&self) -> Encoder {
        Encoder::default().text(&self.name).fixed(self.uuid.as_bytes()).word(self.run.unwrap_or(u32::MAX))
    }
}

/// A domain's displays in libvirt's order, including those that cannot be opened.
pub(super) fn displays(xml: &str) -> Result<Vec<Option<Display>>, CallError> {
    let options = roxmltree::ParsingOptions { nodes_limit: MAX_NODES, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(xml, options)
        .map_err(|error| broken(format!("its description of the domain is no XML: {error}")))?;
    // Only below `devices`: anyone who may write a domain's metadata could write <graphics> there.
    let devices = document.root_element().children().filter(|node| node.has_tag_name("devices"));
    let graphics = devices.flat_map(|devices| devices.children()).filter(|at| at.has_tag_name("graphics"));
    Ok(graphics.map(|at| at.attribute("type").and_then(Display::named)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let off = Domain { name: "web-1".into(), uuid: Uuid::from_bytes([7; 16]), run: None };
        assert_eq!(Domain::read(&off.write().done()), Ok(off.clone()));
        let on = Domain { run: Some(3), ..off };
        assert_eq!(Domain::read(&on.write().done()), Ok(on));
        assert_eq!(Domain::read(&[0; 8]), Err(Malformed));
    }
}
