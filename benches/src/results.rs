//! What was measured, as Markdown.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::goals;
use crate::load::Answer;

/// Ratios are to this chain, within the same round.
const FLOOR: &str = "splice";

const BEGIN: &str = "<!-- make bench: begin -->";
const END: &str = "<!-- make bench: end -->";

/// All values of all chains, in the order in which they came.
#[derive(Default)]
pub struct Results {
    chains: Vec<(&'static str, &'static str)>,
    measures: Vec<String>,
    values: Vec<(&'static str, String, Vec<f64>)>,
    pub took: Duration,
}

impl Results {
    pub fn chain(&mut self, name: &'static str, what: &'static str) {
        if !self.chains.iter().any(|(known, _)| *known == name) {
            self.chains.push((name, what));
        }
    }

    /// A chain that failed the first check.
    pub fn left_out(&mut self, name: &'static str) {
        self.chain(name, "not measured: it did not carry 8 MiB of noise each way unchanged, twice");
        self.values.retain(|(chain, _, _)| *chain != name);
    }

    pub fn add(&mut self, chain: &'static str, answers: Vec<Answer>) {
        for (measure, value) in answers {
            if !self.measures.contains(&measure) {
                self.measures.push(measure.clone());
            }
            match self.values.iter_mut().find(|(c, m, _)| *c == chain && *m == measure) {
                Some((_, _, values)) => values.push(value),
                None => self.values.push((chain, measure, vec![value])),
            }
        }
    }

    fn of(&self, chain: &str, measure: &str) -> Option<&[f64]> {
        let found = self.values.iter().find(|(c, m, _)| *c == chain && m == measure)?;
        Some(&found.2)
    }

    /// The median of a measure.
    pub fn median(&self, chain: &str, measure: &str) -> Option<f64> {
        self.of(chain, measure).map(median)
    }

    /// The median of the ratios to another chain, round by round.
    pub fn ratio(&self, chain: &str, to: &str, measure: &str) -> Option<f64> {
        let (ours, theirs) = (self.of(chain, measure)?, self.of(to, measure)?);
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Some(median(&ratios))
    }

    pub fn to_markdown(&self, settings: &str) -> String {
        let mut text = String::new();
        let minutes = self.took.as_secs_f64() / 60.0;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\n\n{settings} The whole took {minutes:.1} minutes.\n", machine());
        let _ = writeln!(text, "{}", goals::to_markdown(self));
        let _ = writeln!(text, "| chain | what it is |\n|---|---|");
        for (name, what) in &self.chains {
            let _ = writeln!(text, "| {name} | {what} |");
        }
        let _ = writeln!(
            text,
            "\nEach value is the median of its rounds (least to most), then the median of its ratios to `{FLOOR}` in the same round.\n"
        );
        for measure in &self.measures {
            let _ = writeln!(text, "| {measure} | median (min to max) | ratio |\n|---|---|---|");
            for (chain, _) in &self.chains {
                let Some(values) = self.of(chain, measure) else { continue };
                let (least, most) =
                    values.iter().fold((f64::MAX, f64::MIN), |(l, m), v| (l.min(*v), m.max(*v)));
                let middle = number(median(values));
                let range = if values.len() > 1 {
                    format!(" ({} to {})", number(least), number(most))
                } else {
                    String::new()
                };
                let ratio = self.ratio(chain, FLOOR, measure).filter(|ratio| ratio.is_finite());
                let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
                let _ = writeln!(text, "| {chain} | {middle}{range} | {ratio} |");
            }
            text.push('\n');
        }
        text
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What it ran on.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let processors = info.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "Machine: {processors} processors ({}), Linux {}, TCP congestion control {}. Clients, target and chain share it.",
        model.trim_start_matches(['\t', ' ', ':']),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/net/ipv4/tcp_congestion_control"),
    )
}

/// Replaces what is between the markers of a page.
///
/// # Errors
/// When the page cannot be read or written, or has no markers.
pub fn write_into(path: &Path, text: &str) -> anyhow::Result<()> {
    let page = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (Some(begin), Some(end)) = (page.find(BEGIN), page.find(END)) else {
        bail!("{} has no line {BEGIN} with {END} behind it", path.display());
    };
    let new = format!("{}{BEGIN}\n\n{}\n\n{}", &page[..begin], text.trim(), &page[end..]);
    fs::write(path, new).with_context(|| path.display().to_string())
}
