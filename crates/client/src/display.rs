//! What a target's screen speaks, so that the right viewer shows it.

use clap::ValueEnum;

use protocol::command::TargetInfo;
use protocol::view::View;

/// A protocol for screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Display {
    Spice,
    Vnc,
}

impl Display {
    /// What a target is: the host's word, else a guess by its name and title. None if neither says it.
    pub(crate) fn of(target: &TargetInfo) -> Option<Display> {
        match target.view {
            Some(View::Spice) => return Some(Display::Spice),
            Some(View::Vnc) => return Some(Display::Vnc),
            Some(_) => return None,
            // Hosts before 0.2.0 do not say.
            None => {}
        }
        let words = format!("{} {}", target.name, target.title.as_deref().unwrap_or_default()).to_lowercase();
        match (words.contains("spice"), words.contains("vnc")) {
            (true, false) => Some(Display::Spice),
            (false, true) => Some(Display::Vnc),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hosts_word_counts_before_a_name() {
        for (name, title, view, display) in [
            ("vm", None, Some("spice"), Some(Display::Spice)),
            ("vm-spice", None, Some("vnc"), Some(Display::Vnc)),
            ("spice", None, Some("terminal"), None),
            ("vm1.VNC", None, None, Some(Display::Vnc)),
            ("vm", Some("SPICE screen"), None, Some(Display::Spice)),
            ("spice-or-vnc", None, None, None),
            ("shell", None, None, None),
        ] {
            let listed =
                json!({ "name": name, "kind": "unix", "modes": ["rw"], "title": title, "view": view });
            assert_eq!(Display::of(&serde_json::from_value(listed).unwrap()), display, "{name}");
        }
    }
}
