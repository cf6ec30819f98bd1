//! The sockets of a split agent, each with a process of systemd's that starts an opener or a cell for each connection. They are
//! real processes, without the isolation of their units (packaging/tests has that).

use targets::{Cell, Target};
use tokio::process::Command;

use super::{Process, SOON, World, within};

impl World {
    /// Listens in DIR/run as the packages' sockets do: for sessions, for programs, and for each target with needs of its own.
    pub(super) async fn start_openers(&mut self) {
        let (run, config) = (self.path("run"), self.path("agent/config.toml"));
        std::fs::create_dir_all(run.join("targets")).unwrap();
        let mut open = vec!["--config".into(), config.into_os_string(), "open".into(), "--runtime".into()];
        open.extend([run.clone().into(), "--seen".into(), self.path("seen").into()]);
        let cell = || vec!["cell".into()];
        let mut sockets =
            vec![(vec![run.join("open")], true, open), (vec![run.join("program")], true, cell())];
        // Those of one line: each world has one.
        let mut shared = vec![];
        for target in self.allowed() {
            let socket = run.join("targets").join(&target.name);
            match target.cell() {
                Cell::Shared => shared.push(socket),
                Cell::Own => sockets.push((vec![socket], true, cell())),
                Cell::Opener | Cell::Program => {}
            }
        }
        if !shared.is_empty() {
            sockets.push((shared, false, cell()));
        }
        for (number, (listening, is_accepting, arguments)) in sockets.into_iter().enumerate() {
            let mut command = Command::new("systemd-socket-activate");
            command.args(is_accepting.then_some("--accept")).arg("--seqpacket");
            for socket in &listening {
                let _ = std::fs::remove_file(socket);
                command.arg("--listen").arg(socket);
            }
            command.arg(&self.agent_program).args(arguments);
            let process = Process::start(command, self.path(&format!("opener{number}.log")));
            within(SOON, || listening.iter().all(|socket| socket.exists()), || process.said()).await;
            self.openers.push(process);
        }
    }

    /// The targets that the owner has written and that are valid.
    fn allowed(&self) -> Vec<Target> {
        let text = std::fs::read_to_string(self.path("agent/targets.d/test.toml")).unwrap();
        let tables: toml::Table = toml::from_str(&text).unwrap_or_default();
        let tables = tables.get("target").and_then(toml::Value::as_table).into_iter().flatten();
        tables.filter_map(|(name, table)| Target::from_value(name, table.clone()).ok()).collect()
    }
}
