//! The load generator of `make bench`: starts chains of processes between clients and a target, asks the same of each
//! in turn, and prints what they took.

mod account;
mod chain;
mod forward;
mod goals;
mod load;
mod pump;
mod results;
mod slow_link;
mod target;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use chain::{Chain, Ground};
use clap::{Parser, Subcommand, ValueEnum};
use load::echo::Beside;
use load::{Answer, age, bulk, check, echo, idle, setup, small, stalled};
use results::Results;
use slow_link::SlowLink;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures, and prints Markdown.
    Run(Run),
    /// A TCP hop that only forwards: started by `run`.
    Forward(forward::Args),
    /// The pump alone, over memory: for valgrind --tool=callgrind.
    Pump(pump::Args),
}

#[derive(clap::Args)]
#[command(args_override_self = true)]
struct Run {
    /// Folder of stream-agent and stream-relay.
    #[arg(long)]
    bin: PathBuf,
    /// Folder of the peers that were built from crates.
    #[arg(long)]
    peers: PathBuf,
    /// Times that everything is measured; what is printed is the median.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 1.0)]
    window: f64,
    /// Idle sessions at most.
    #[arg(long, default_value_t = 8000)]
    sessions: usize,
    /// Only these starters: stream, stream-tls, direct, splice, haproxy, …
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these measures.
    #[arg(long, value_delimiter = ',')]
    measure: Vec<Measure>,
    /// Writes the result between the markers of this file as well.
    #[arg(long)]
    into: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    Bulk,
    Small,
    Echo,
    Sizes,
    Setup,
    Rate,
    Neighbour,
    Stalled,
    Idle,
    Age,
}

impl Measure {
    /// Measured in every round.
    const ROUNDS: [Measure; 7] = [
        Measure::Bulk,
        Measure::Small,
        Measure::Echo,
        Measure::Sizes,
        Measure::Setup,
        Measure::Rate,
        Measure::Neighbour,
    ];
    /// Takes long and varies little: measured once.
    const ONCE: [Measure; 2] = [Measure::Stalled, Measure::Idle];
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Forward(args) => forward::run(args),
        Command::Pump(args) => pump::run(&args),
        Command::Run(run) => run.run(),
    }
}

/// Whether bytes come out as they went in; a second try for who is slow to start.
fn carries(chain: &Chain) -> bool {
    let tried = |error: anyhow::Error| eprintln!("{} does not carry bytes right: {error:#}", chain.name);
    check::run(chain)
        .or_else(|error| {
            tried(error);
            check::run(chain)
        })
        .map_err(tried)
        .is_ok()
}

impl Run {
    fn run(self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let dir = tempfile::tempdir()?;
        let ground = Ground {
            bin: &self.bin,
            peers: &self.peers,
            dir: dir.path(),
            listen: "127.0.0.1".parse()?,
            target: target::serve()?,
        };
        let mut results = Results::default();
        {
            let (mut chains, _processes) = chain::start(&ground, &self.only)?;
            for chain in &chains {
                results.add(chain.name, account::at_start(&chain.roles));
            }
            // A peer that does not carry the bytes right is not measured; ours must.
            for chain in chains.extract_if(.., |chain| !carries(chain)) {
                anyhow::ensure!(!chain.is_ours(), "{} does not carry bytes", chain.name);
                results.left_out(chain.name);
            }
            for chain in &chains {
                results.chain(chain.name, chain.what);
            }
            for measure in Measure::ONCE {
                self.ask(&mut results, measure, &chains)?;
            }
            for round in 0..self.rounds {
                for measure in Measure::ROUNDS {
                    eprintln!(
                        "[{:4} s] round {} of {}: {measure:?}",
                        begun.elapsed().as_secs(),
                        round + 1,
                        self.rounds
                    );
                    self.ask(&mut results, measure, &chains)?;
                }
            }
        }
        if self.wants(Measure::Age) {
            self.ask_age(&mut results, &ground)?;
        }
        results.took = begun.elapsed();
        let text = results.to_markdown(&self.settings());
        println!("{text}");
        if let Some(path) = &self.into {
            results::write_into(path, &text)?;
        }
        Ok(())
    }

