//! The user that a program runs as, where it is not the agent's own.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid, User, fchown, getgrouplist};

use crate::agent::target::opened::OpenError;

/// What login(1) sets for a user, or for the agent's own; nothing for one that the host does not know.
pub(super) fn variables(name: Option<&str>) -> Vec<(&'static str, OsString)> {
    let found = match name {
        Some(name) => User::from_name(name),
        None => User::from_uid(Uid::effective()),
    };
    // Where users cannot be looked up now, a program that needs none of this still runs.
    let Ok(Some(user)) = found else { return vec![] };
    // An empty field is /bin/sh (passwd(5)).
    let shell = match user.shell.as_os_str().is_empty() {
        true => "/bin/sh".into(),
        false => user.shell.into_os_string(),
    };
    let name = OsString::from(user.name);
    vec![("HOME", user.dir.into_os_string()), ("USER", name.clone()), ("LOGNAME", name), ("SHELL", shell)]
}

/// A user with all groups, looked up before the fork: between fork and exec nothing may be looked up.
pub(super) struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    /// Looks a user up by name.
    pub(super) fn of(name: &str) -> Result<Option<Identity>, OpenError> {
        let user =
            User::from_name(name).map_err(|error| OpenError::system(format_args!("user {name}"), error))?;
        let Some(user) = user else {
            return Err(OpenError::failed(format!("there is no user {name} on this host")));
        };
        let own = Uid::effective();
        if user.uid == own {
            return Ok(None);
        }
        if !own.is_root() {
            return Err(OpenError::failed(format!(
                "only root may run programs as {name}: leave `user` out and let argv begin with sudo, with a rule in \
                 sudoers.d, or run the agent as {name}"
            )));
        }
        let groups = CString::new(name)
            .map_err(io::Error::from)
            .and_then(|name| Ok(getgrouplist(&name, user.gid)?))
            .map_err(|error| OpenError::system(format_args!("groups of {name}"), error))?;
        Ok(Some(Identity { uid: user.uid, gid: user.gid, groups }))
    }

    /// Makes the terminal that user's, as a login does: programs open it by its name.
    pub(super) fn own(&self, terminal: &OwnedFd) -> io::Result<()> {
        Ok(fchown(terminal, Some(self.uid), None)?)
    }

    /// Becomes that user. Makes system calls only, so it may run between fork and exec.
    #[allow(unsafe_code)]
    pub(super) fn assume(&self) -> io::Result<()> {
        // glibc's own functions would tell the other threads, of which a forked child has none.
        // SAFETY: the list is alive during the call, and `Gid` is a `gid_t` (`repr(transparent)`).
        let done = unsafe {
            libc::syscall(libc::SYS_setgroups, self.groups.len(), self.groups.as_ptr().cast::<libc::gid_t>())
        };
        Errno::result(done)?;
        let (uid, gid) = (self.uid.as_raw(), self.gid.as_raw());
        // SAFETY: both take integers only.
        Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
        Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
        Ok(())
    }
}
