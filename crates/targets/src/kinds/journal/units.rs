//! Decides which entries belong to a unit: those of its processes, and those that others write about it. The same as
//! `journalctl --unit`, for units of the system and of users' service managers.

use glob::Pattern;

use super::entry::Entry;

const COREDUMP: (&str, &str) = ("MESSAGE_ID", "fc2e22bc6ee647b6b90729ab34a250b1");

/// A field that names a unit, and what must accompany it, because otherwise any program could have written it.
pub(super) struct UnitField {
    pub(super) name: &'static str,
    with: &'static [(&'static str, &'static str)],
    /// Names a slice, which includes units below it, so that only globs for slices match it.
    is_slice: bool,
}

const fn unit(name: &'static str, with: &'static [(&'static str, &'static str)]) -> UnitField {
    UnitField { name, with, is_slice: false }
}

const fn slice(name: &'static str) -> UnitField {
    UnitField { name, with: &[], is_slice: true }
}

const OF_SYSTEM: [UnitField; 5] = [
    unit("_SYSTEMD_UNIT", &[]),
    unit("UNIT", &[("_PID", "1")]),
    unit("OBJECT_SYSTEMD_UNIT", &[("_UID", "0")]),
    unit("COREDUMP_UNIT", &[COREDUMP, ("_UID", "0")]),
    slice("_SYSTEMD_SLICE"),
];

const OF_USERS: [UnitField; 5] = [
    unit("_SYSTEMD_USER_UNIT", &[]),
    // A user's service manager runs in this unit.
    unit("USER_UNIT", &[("_SYSTEMD_USER_UNIT", "init.scope")]),
    unit("OBJECT_SYSTEMD_USER_UNIT", &[("_UID", "0")]),
    unit("COREDUMP_USER_UNIT", &[COREDUMP, ("_UID", "0")]),
    slice("_SYSTEMD_USER_SLICE"),
];

/// The fields in which a unit may be named.
pub(super) fn unit_fields(with_users: bool) -> impl Iterator<Item = &'static UnitField> {
    OF_SYSTEM.iter().chain(OF_USERS.iter().filter(move |_| with_users))
}

impl UnitField {
    /// Arguments that match entries with one of `names` in this field.
    fn arguments(&self, names: &[String], machine: Option<&str>) -> Vec<String> {
        let named = names.iter().map(|name| format!("{}={name}", self.name));
        let with = self.with.iter().map(|(field, value)| format!("{field}={value}"));
        named.chain(with).chain(machine.map(str::to_owned)).collect()
    }
}

/// Arguments for journalctl(1) that match all entries with one of the names in its field. All entries must also match
/// `machine`.
pub(super) fn matches(named: &[(&UnitField, Vec<String>)], machine: Option<&str>) -> Vec<String> {
    let groups = named.iter().filter(|(_, names)| !names.is_empty());
    let groups: Vec<_> = groups.map(|(field, names)| field.arguments(names, machine)).collect();
    groups.join(&"+".to_owned())
}

/// The same for units with known names.
pub(super) fn matches_of(names: &[String], with_users: bool, machine: Option<&str>) -> Vec<String> {
    let names = |field: &UnitField| {
        let full = names.iter().map(|name| full(name));
        full.filter(|name| !field.is_slice || name.ends_with(".slice")).collect()
    };
    let named: Vec<_> = unit_fields(with_users).map(|field| (field, names(field))).collect();
    matches(&named, machine)
}

/// A unit's full name: systemd accepts `ssh` for `ssh.service`.
pub(super) fn full(name: &str) -> String {
    const TYPES: [&str; 11] = [
        "service",
        "socket",
        "target",
        "device",
        "mount",
        "automount",
        "swap",
        "timer",
        "path",
        "slice",
        "scope",
    ];
    match name.rsplit_once('.') {
        Some((_, kind)) if TYPES.contains(&kind) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}

/// The units that an owner allows, by name or by glob.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    patterns: Vec<Pattern>,
    with_users: bool,
}

