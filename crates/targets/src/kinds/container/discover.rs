//! The containers that run: their logs, a shell in each, and the consoles of those that read input.

use super::engine::{Brand, Engine};
use super::info::ContainerInfo;
use crate::support::candidate::{Candidate, Findings, Group, in_time};

pub(super) async fn discover() -> Findings {
    let of = async |brand: Brand| {
        let engine = Engine { brand, socket: brand.socket() };
        if !engine.socket.exists() {
            return vec![];
        }
        match of_engine(&engine).await {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(why) => vec![Err(why)],
        }
    };
    // Each has its own time, so that one that hangs does not hide the other.
    let (mut docker, podman) = tokio::join!(in_time(of(Brand::Docker)), in_time(of(Brand::Podman)));
    docker.extend(podman);
    docker
}

async fn of_engine(engine: &Engine) -> Result<Vec<Candidate>, String> {
    let api = engine.reach().await.map_err(|error| error.message)?;
    let list = api.get("/containers/json").await.map_err(|error| engine.explained(error).message)?;
    let containers = list.as_array().into_iter().flatten();
    let names = containers
        .filter_map(|container| container["Names"][0].as_str()?.strip_prefix('/').map(str::to_owned));
    let mut found = vec![];
    for name in names {
        // It may have ended meanwhile.
        if let Ok(info) = ContainerInfo::look(&api, &name).await {
            found.extend(of_container(engine.brand, &info));
        }
    }
    Ok(found)
}

fn of_container(brand: Brand, info: &ContainerInfo) -> Vec<Candidate> {
    let name = &info.name;
    let target = |group, action: &str, noun: &str, what: &str| {
        let what = format!("{what} the {} container {name}", brand.command());
        Candidate::new(group, &format!("{name}-{noun}"), what)
            .of("engine", brand.command())
            .named("containers", name)
            .of("action", action)
    };
    let shell = target(Group::Console, "exec", "shell", "shell in").with("argv", vec!["/bin/sh"]);
    let mut found = vec![target(Group::Log, "logs", "log", "log of"), shell];
    if info.has_stdin {
        let console = target(Group::Console, "attach", "console", "console of");
        found.push(if info.has_tty { console } else { console.with("tty", false) });
    }
    found
}
