//! Other people's programs that carry bytes between two TCP ends, each as its own documentation starts it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use super::process::Process;
use super::{Chain, Entry, Ground, Started, Starter, Traits, free_port};
use crate::wire::Door;

pub const STARTERS: [(&str, Starter); 6] = [
    ("haproxy", haproxy),
    ("nginx", nginx),
    ("rathole", rathole),
    ("bore", bore),
    ("websocat", websocat),
    ("websockify", websockify),
];

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Two processes in a row, each from `command` with what it listens on and what it connects to.
fn twice(
    ground: &Ground<'_>,
    name: &'static str,
    what: &'static str,
    mut command: impl FnMut(&str, SocketAddr, SocketAddr) -> anyhow::Result<Command>,
) -> anyhow::Result<Started> {
    let (mut processes, mut roles, mut to) = (vec![], vec![], ground.target);
    for (role, listen) in [("agent", LOOPBACK), ("relay", ground.listen)] {
        let address = free_port(listen)?;
        let mut process =
            Process::start(&mut command(role, address, to)?, ground.dir, &format!("{name}-{role}"))?;
        process.listens(address)?;
        roles.push(process.role(role));
        processes.push(process);
        to = address;
    }
    let entry = Entry::Fixed(Door { address: to, tls: None, path: None });
    let traits = Traits { two_hops: true, holds_many: true };
    Ok(Started { chains: vec![Chain { name, what, roles, entry, traits }], processes })
}

fn haproxy(ground: &Ground<'_>) -> anyhow::Result<Started> {
    twice(ground, "haproxy", "HAProxy twice, mode tcp, two TCP hops", |role, listen, to| {
        let config = ground.dir.join(format!("haproxy-{role}.cfg"));
        let text = format!(
            "global\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10m\n  \
             timeout server 10m\nlisten all\n  bind {listen}\n  server target {to}\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(config);
        Ok(command)
    })
}

fn nginx(ground: &Ground<'_>) -> anyhow::Result<Started> {
    twice(ground, "nginx", "nginx twice, stream module, two TCP hops", |role, listen, to| {
        let config = ground.dir.join(format!("nginx-{role}.conf"));
        let dir = ground.dir.display();
        let text = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nworker_processes 2;\n\
             user root;\nworker_rlimit_nofile 20000;\npid {dir}/nginx-{role}.pid;\nerror_log {dir}/nginx-{role}.err;\n\
             events {{ worker_connections 19000; }}\n\
             stream {{ server {{ listen {listen}; proxy_pass {to}; proxy_timeout 10m; tcp_nodelay on; }} }}\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new("nginx");
        command.arg("-e").arg(ground.dir.join("nginx.err")).arg("-c").arg(config);
        Ok(command)
    })
}

fn rathole(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let control = free_port(LOOPBACK)?;
    let public = free_port(ground.listen)?;
    let write = |name: &str, text: String| {
        let path = ground.dir.join(name);
        fs::write(&path, text).map(|()| path)
    };
    let server = write(
        "rathole-server.toml",
        format!(
            "[server]\nbind_addr = '{control}'\ndefault_token = 't'\n[server.transport]\ntype = 'websocket'\n[server.transport.websocket]\ntls = false\n[server.services.bench]\nbind_addr = '{public}'\n"
        ),
    )?;
    let client = write(
        "rathole-client.toml",
        format!(
            "[client]\nremote_addr = '{control}'\ndefault_token = 't'\n[client.transport]\ntype = 'websocket'\n[client.transport.websocket]\ntls = false\n[client.services.bench]\nlocal_addr = '{}'\n",
            ground.target
        ),
    )?;
    let program = ground.peers.join("rathole");
    let mut relay = Process::start(Command::new(&program).arg(server), ground.dir, "rathole-relay")?;
    let agent = Process::start(Command::new(&program).arg(client), ground.dir, "rathole-agent")?;
    // The public port opens when the client has said what it serves.
    relay.listens(public)?;
    let what = "rathole 0.5, websocket between its two halves, TCP to the client";
    dialled(ground, "rathole", what, relay, agent, public)
}

fn bore(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let public = free_port(ground.listen)?;
    let program = ground.peers.join("bore");
    let mut server = Command::new(&program);
    // Its control port is fixed at 7835, so it gets a loopback address of its own.
    let control = "127.77.0.1";
    server.args(["server", "--bind-addr", control, "--bind-tunnels", &public.ip().to_string()]);
    let mut relay = Process::start(&mut server, ground.dir, "bore-relay")?;
    relay.says("listening")?;
    let mut local = Command::new(&program);
    local.args([
        "local",
        &ground.target.port().to_string(),
        "--to",
        control,
        "--port",
        &public.port().to_string(),
    ]);
    let mut agent = Process::start(&mut local, ground.dir, "bore-agent")?;
    agent.says("listening")?;
    let what = "bore 0.6, TCP between its two halves and to the client";
    dialled(ground, "bore", what, relay, agent, public)
}

fn dialled(
    _ground: &Ground<'_>,
    name: &'static str,
    what: &'static str,
    relay: Process,
    agent: Process,
    public: SocketAddr,
) -> anyhow::Result<Started> {
    let roles = vec![agent.role("agent"), relay.role("relay")];
    let entry = Entry::Fixed(Door { address: public, tls: None, path: None });
    let traits = Traits { two_hops: true, holds_many: false };
    Ok(Started { chains: vec![Chain { name, what, roles, entry, traits }], processes: vec![relay, agent] })
}

fn websocat(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let address = free_port(ground.listen)?;
    let mut command = Command::new(ground.peers.join("websocat"));
    command.args(["-b", &format!("ws-l:{address}"), &format!("tcp:{}", ground.target)]);
    one_hop(ground, "websocat", "websocat 1, one hop: websocket to TCP", command, address)
}

fn websockify(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let address = free_port(ground.listen)?;
    let mut command = Command::new("websockify");
    command.args([&address.to_string(), &ground.target.to_string()]);
    one_hop(ground, "websockify", "websockify, one hop: websocket to TCP", command, address)
}

fn one_hop(
    ground: &Ground<'_>,
    name: &'static str,
    what: &'static str,
    mut command: Command,
    address: SocketAddr,
) -> anyhow::Result<Started> {
    let mut process = Process::start(&mut command, ground.dir, name)?;
    process.listens(address)?;
    let roles = vec![process.role("relay")];
    let entry = Entry::Fixed(Door { address, tls: None, path: Some("/".into()) });
    let traits = Traits::default();
    Ok(Started { chains: vec![Chain { name, what, roles, entry, traits }], processes: vec![process] })
}