impl Wanted {
    pub(super) fn new<'a>(globs: impl Iterator<Item = &'a str>, with_users: bool) -> Wanted {
        let pattern = |glob: &str| match Pattern::escape(glob) == glob {
            true => Pattern::new(&full(glob)).ok(),
            false => Pattern::new(glob).ok(),
        };
        Wanted { patterns: globs.filter_map(pattern).collect(), with_users }
    }

    pub(super) fn unit_fields(&self) -> impl Iterator<Item = &'static UnitField> {
        unit_fields(self.with_users)
    }

    /// Whether a unit with this name in `field` is allowed.
    pub(super) fn allow(&self, field: &UnitField, name: &str) -> bool {
        let patterns =
            self.patterns.iter().filter(|pattern| !field.is_slice || pattern.as_str().ends_with(".slice"));
        patterns.into_iter().any(|pattern| pattern.matches(name))
    }

    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.unit_fields().any(|field| {
            let is_wanted = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| self.allow(field, name));
            let has = |(field, value): &(&str, &str)| entry.all(field).any(|found| found == value.as_bytes());
            field.with.iter().all(has) && entry.all(field.name).any(is_wanted)
        })
    }

    /// The fields that [`Wanted::has`] reads.
    pub(super) fn fields(&self) -> Vec<&'static str> {
        let fields = self
            .unit_fields()
            .flat_map(|field| std::iter::once(field.name).chain(field.with.iter().map(|(field, _)| *field)));
        let mut fields: Vec<_> = fields.collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&str, &str)]) -> Entry {
        Entry {
            fields: fields
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    #[test]
    fn an_entry_belongs_to_the_units_that_it_is_of_or_about() {
        let wanted = Wanted::new(["web@*", "ssh"].into_iter(), false);
        let has = |fields: &[(&str, &str)]| wanted.has(&entry(fields));
        assert!(has(&[("_SYSTEMD_UNIT", "web@1.service")]));
        assert!(has(&[("_SYSTEMD_UNIT", "ssh.service")]));
        assert!(has(&[("_SYSTEMD_UNIT", "init.scope"), ("_PID", "1"), ("UNIT", "web@2.service")]));
        let dump =
            [("_SYSTEMD_UNIT", "d.service"), ("_UID", "0"), COREDUMP, ("COREDUMP_UNIT", "ssh.service")];
        assert!(has(&dump));
        // What any program can say of any unit counts for nothing.
        assert!(!has(&[("_SYSTEMD_UNIT", "evil.service"), ("_PID", "7"), ("UNIT", "web@2.service")]));
        assert!(!has(&[("_UID", "7"), COREDUMP, ("COREDUMP_UNIT", "ssh.service")]));
        assert!(!has(&[("_SYSTEMD_UNIT", "web.service")]));
        assert!(!has(&[("_SYSTEMD_UNIT", "sshd.service")]));
        assert!(!has(&[("_SYSTEMD_USER_UNIT", "web@1.service")]));
        assert!(!has(&[]));
        let users = Wanted::new(["web@*"].into_iter(), true);
        assert!(
            users
                .has(&entry(&[("_SYSTEMD_UNIT", "user@7.service"), ("_SYSTEMD_USER_UNIT", "web@1.service")]))
        );
        assert!(users.has(&entry(&[("_SYSTEMD_USER_UNIT", "init.scope"), ("USER_UNIT", "web@1.service")])));
        assert!(!users.has(&entry(&[("USER_UNIT", "web@1.service")])));
    }

    #[test]
    fn a_slice_is_wanted_by_its_name_only() {
        let in_slice = entry(&[("_SYSTEMD_UNIT", "a.service"), ("_SYSTEMD_SLICE", "web-a.slice")]);
        assert!(!Wanted::new(["web*"].into_iter(), false).has(&in_slice));
        assert!(Wanted::new(["web*.slice"].into_iter(), false).has(&in_slice));
        assert!(Wanted::new(["web-a.slice", "b*"].into_iter(), false).has(&in_slice));
    }

    #[test]
    fn matches_are_those_of_journalctl() {
        let line =
            matches_of(&["ssh".to_owned(), "a.slice".to_owned()], false, Some("_MACHINE_ID=m")).join(" ");
        let (uid, id) = ("_UID=0 _MACHINE_ID=m", "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1");
        assert_eq!(
            line,
            format!(
                "_SYSTEMD_UNIT=ssh.service _SYSTEMD_UNIT=a.slice _MACHINE_ID=m \
                 + UNIT=ssh.service UNIT=a.slice _PID=1 _MACHINE_ID=m \
                 + OBJECT_SYSTEMD_UNIT=ssh.service OBJECT_SYSTEMD_UNIT=a.slice {uid} \
                 + COREDUMP_UNIT=ssh.service COREDUMP_UNIT=a.slice {id} {uid} \
                 + _SYSTEMD_SLICE=a.slice _MACHINE_ID=m"
            )
        );
    }
}
