//! The configuration files of a world: the least that works, and what the test adds.

use super::World;

/// Adds the test's user to each `exec` target without `user`, because an agent that runs as root requires it.
fn with_users(tables: &str) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name;
    let mut text = String::new();
    for table in tables.split_inclusive('\n').collect::<Vec<_>>().chunk_by(|_, next| !next.starts_with('[')) {
        let is_named = table.iter().any(|line| line.starts_with("user"));
        for line in table {
            text.push_str(line);
            if !is_named && line.trim() == "kind = 'exec'" {
                text.push_str(&format!("user = '{user}'\n"));
            }
        }
    }
    text
}

impl World {
    pub(crate) fn write_relay_config(&self) {
        let dir = self.dir.path().display();
        let hash = std::fs::read_to_string(self.path("api.sha256")).unwrap();
        let (ip, admin, url, nats) = (&self.ip, &self.admin_ip, self.relay_url(), self.nats_url());
        let mut text = format!(
            "listen = ['{ip}:8080']\nadmin = '{admin}:8081'\npublic_urls = ['{url}']\n{}\n",
            self.relay_config.replace("DIR", &dir.to_string())
        );
        if !text.contains("[auth]") {
            // There is one clock, and a new relay refuses other platforms' grants for the time of the leeway.
            text.push_str(&format!("[auth]\nissuers_dir = '{dir}/relay/issuers.d'\nleeway = '0s'\n"));
        }
        if self.tls {
            text.push_str(&format!(
                "[tls]\ncert_file = '{dir}/relay/tls.crt'\nkey_file = '{dir}/relay/tls.key'\n"
            ));
        }
        if !text.contains("mode = 'opaque'") && !text.contains("# no platform") {
            text.push_str(&format!(
                "[platform]\nsigning_key_file = '{dir}/relay/k1.pem'\nnats.servers = ['{nats}']\n{}\n\
                 [[platform.api_key]]\nname = 'me'\nsha256 = '{hash}'\n{}",
                self.platform_config.replace("DIR", &dir.to_string()),
                self.key_config
            ));
        }
        std::fs::write(self.path("relay/config.toml"), text).unwrap();
    }

    pub(crate) fn write_agent_config(&self) {
        let dir = self.dir.path().display().to_string();
        let extra = self.agent_config.replace("DIR", &dir);
        let mut text = String::from("host_id = 'h1'\n");
        if !extra.contains("[nats]") {
            text.push_str(&format!("[nats]\nservers = ['{}']\n", self.nats_url()));
        }
        if !extra.contains("[relay]") {
            text.push_str(&format!("[relay]\nallow = ['{}']\n", self.relay_url()));
            if self.tls {
                text.push_str(&format!("ca_file = '{dir}/relay/tls.crt'\n"));
            }
        }
        if !extra.contains("[auth]") {
            text.push_str(&format!("[auth]\nissuers_dir = '{dir}/agent/issuers.d'\n"));
        }
        text.push_str(&with_users(&extra));
        std::fs::write(self.path("agent/config.toml"), text).unwrap();
        std::fs::write(
            self.path("agent/targets.d/test.toml"),
            match self.split {
                true => self.targets.replace("DIR", &dir),
                false => with_users(&self.targets.replace("DIR", &dir)),
            },
        )
        .unwrap();
    }
}
