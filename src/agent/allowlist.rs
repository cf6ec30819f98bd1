//! What the host's owner allows, in charge of everything that is opened: only the allowlist makes a
//! [`Permit`], only a permit gets a [`Place`], and only a place can be opened.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::close::CloseFrame;
use crate::protocol::command::{Code, Refusal, TargetInfo};
use crate::protocol::end::End;
use crate::protocol::mode::Mode;

use super::stop::Stop;
use super::target::{Bound, OpenError, Opened, Target, Window};

/// The allowlist. Clones are the same list.
#[derive(Clone, Debug)]
pub struct Allowlist(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    targets: BTreeMap<String, Entry>,
    limit: u32,
    /// Places taken by target, of targets that are gone as well.
    open: HashMap<String, u32>,
}

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    revoked: Stop,
}

/// The right to have one target opened. It holds no place: a client may never come.
#[derive(Debug)]
pub struct Permit {
    list: Allowlist,
    target: Arc<Target>,
    bound: Bound,
    mode: Mode,
    revoked: Stop,
}

/// A linked stream's place among those that may be open at once. Dropping it gives the place back.
#[derive(Debug)]
pub struct Place(Permit);

impl Allowlist {
    /// A list of targets, and how many streams there may be at once over all of them.
    pub fn new(targets: Vec<Target>, limit: u32) -> Allowlist {
        let targets = targets.into_iter().map(|target| (target.name.clone(), Entry::new(target))).collect();
        Allowlist(Arc::new(Mutex::new(State { targets, limit, open: HashMap::new() })))
    }

    /// Takes over a new list. Streams of targets that are gone or changed are ended, all others go on.
    pub fn replace(&self, targets: Vec<Target>, limit: u32) {
        let mut state = self.lock();
        let mut old = std::mem::take(&mut state.targets);
        for target in targets {
            let name = target.name.clone();
            let entry = match old.remove(&name) {
                Some(entry) if *entry.target == target => entry,
                changed => {
                    if let Some(entry) = changed {
                        entry.revoked.now(CloseFrame::new(
                            End::NotAllowed,
                            "the target was changed by the host's owner",
                        ));
                    }
                    Entry::new(target)
                }
            };
            state.targets.insert(name, entry);
        }
        for entry in old.into_values() {
            entry.revoked.now(CloseFrame::new(End::NotAllowed, "the target was removed by the host's owner"));
        }
        state.limit = limit;
    }

    /// Permits one stream to a target. While linked streams take all places, nothing is permitted.
    ///
    /// # Errors
    /// [`Code::TargetNotAllowed`], [`Code::ParamsNotAllowed`], [`Code::ModeNotAllowed`] or [`Code::Busy`].
    pub fn permit(
        &self,
        name: &str,
        params: &BTreeMap<String, String>,
        mode: Option<Mode>,
    ) -> Result<Permit, Refusal> {
        let state = self.lock();
        let entry = state.targets.get(name).ok_or_else(|| {
            // Not quoted: the name comes from outside, and the owner's log has it anyway.
            Refusal::new(Code::TargetNotAllowed, "no such target on this host's allowlist")
        })?;
        let (target, revoked) = (entry.target.clone(), entry.revoked.clone());
        let bound = target
            .bind(params)
            .map_err(|error| Refusal::new(Code::ParamsNotAllowed, format!("target {name}: {error}")))?;
        let mode = mode.or(target.modes.first().copied()).unwrap_or(Mode::Ro);
        if !target.modes.contains(&mode) {
            return Err(Refusal::new(Code::ModeNotAllowed, format!("target {name} cannot be opened {mode}")));
        }
        state.has_room(&target)?;
        drop(state);
        Ok(Permit { list: self.clone(), target, bound, mode, revoked })
    }

    /// The list as the platform may see it.
    pub fn infos(&self) -> Vec<TargetInfo> {
        self.lock().targets.values().map(|entry| entry.target.info()).collect()
    }