    fn wants(&self, measure: Measure) -> bool {
        self.measure.is_empty() || self.measure.contains(&measure)
    }

    fn ask(&self, results: &mut Results, measure: Measure, chains: &[Chain]) -> anyhow::Result<()> {
        if !self.wants(measure) {
            return Ok(());
        }
        for chain in chains {
            let began = Instant::now();
            match self.answers(measure, chain) {
                Ok(answers) => results.add(chain.name, answers),
                Err(error) if chain.is_ours() => {
                    return Err(error.context(format!("{measure:?} of {}", chain.name)));
                }
                // What a peer cannot do is missing in its rows.
                Err(error) => eprintln!("{measure:?} of {}: {error:#}", chain.name),
            }
            eprintln!("  {:?} {} {:?}", measure, chain.name, began.elapsed());
        }
        Ok(())
    }

    fn answers(&self, measure: Measure, chain: &Chain) -> anyhow::Result<Vec<Answer>> {
        let window = Duration::from_secs_f64(self.window);
        let half = window / 2;
        Ok(match measure {
            Measure::Bulk => [bulk::run(chain, 1, window)?, bulk::run(chain, 8, window)?].concat(),
            Measure::Small => small::run(chain, window)?,
            Measure::Echo => [
                echo::run(chain, Beside::Nothing, window)?,
                echo::run(chain, Beside::Paced, window)?,
                echo::run(chain, Beside::Saturating, window)?,
            ]
            .concat(),
            Measure::Sizes => echo::sizes(chain, half)?,
            Measure::Setup => setup::one_by_one(chain, 200)?,
            // One process a connection is no match, and takes minutes.
            Measure::Rate if chain.name != "websockify" => setup::rate(chain, 2000)?,
            Measure::Neighbour if chain.traits.two_hops => stalled::neighbour(chain, half)?,
            Measure::Stalled if chain.traits.two_hops || chain.roles.is_empty() => stalled::held(chain)?,
            Measure::Idle if chain.traits.holds_many => idle::run(chain, self.sessions / 8, self.sessions)?,
            Measure::Rate | Measure::Neighbour | Measure::Stalled | Measure::Idle | Measure::Age => vec![],
        })
    }

    /// On the far side of a slow link, so every chain is started again with its clients' end there.
    fn ask_age(&self, results: &mut Results, ground: &Ground<'_>) -> anyhow::Result<()> {
        let link = SlowLink::new().context("slow link (needs root)")?;
        let dir = ground.dir.join("slow");
        std::fs::create_dir_all(&dir)?;
        // The target listens where clients of the direct way can reach it.
        let near = target::serve_at(link.near)?;
        for (listen, target, only) in [(link.near, near, "direct"), (link.near, ground.target, "")] {
            let ground = Ground { listen, target, dir: &dir, ..*ground };
            let wanted: Vec<String> = match only {
                "" if self.only.is_empty() => {
                    ["stream", "splice", "haproxy", "nginx", "rathole", "websocat"].map(String::from).into()
                }
                "" => self.only.iter().filter(|name| *name != "direct").cloned().collect(),
                only => vec![only.into()],
            };
            let (chains, _processes) = chain::start(&ground, &wanted)?;
            for _ in 0..self.rounds.min(3) {
                for chain in &chains {
                    results.chain(chain.name, chain.what);
                    let answers = age::run(chain, &link, Duration::from_secs_f64(self.window * 6.0))?;
                    results.add(chain.name, answers);
                }
            }
        }
        Ok(())
    }

    fn settings(&self) -> String {
        format!(
            "{} rounds, windows of {} s, up to {} idle sessions. In each round every chain is asked in turn.",
            self.rounds, self.window, self.sessions
        )
    }
}
