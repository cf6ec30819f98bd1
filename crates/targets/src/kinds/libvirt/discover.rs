//! The domains of libvirt: their screens, and the serial lines of those that run.

use super::domain::{Domain, SerialLine, displays, serial_lines};
use super::graphics::{Client, SOCKETS};
use super::rpc::{CallError, Connection, Procedure};
use super::xdr::{Decoder, Encoder};
use crate::support::candidate::{Candidate, Findings, Group};

/// Flags: domains that run, and those that do not.
const ACTIVE_AND_INACTIVE: u32 = 1 | 2;

pub(super) async fn discover(client: &Client) -> Findings {
    if !SOCKETS.iter().any(|socket| std::path::Path::new(socket).exists()) {
        return vec![];
    }
    let mut libvirt = match client.connect().await {
        Ok(libvirt) => libvirt,
        Err(error) => return vec![Err(error.message)],
    };
    match domains(&mut libvirt).await {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(format!("libvirt: {error}"))],
    }
}

async fn domains(libvirt: &mut Connection) -> Result<Vec<Candidate>, CallError> {
    let all = Encoder::default().word(1).word(ACTIVE_AND_INACTIVE);
    let list = libvirt.call(Procedure::ListAllDomains, all).await?;
    let mut found = vec![];
    for domain in Domain::list(&list.body)? {
        let xml = match libvirt.call(Procedure::DomainGetXml, domain.write().word(0)).await {
            Ok(xml) => xml,
            // It was removed meanwhile.
            Err(CallError::Refused { .. }) => continue,
            Err(error) => return Err(error),
        };
        found.extend(of_domain(&domain, Decoder::new(&xml.body).text()?)?);
    }
    Ok(found)
}

fn of_domain(domain: &Domain, xml: &str) -> Result<Vec<Candidate>, CallError> {
    let name = &domain.name;
    let mut found = vec![];
    let off = if domain.run.is_none() { ", which is off" } else { "" };
    for display in displays(xml)?.into_iter().flatten() {
        let what = format!("{} screen of the domain {name}{off}", display.name().to_uppercase());
        let screen = Candidate::new(Group::Screen, &format!("{name}-{display}"), what);
        found.push(screen.named("domains", name).with("display", display.name()));
    }
    if domain.run.is_none() {
        return Ok(found);
    }
    for line in serial_lines(xml)? {
        let line = match line {
            SerialLine::Terminal(path) => {
                let what = format!("serial line of the domain {name}, until it is started again");
                Candidate::new(Group::Console, &format!("{name}-serial"), what)
                    .of("path", path)
                    .with("kind", "serial")
            }
            SerialLine::Socket(path) => {
                let what = format!("serial line of the domain {name}");
                let line = Candidate::new(Group::Console, &format!("{name}-serial"), what);
                line.of("path", path).with("view", "terminal").with("kind", "unix")
            }
        };
        found.push(line);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_domain_has_its_screens_and_while_it_runs_its_serial_lines() {
        let xml = "<domain><devices><graphics type='vnc'/><graphics type='rdp'/><serial type='pty'>\
                   <source path='/dev/pts/3'/></serial></devices></domain>";
        let mut domain = Domain { name: "web-1".into(), uuid: Uuid::nil(), run: Some(1) };
        let names = |domain: &Domain| {
            let found = of_domain(domain, xml).unwrap();
            found.into_iter().map(|candidate| candidate.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&domain), ["web-1-vnc", "web-1-serial"]);
        domain.run = None;
        assert_eq!(names(&domain), ["web-1-vnc"]);
    }
}
