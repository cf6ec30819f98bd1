//! The user that a program runs as, if it is not the agent's own.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::OwnedFd;

use nix::unistd::{Uid, User, getgrouplist};
use rustix::thread;

use crate::support::opened::OpenError;

/// The variables that login(1) sets for a user, or for the agent's own; none for an unknown user.
pub(super) fn variables(name: Option<&str>) -> Vec<(&'static str, OsString)> {
    let found = match name {
        Some(name) => User::from_name(name),
        None => User::from_uid(Uid::effective()),
    };
    let Ok(Some(user)) = found else { return name.map_or_else(of_this_process, |_| vec![]) };
    // An empty field is /bin/sh (passwd(5)).
    let shell = match user.shell.as_os_str().is_empty() {
        true => "/bin/sh".into(),
        false => user.shell.into_os_string(),
    };
    let name = OsString::from(user.name);
    vec![("HOME", user.dir.into_os_string()), ("USER", name.clone()), ("LOGNAME", name), ("SHELL", shell)]
}

/// For a user that exists as long as its unit, and that programs cannot look up. systemd tells us its name. Its one folder
/// that can be written is /tmp.
fn of_this_process() -> Vec<(&'static str, OsString)> {
    let Some(name) = std::env::var_os("USER") else { return vec![] };
    vec![("HOME", "/tmp".into()), ("USER", name.clone()), ("LOGNAME", name), ("SHELL", "/bin/sh".into())]
}

/// A user with all groups. Looked up before the fork, because nothing can be looked up between fork and exec.
pub(super) struct Identity {
    uid: thread::Uid,
    gid: thread::Gid,
    groups: Vec<thread::Gid>,
}

impl Identity {
    /// Looks up a user by name; none if it is the agent's own user.
    pub(super) fn look_up(name: &str) -> Result<Option<Identity>, OpenError> {
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
        let (uid, gid) = (thread::Uid::from_raw(user.uid.as_raw()), thread::Gid::from_raw(user.gid.as_raw()));
        let groups = groups.into_iter().map(|gid| thread::Gid::from_raw(gid.as_raw())).collect();
        Ok(Some(Identity { uid, gid, groups }))
    }

    /// Gives the terminal to the user, as login(1) does: programs open it by its name.
    pub(super) fn own(&self, terminal: &OwnedFd) -> io::Result<()> {
        Ok(rustix::fs::fchown(terminal, Some(self.uid), None)?)
    }

    /// Becomes the user. Makes only system calls, so that it may run between fork and exec.
    pub(super) fn assume(&self) -> io::Result<()> {
        // glibc's functions would make the other threads change too, and wait for them: a forked child has none.
        thread::set_thread_groups(&self.groups)?;
        thread::set_thread_res_gid(self.gid, self.gid, self.gid)?;
        thread::set_thread_res_uid(self.uid, self.uid, self.uid)?;
        Ok(())
    }
}