    /// Streams that are open now.
    pub fn open(&self) -> u32 {
        self.lock().open.values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether one more stream may be open.
    fn has_room(&self, target: &Target) -> Result<(), Refusal> {
        let total: u32 = self.open.values().sum();
        if total >= self.limit {
            let message = format!("{total} streams are open on this host, its limit");
            return Err(Refusal::new(Code::Busy, message));
        }
        let open = self.open.get(&target.name).copied().unwrap_or_default();
        if open >= target.max_streams {
            let message = format!("target {} has {open} streams open, its limit", target.name);
            return Err(Refusal::new(Code::Busy, message));
        }
        Ok(())
    }
}

impl Entry {
    fn new(target: Target) -> Entry {
        Entry { target: Arc::new(target), revoked: Stop::default() }
    }
}

impl Permit {
    /// Takes a place for a client that is there.
    ///
    /// # Errors
    /// [`Code::Busy`] when other streams have taken all of them meanwhile.
    pub fn take_place(self) -> Result<Place, Refusal> {
        let mut state = self.list.lock();
        state.has_room(&self.target)?;
        *state.open.entry(self.target.name.clone()).or_default() += 1;
        drop(state);
        Ok(Place(self))
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What the client may do.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Set when the owner takes the target back.
    pub fn revoked(&self) -> &Stop {
        &self.revoked
    }
}

impl Place {
    /// Opens the target, with the size of the client's terminal where that is known.
    ///
    /// # Errors
    /// Those of the target.
    pub async fn open(&self, window: Option<Window>) -> Result<Opened, OpenError> {
        self.0.bound.open(self.0.mode, window).await
    }

    /// What it was taken with.
    pub fn permit(&self) -> &Permit {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Permit { list, target, .. } = &self.0;
        let mut state = list.lock();
        if let Some(open) = state.open.get_mut(&target.name) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&target.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::testing::target_named;
    use super::*;

    fn list() -> Allowlist {
        let a = target_named("a", "kind = 'tcp'\naddress = '127.0.0.1:1'\nmax_streams = 2");
        let b = target_named("b", "kind = 'file'\npath = '/b'");
        Allowlist::new(vec![a, b], 3)
    }

    fn code(list: &Allowlist, name: &str, mode: Option<Mode>) -> Code {
        list.permit(name, &BTreeMap::new(), mode).unwrap_err().code
    }

    fn permit(list: &Allowlist, name: &str) -> Permit {
        list.permit(name, &BTreeMap::new(), None).unwrap()
    }

    fn place(list: &Allowlist, name: &str) -> Place {
        permit(list, name).take_place().unwrap()
    }

    #[test]
    fn only_what_is_listed_in_its_modes_and_without_parameters() {
        let list = list();
        assert_eq!(code(&list, "c", None), Code::TargetNotAllowed);
        assert_eq!(code(&list, "b", Some(Mode::Rw)), Code::ModeNotAllowed);
        assert_eq!(permit(&list, "b").mode(), Mode::Ro);
        let params = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
        assert_eq!(list.permit("a", &params, None).unwrap_err().code, Code::ParamsNotAllowed);
    }

    #[test]
    fn limits_are_held_and_places_come_back() {
        let list = list();
        let (_a1, a2) = (place(&list, "a"), place(&list, "a"));
        assert_eq!(code(&list, "a", None), Code::Busy);
        let _b = place(&list, "b");
        assert_eq!(code(&list, "b", None), Code::Busy);
        drop(a2);
        assert_eq!(list.open(), 2);
        place(&list, "b");
    }

    #[test]
    fn a_client_that_may_never_come_holds_no_place() {
        let list = list();
        let waiting: Vec<_> = (0..10).map(|_| permit(&list, "a")).collect();
        assert_eq!(list.open(), 0);
        let taken: Vec<_> = waiting.into_iter().map(Permit::take_place).collect();
        assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 2);
        assert_eq!(taken[2].as_ref().unwrap_err().code, Code::Busy);
        assert_eq!(list.open(), 2);
        drop(taken);
        assert_eq!(list.open(), 0);
    }

    #[test]
    fn a_new_list_ends_what_is_gone_or_changed_and_nothing_else() {
        let list = list();
        let (a, b) = (place(&list, "a"), permit(&list, "b"));
        let a_same = target_named("a", "kind = 'tcp'\naddress = '127.0.0.1:1'\nmax_streams = 2");
        list.replace(vec![a_same], 3);
        assert!(a.permit().revoked().why().is_none());
        assert!(b.revoked().why().unwrap().words().contains("removed"));
        let a_other = target_named("a", "kind = 'tcp'\naddress = '127.0.0.1:2'");
        list.replace(vec![a_other], 3);
        assert!(a.permit().revoked().why().unwrap().words().contains("changed"));
        drop((a, b));
        assert_eq!(list.open(), 0);
    }
}
