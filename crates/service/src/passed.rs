//! Sockets that the service manager has bound and passes at start (sd_listen_fds(3)), with their names.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A descriptor that was passed.
#[derive(Debug)]
pub struct Passed {
    /// Its `FileDescriptorName=`, which is the name of the socket unit by default.
    pub name: String,
    /// Close-on-exec. It was not checked, and may be any descriptor.
    pub socket: OwnedFd,
}

/// Takes the sockets that were passed to this process, and unsets their variables. Call it once, before anything else
/// runs.
///
/// # Errors
/// If the variables are not valid, or one of their descriptors is not open.
#[allow(unsafe_code)]
pub fn sockets() -> io::Result<Vec<Passed>> {
    // SAFETY: no other thread runs yet that could read the environment.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() }?;
    // SAFETY: they are open, nothing else in this process has them, and the variables are gone.
    Ok(passed.map(|(fd, name)| Passed { name, socket: unsafe { OwnedFd::from_raw_fd(fd) } }).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;

    use super::*;

    /// Environment and descriptors are process-wide, so this test has a process of its own.
    #[test]
    #[ignore = "run by sockets_are_taken_once_and_only_by_the_process_they_are_for"]
    fn in_a_process_of_its_own() {
        let passed = sockets();
        for variable in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            assert!(std::env::var_os(variable).is_none(), "{variable}");
        }
        assert_eq!(sockets().unwrap().len(), 0);
        match passed {
            Err(error) => println!("error: {error}"),
            Ok(passed) => {
                for Passed { name, socket } in passed {
                    let flags = nix::fcntl::fcntl(&socket, nix::fcntl::FcntlArg::F_GETFD).unwrap();
                    assert_eq!(flags & nix::libc::FD_CLOEXEC, nix::libc::FD_CLOEXEC);
                    let listener = TcpListener::from(socket);
                    println!("taken: {name} {}", listener.local_addr().unwrap());
                    drop(listener.accept().unwrap());
                }
            }
        }
    }

    /// Runs the test above with a listening socket as descriptor 3 and these variables.
    fn taken(listener: TcpListener, variables: &str) -> String {
        let script = format!("exec 3<&0 0</dev/null; {variables} exec \"$@\"");
        let output = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "passed::tests::in_a_process_of_its_own"])
            .stdin(OwnedFd::from(listener))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn sockets_are_taken_once_and_only_by_the_process_they_are_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let output =
            taken(listener.try_clone().unwrap(), "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=relay.socket");
        assert!(output.contains(&format!("taken: relay.socket {address}")), "{output}");
        // The accepted connection is closed with the process.
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let output = taken(listener.try_clone().unwrap(), "LISTEN_FDS=1 LISTEN_PID=1");
        assert!(!output.contains("taken") && !output.contains("error"), "{output}");
        let output = taken(listener.try_clone().unwrap(), "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=a:b");
        assert!(output.contains("error: invalid LISTEN_FDNAMES"), "{output}");
    }
}
