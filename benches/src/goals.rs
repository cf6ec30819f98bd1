//! The goals of the hot path, held against what was measured.

use std::fmt::Write;

use crate::results::Results;

/// Where a goal's value comes from.
enum Value {
    /// The worst ratio to a chain over these measures; for rates the least.
    Ratio { chain: &'static str, to: &'static str, measures: &'static [&'static str], at_least: bool },
    /// The largest median over these measures; for rates the least.
    Most { chain: &'static str, measures: &'static [&'static str], at_least: bool },
    /// The median of a sum.
    Sum { chain: &'static str, measures: &'static [&'static str] },
}

struct Goal {
    what: &'static str,
    value: Value,
    bound: f64,
}

const BULK_CPU: [&str; 4] = [
    "bulk 1 to client, CPU s/GB",
    "bulk 1 to host, CPU s/GB",
    "bulk 8 to client, CPU s/GB",
    "bulk 8 to host, CPU s/GB",
];
const BULK_RATE: [&str; 4] =
    ["bulk 1 to client, MB/s", "bulk 1 to host, MB/s", "bulk 8 to client, MB/s", "bulk 8 to host, MB/s"];
const ECHO_P99: [&str; 6] = [
    "echo of 64 B, p99 us",
    "echo of 1000 B, p99 us",
    "echo of 16000 B, p99 us",
    "echo of 64000 B, p99 us",
    "echo of 128000 B, p99 us",
    "echo of 200000 B, p99 us",
];

const fn ratio(chain: &'static str, to: &'static str, measures: &'static [&'static str]) -> Value {
    Value::Ratio { chain, to, measures, at_least: false }
}

const fn most(chain: &'static str, measures: &'static [&'static str]) -> Value {
    Value::Most { chain, measures, at_least: false }
}

const GOALS: [Goal; 24] = [
    Goal {
        what: "CPU s/GB, worst of 4, x two-hop tokio copy (8 KiB, its default)",
        value: ratio("stream", "copy-8k", &BULK_CPU),
        bound: 1.0,
    },
    Goal {
        what: "CPU s/GB, worst of 4, x two-hop tokio copy (64 KiB)",
        value: ratio("stream", "copy-64k", &BULK_CPU),
        bound: 1.0,
    },
    Goal {
        what: "CPU s/GB, worst of 4, x splice floor",
        value: ratio("stream", "splice", &BULK_CPU),
        bound: 1.25,
    },
    Goal {
        what: "bulk MB/s, worst of 4, x HAProxy twice (at least)",
        value: Value::Ratio { chain: "stream", to: "haproxy", measures: &BULK_RATE, at_least: true },
        bound: 1.4,
    },
    Goal {
        what: "128-byte frames from the client, CPU s/million",
        value: most("stream", &["frames of 128 B from the client, CPU s/million"]),
        bound: 0.25,
    },
    Goal {
        what: "128-byte writes of the target, CPU s/million",
        value: most("stream", &["writes of 128 B at the target, CPU s/million"]),
        bound: 0.25,
    },
    Goal {
        what: "round trip p50, x splice floor",
        value: ratio("stream-int", "splice", &["round trip alone, p50 us"]),
        bound: 1.1,
    },
    Goal {
        what: "round trip p99, x splice floor",
        value: ratio("stream-int", "splice", &["round trip alone, p99 us"]),
        bound: 1.1,
    },
    Goal {
        what: "round trip beside a saturating stream, p50 us",
        value: most("stream", &["round trip beside a saturating stream, p50 us"]),
        bound: 500.0,
    },
    Goal {
        what: "round trip beside a saturating stream, p99 us",
        value: most("stream", &["round trip beside a saturating stream, p99 us"]),
        bound: 5000.0,
    },
    Goal { what: "echo of 64 B to 200 KB, worst p99 us", value: most("stream", &ECHO_P99), bound: 5000.0 },
    Goal {
        what: "echo of 64 B to 200 KB, interactive, worst p99 us",
        value: most("stream-int", &ECHO_P99),
        bound: 5000.0,
    },
    Goal {
        what: "age of data behind 20 Mbit/s, interactive, x direct TCP",
        value: ratio("stream-int", "direct", &["age of data behind 20 Mbit/s, p50 ms"]),
        bound: 2.0,
    },
    Goal {
        what: "set-up p50, x splice floor",
        value: ratio("stream", "splice", &["set-up, p50 us"]),
        bound: 1.2,
    },
    Goal {
        what: "clients linked a second (at least)",
        value: Value::Most { chain: "stream", measures: &["clients linked a second"], at_least: true },
        bound: 5000.0,
    },
    Goal {
        what: "idle session, relay, KiB",
        value: most("stream-int", &["idle session, relay, KiB", "idle session after 256 KiB, relay, KiB"]),
        bound: 3.0,
    },
    Goal {
        what: "idle session, agent, KiB",
        value: most("stream-int", &["idle session, agent, KiB", "idle session after 256 KiB, agent, KiB"]),
        bound: 4.0,
    },
    Goal {
        what: "idle session with TLS, relay, KiB",
        value: most("stream-tls", &["idle session, relay, KiB", "idle session after 256 KiB, relay, KiB"]),
        bound: 10.0,
    },
    Goal {
        what: "idle session with TLS, agent, KiB",
        value: most("stream-tls", &["idle session, agent, KiB", "idle session after 256 KiB, agent, KiB"]),
        bound: 10.0,
    },
    Goal {
        what: "stalled reader, interactive, user and kernel, KiB",
        value: Value::Sum {
            chain: "stream-int",
            measures: &["stalled reader, user memory, KiB", "stalled reader, kernel TCP memory, KiB"],
        },
        bound: 256.0,
    },
    Goal { what: "agent at start, MiB", value: most("stream", &["agent at start, MiB"]), bound: 5.0 },
    Goal { what: "relay at start, MiB", value: most("stream", &["relay at start, MiB"]), bound: 6.0 },
    Goal { what: "stream-agent, MB on disk", value: most("stream", &["agent binary, MB"]), bound: 5.0 },
    Goal { what: "stream-relay, MB on disk", value: most("stream", &["relay binary, MB"]), bound: 7.0 },
];

/// The TLS goal compares two of our own chains and gets a line of its own.
const TLS: Goal = Goal {
    what: "both legs TLS 1.3, CPU s/GB, worst of 4, x plain",
    value: ratio("stream-tls", "stream", &BULK_CPU),
    bound: 2.0,
};

impl Value {
    fn of(&self, results: &Results) -> Option<(f64, bool)> {
        let worst = |values: Vec<f64>, at_least: bool| {
            let by = if at_least { f64::min } else { f64::max };
            values.into_iter().reduce(by).map(|value| (value, at_least))
        };
        match self {
            Value::Ratio { chain, to, measures, at_least } => {
                let values = measures.iter().filter_map(|measure| results.ratio(chain, to, measure));
                worst(values.collect(), *at_least)
            }
            Value::Most { chain, measures, at_least } => {
                let values = measures.iter().filter_map(|measure| results.median(chain, measure));
                worst(values.collect(), *at_least)
            }
            Value::Sum { chain, measures } => {
                let values: Option<Vec<f64>> =
                    measures.iter().map(|measure| results.median(chain, measure)).collect();
                values.map(|values| (values.into_iter().sum(), false))
            }
        }
    }
}

pub fn to_markdown(results: &Results) -> String {
    let mut text = String::from("| goal | bound | measured | |\n|---|---|---|---|\n");
    for goal in GOALS.iter().chain([&TLS]) {
        let Some((value, at_least)) = goal.value.of(results) else { continue };
        let reached = if at_least { value >= goal.bound } else { value <= goal.bound };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {value:.2} | {} |",
            goal.what,
            goal.bound,
            if reached { "reached" } else { "missed" }
        );
    }
    text
}
