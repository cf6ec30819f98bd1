//! The entries of some units as a log.

use std::time::{Duration, SystemTime};

use super::files::AllBoots;
use super::globs::Shown;
use super::journalctl::{Endless, Journalctl};
use super::units::{self, Wanted};
use super::view::{View, begin};
use crate::kind::Open;
use crate::support::log;
use crate::support::opened::{OpenError, Opened, Opening, Output, blocking};
use protocol::grant::unix;

/// The journal of the units that a grant picked.
#[derive(Clone, Debug)]
pub(crate) struct UnitLog {
    pub(super) units: Units,
    pub(super) view: View,
    /// How many of the last entries are shown; `None` for the default, or for all since a time.
    pub(super) lines: Option<u32>,
    /// The age of the oldest entry that is shown.
    pub(super) since: Option<Duration>,
    /// Whether units of users' service managers are included.
    pub(super) user_units: bool,
    pub(super) is_raw: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Units {
    /// All units, and entries that belong to no unit.
    All,
    Named(Vec<String>),
    /// Units whose names match globs, also those that start later.
    Like(Wanted),
}

impl Open for UnitLog {
    async fn open(&self, opening: Opening) -> Result<Opened, OpenError> {
        let files = self.view.files.clone();
        blocking(move || files.look()).await?;
        self.is_of_system(&opening).await?;
        let since = self.since.map(|ago| unix(SystemTime::now() - ago));
        let reader = self.read(since, self.lines, &opening).await?;
        let this = self.clone();
        let again = move |time| -> log::Reopening {
            let (this, opening) = (this.clone(), opening.clone());
            Box::pin(async move { this.read(Some(time), None, &opening).await })
        };
        Ok(log::opened(reader, self.is_raw, Some(Box::new(again))))
    }
}

impl UnitLog {
    /// Refuses units that exist only in users' service managers if those are not shown: the log would stay empty.
    async fn is_of_system(&self, opening: &Opening) -> Result<(), OpenError> {
        let (Units::Named(names), false) = (&self.units, self.user_units) else { return Ok(()) };
        let known = async |field: &str| {
            let mut arguments = self.view.files.options();
            arguments.extend(["--field".to_owned(), field.to_owned()]);
            let said = Journalctl::said(arguments, opening).await?;
            let said = String::from_utf8_lossy(&said);
            Ok::<_, OpenError>(names.iter().all(|name| said.lines().any(|known| known == units::full(name))))
        };
        if known("_SYSTEMD_USER_UNIT").await? && !known("_SYSTEMD_UNIT").await? {
            let names = names.join(", ");
            let message =
                format!("{names}: only users' managers have this unit; user_units = true shows those");
            return Err(OpenError::not_allowed(message));
        }
        Ok(())
    }

    async fn read(
        &self,
        since: Option<u64>,
        lines: Option<u32>,
        opening: &Opening,
    ) -> Result<Output, OpenError> {
        if let Units::Like(wanted) = &self.units {
            return Shown::open(self.view.clone(), wanted.clone(), since, lines, opening).await;
        }
        let boots = self.view.files.all_boots(opening).await?;
        let run = Journalctl::start(self.arguments(since, lines, boots), opening).await?;
        Ok(Box::new(Endless(run)))
    }

    pub(super) fn arguments(&self, since: Option<u64>, lines: Option<u32>, boots: AllBoots) -> Vec<String> {
        let mut arguments = vec!["--follow".to_owned(), format!("--output={}", self.view.form.label())];
        arguments.extend(begin(since, lines));
        arguments.extend(self.view.priority());
        arguments.extend(self.view.files.options());
        arguments.extend(boots.options);
        match &self.units {
            Units::Named(names) if self.user_units => {
                arguments.extend(units::matches_of(names, true, boots.machine.as_deref()));
            }
            Units::Named(names) => {
                arguments.extend(names.iter().map(|unit| format!("--unit={unit}")));
                arguments.extend(boots.machine);
            }
            _ => arguments.extend(boots.machine),
        }
        arguments
    }
}
