//! Units that are allowed by globs. journalctl(1) resolves globs once and would never show a unit that starts later. So
//! it is asked for the stored entries of the known units, and then, from the journal's end on, for the entries of all
//! units, of which the agent shows the allowed ones.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;

use futures_util::future::try_join_all;
use futures_util::stream::{BoxStream, try_unfold};
use tokio_util::io::StreamReader;

use super::entry::{Entries, Entry};
use super::files::AllBoots;
use super::journalctl::{Endless, Journalctl};
use super::units::{self, Wanted};
use super::view::{View, begin};
use crate::support::opened::{OpenError, Opening, Output};
use protocol::failure::Failure;

/// How many stored entries are remembered, because those that were written after the journal's end was determined come
/// twice.
const REMEMBERED: usize = 4096;

/// Where the journal ended when the stream was opened.
#[derive(Clone, Debug, Default)]
struct Cursor(String);

impl Cursor {
    /// Whether an entry is certainly later: the same writer numbered both.
    fn is_before(&self, cursor: &str) -> bool {
        let (Some((ours, our)), Some((theirs, their))) = (numbered(&self.0), numbered(cursor)) else {
            return false;
        };
        ours == theirs && their > our
    }
}

/// The writer and the number in a cursor `s=…;i=…;b=…`.
fn numbered(cursor: &str) -> Option<(&str, u64)> {
    let mut parts = cursor.split(';');
    let writer = parts.next()?.strip_prefix("s=")?;
    Some((writer, u64::from_str_radix(parts.next()?.strip_prefix("i=")?, 16).ok()?))
}

/// The entries of the allowed units.
pub(super) struct Shown {
    source: Source,
    cursor: Option<Cursor>,
    stage: Stage,
    hasher: RandomState,
    recent: VecDeque<u64>,
    known: HashSet<u64>,
}

struct Source {
    view: View,
    wanted: Wanted,
    opening: Opening,
    boots: AllBoots,
}

enum Stage {
    Kept(Entries<Journalctl>),
    Next,
    Following(Entries<Endless>),
}

impl Shown {
    pub(super) async fn open(
        view: View,
        wanted: Wanted,
        since: Option<u64>,
        lines: Option<u32>,
        opening: &Opening,
    ) -> Result<Output, OpenError> {
        let boots = view.files.all_boots(opening).await?;
        let source = Source { view, wanted, opening: opening.clone(), boots };
        let cursor = source.end().await?;
        let stage = match cursor.is_some() && lines != Some(0) {
            true => source.kept(since, lines).await?,
            false => Stage::Next,
        };
        let (hasher, recent, known) = Default::default();
        let shown = Shown { source, cursor, stage, hasher, recent, known };
        let chunks = try_unfold(shown, async |mut shown: Shown| {
            let chunk = shown.chunk().await?;
            Ok::<_, io::Error>(Some((io::Cursor::new(chunk), shown)))
        });
        let chunks: BoxStream<'_, _> = Box::pin(chunks);
        Ok(Box::new(StreamReader::new(chunks)))
    }

    /// The next entry to show, in its output format.
    async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        loop {
            // Lets other streams run, however many entries are skipped.
            tokio::task::consume_budget().await;
            let entry = match &mut self.stage {
                Stage::Kept(entries) => match entries.next().await? {
                    Some(entry)
                        if !self.cursor.as_ref().is_some_and(|cursor| cursor.is_before(entry.cursor())) =>
                    {
                        self.remember(&entry);
                        entry
                    }
                    Some(_) => {
                        self.stage = Stage::Next;
                        continue;
                    }
                    None => {
                        entries.input().ended(self.recent.is_empty()).await?;
                        self.stage = Stage::Next;
                        continue;
                    }
                },
                Stage::Next => {
                    let next = self.source.following(self.cursor.as_ref()).await;
                    self.stage = next.map_err(|error| Failure::ReaderEnded.error(error))?;
                    self.known = self.recent.drain(..).collect();
                    continue;
                }
                Stage::Following(entries) => match entries.next().await? {
                    Some(entry) if self.known.contains(&self.hasher.hash_one(entry.cursor())) => continue,
                    Some(entry) => entry,
                    None => return Err(Failure::ReaderEnded.error("journalctl has ended")),
                },
            };
            let mut chunk = Vec::new();
            if self.source.wanted.has(&entry) {
                self.source.view.form.write(&entry, &mut chunk);
            }
            if !chunk.is_empty() {
                return Ok(chunk);
            }
        }
    }

    fn remember(&mut self, entry: &Entry) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(self.hasher.hash_one(entry.cursor()));
    }
}

impl Source {
    /// Asks for the end of the journal.
    async fn end(&self) -> Result<Option<Cursor>, OpenError> {
        let mut arguments = self.arguments(Some(&[]));
        arguments.push("--lines=1".to_owned());
        arguments.extend(self.boots.machine.clone());
        let said = Journalctl::said(arguments, &self.opening).await?;
        let last = Entries::new(&said[..]).next().await;
        let last = last.map_err(|error| OpenError::system("reading the journal", error))?;
        Ok(last.map(|entry| Cursor(entry.cursor().to_owned())))
    }

    /// The stored entries of the known units.
    async fn kept(&self, since: Option<u64>, lines: Option<u32>) -> Result<Stage, OpenError> {
        let names = self.wanted.unit_fields().map(async |field| {
            let mut arguments = self.view.files.options();
            arguments.extend(["--field".to_owned(), field.name.to_owned()]);
            let said = Journalctl::said(arguments, &self.opening).await?;
            let said = String::from_utf8_lossy(&said);
            let names = said.lines().filter(|name| self.wanted.allow(field, name)).map(str::to_owned);
            Ok((field, names.collect::<Vec<_>>()))
        });
        let matches = units::matches(&try_join_all(names).await?, self.boots.machine.as_deref());
        if matches.is_empty() {
            return Ok(Stage::Next);
        }
        let mut arguments = self.arguments(self.view.form.fields());
        arguments.extend(begin(since, lines));
        arguments.extend(matches);
        Ok(Stage::Kept(Entries::new(Journalctl::start(arguments, &self.opening).await?)))
    }

    /// The entries after the end that was determined.
    async fn following(&self, cursor: Option<&Cursor>) -> Result<Stage, OpenError> {
        let mut arguments = self.arguments(self.view.form.fields());
        arguments.extend(["--follow".to_owned(), "--lines=all".to_owned()]);
        arguments.extend(self.boots.options.clone());
        arguments.extend(cursor.map(|cursor| format!("--after-cursor={}", cursor.0)));
        arguments.extend(self.boots.machine.clone());
        Ok(Stage::Following(Entries::new(Endless(Journalctl::start(arguments, &self.opening).await?))))
    }

    /// `fields` are the fields to show; `None` for all.
    fn arguments(&self, fields: Option<&[&str]>) -> Vec<String> {
        let mut arguments = self.view.files.options();
        arguments.push("--output=export".to_owned());
        arguments.extend(self.view.priority());
        arguments.extend(fields.map(|fields| {
            let all = [fields, &self.wanted.fields()].concat();
            format!("--output-fields={}", all.join(","))
        }));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_same_writer_numbered_higher_is_surely_later() {
        let cursor = Cursor("s=a;i=ff;b=1".to_owned());
        assert!(cursor.is_before("s=a;i=100;b=2"));
        for other in ["s=a;i=ff;b=1", "s=a;i=1;b=1", "s=b;i=100;b=1", "", "s=a", "s=a;i=x"] {
            assert!(!cursor.is_before(other), "{other}");
        }
    }
}
