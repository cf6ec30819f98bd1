//! Displays of virtual machines, by the words that QEMU and libvirt have for their protocols.

use std::fmt;

use serde::Deserialize;

use super::kind::Connections;

/// A protocol that a display speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Display {
    Spice,
    Vnc,
}

impl Display {
    const ALL: [Display; 2] = [Display::Spice, Display::Vnc];

    pub(super) fn name(self) -> &'static str {
        match self {
            Display::Spice => "spice",
            Display::Vnc => "vnc",
        }
    }

    pub(super) fn connections(self) -> Connections {
        match self {
            Display::Spice => Connections::Several,
            Display::Vnc => Connections::One,
        }
    }

    pub(super) fn named(name: &str) -> Option<Display> {
        Display::ALL.into_iter().find(|display| display.name() == name)
    }
}

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
