//! The source of the unit's credentials (systemd.exec(5)), for commands outside of the unit.

use std::path::{Path, PathBuf};

use super::{name, unit};

/// The directory of paths without a leading slash, which the shipped units use. The prefix of each credential there is
/// the program's name and a dot.
const STORE: &str = "/etc/credstore";

/// The same directory for encrypted credentials.
const ENCRYPTED_STORE: &str = "/etc/credstore.encrypted";

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file itself.
    Plain(PathBuf),
    /// The file after systemd has decrypted it.
    Encrypted(PathBuf),
}

/// The source in the installed unit with its drop-ins, or that of the shipped unit if none is installed.
pub fn source(name: &str) -> Source {
    let store = || Source::Plain(Path::new(STORE).join(format!("{}.{name}", name::program())));
    unit::text().and_then(|text| in_unit(&text, name)).unwrap_or_else(store)
}

/// The source in a unit's text. The last setting counts.
fn in_unit(unit: &str, name: &str) -> Option<Source> {
    let mut source = None;
    for line in unit.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (source_type, store): (fn(PathBuf) -> Source, _) = match key.trim() {
            "LoadCredential" => (Source::Plain, STORE),
            "LoadCredentialEncrypted" => (Source::Encrypted, ENCRYPTED_STORE),
            _ => continue,
        };
        let value = value.trim();
        // Without a path, the file in the store has the credential's name.
        let (id, path) = value.split_once(':').unwrap_or((value, value));
        if value.is_empty() {
            source = None;
        } else if id == name {
            source = Some(source_type(Path::new(store).join(path)));
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_of_the_unit_counts() {
        let unit = "[Service]\nLoadCredential=nats.nk:stream-agent.nats.nk\nLoadCredential=tls.key:stream-relay.tls.key\n";
        let plain = |path: &str| Some(Source::Plain(path.into()));
        assert_eq!(in_unit(unit, "nats.nk"), plain("/etc/credstore/stream-agent.nats.nk"));
        assert_eq!(in_unit(unit, "nats"), None);
        let own = format!(
            "{unit}# /etc/systemd/system/x.d/y.conf\n[Service]\nLoadCredential=tls.key:/etc/tls/key.pem\n"
        );
        assert_eq!(in_unit(&own, "tls.key"), plain("/etc/tls/key.pem"));
        let encrypted = format!("{unit}LoadCredentialEncrypted = nats.nk:/etc/credstore.encrypted/n\n");
        assert_eq!(
            in_unit(&encrypted, "nats.nk"),
            Some(Source::Encrypted("/etc/credstore.encrypted/n".into()))
        );
        let stored = format!("{unit}LoadCredentialEncrypted=nats.nk\n");
        assert_eq!(
            in_unit(&stored, "nats.nk"),
            Some(Source::Encrypted("/etc/credstore.encrypted/nats.nk".into()))
        );
        assert_eq!(in_unit(&format!("{unit}LoadCredential=\n"), "nats.nk"), None);
    }

    #[test]
    fn without_a_unit_the_source_is_the_store() {
        let Source::Plain(path) = source("nats.nk") else { panic!("encrypted") };
        assert!(path.starts_with(STORE) && path.to_string_lossy().ends_with(".nats.nk"), "{path:?}");
    }
}
