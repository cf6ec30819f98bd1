//! What libvirt reports about a domain: its identity and its displays.

use roxmltree::{Document, Node};
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
        Domain::next(&mut Decoder::new(body))
    }

    fn next(reader: &mut Decoder<'_>) -> Result<Domain, Malformed> {
        let (name, uuid, run) = (reader.text()?.to_owned(), Uuid::from_bytes(reader.fixed()?), reader.int()?);
        Ok(Domain { name, uuid, run: u32::try_from(run).ok() })
    }

    /// The domains of a list.
    pub(super) fn list(body: &[u8]) -> Result<Vec<Domain>, Malformed> {
        let mut reader = Decoder::new(body);
        let count = reader.word()?;
        (0..count).map(|_| Domain::next(&mut reader)).collect()
    }

    pub(super) fn write(&self) -> Encoder {
        Encoder::default().text(&self.name).fixed(self.uuid.as_bytes()).word(self.run.unwrap_or(u32::MAX))
    }
}

/// A domain's displays in libvirt's order, including those that cannot be opened.
pub(super) fn displays(xml: &str) -> Result<Vec<Option<Display>>, CallError> {
    let document = parse(xml)?;
    let graphics = devices(&document, "graphics");
    Ok(graphics.map(|at| at.attribute("type").and_then(Display::named)).collect())
}

/// A serial line of a domain, as QEMU provides it on this host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SerialLine {
    /// A terminal, whose path is another at each start.
    Terminal(String),
    Socket(String),
}

/// The serial lines of a domain that runs.
pub(super) fn serial_lines(xml: &str) -> Result<Vec<SerialLine>, CallError> {
    let document = parse(xml)?;
    let lines = devices(&document, "serial").filter_map(|at| {
        let source = at.children().find(|node| node.has_tag_name("source"))?;
        let path = source.attribute("path")?.to_owned();
        match at.attribute("type")? {
            "pty" => Some(SerialLine::Terminal(path)),
            "unix" if source.attribute("mode") == Some("bind") => Some(SerialLine::Socket(path)),
            _ => None,
        }
    });
    Ok(lines.collect())
}

fn parse(xml: &str) -> Result<Document<'_>, CallError> {
    let options = roxmltree::ParsingOptions { nodes_limit: MAX_NODES, ..Default::default() };
    Document::parse_with_options(xml, options)
        .map_err(|error| broken(format!("its description of the domain is no XML: {error}")))
}

/// Only below `devices`: anyone who may write a domain's metadata could write <graphics> there.
fn devices<'a>(document: &'a Document<'_>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    let devices = document.root_element().children().filter(|node| node.has_tag_name("devices"));
    devices.flat_map(|devices| devices.children()).filter(move |at| at.has_tag_name(name))
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
    fn serial_lines_are_where_qemu_has_them_on_this_host() {
        let xml = "<domain><devices><serial type='pty'><source path='/dev/pts/3'/></serial><serial type='unix'>\
                   <source mode='bind' path='/run/a'/></serial><serial type='unix'><source mode='connect' path='/run/b'/>\
                   </serial><serial type='file'><source path='/c'/></serial><serial type='pty'/></devices></domain>";
        let lines = [SerialLine::Terminal("/dev/pts/3".into()), SerialLine::Socket("/run/a".into())];
        assert_eq!(serial_lines(xml).unwrap(), lines);
    }

    #[test]
    fn a_list_has_each_domain() {
        let [a, b] = ["a", "web-1"].map(|name| Domain { name: name.into(), uuid: Uuid::nil(), run: None });
        let list = [Encoder::default().word(2).done(), a.write().done(), b.write().done()].concat();
        assert_eq!(Domain::list(&list), Ok(vec![a, b]));
        assert_eq!(Domain::list(&list[..40]), Err(Malformed));
        assert_eq!(Domain::list(&[255; 4]), Err(Malformed));
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
