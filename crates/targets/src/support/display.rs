//! The display protocols of virtual machines, by the names that QEMU and libvirt use.

use std::fmt;

use serde::Deserialize;

use crate::kind::Connections;
use protocol::view::View;

/// The protocol of a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Display {
    Spice,
    Vnc,
}

impl Display {
    const ALL: [Display; 2] = [Display::Spice, Display::Vnc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Display::Spice => "spice",
            Display::Vnc => "vnc",
        }
    }

    pub(crate) fn connections(self) -> Connections {
        match self {
            Display::Spice => Connections::Several,
            Display::Vnc => Connections::One,
        }
    }

    pub(crate) fn view(self) -> View {
        match self {
            Display::Spice => View::Spice,
            Display::Vnc => View::Vnc,
        }
    }

    pub(crate) fn named(name: &str) -> Option<Display> {
        Display::ALL.into_iter().find(|display| display.name() == name)
    }
}

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
