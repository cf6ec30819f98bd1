//! The output formats of entries (journalctl(1), `--output`). Mostly journalctl writes them; if the agent selects the
//! entries itself, it writes them the same way.

use std::ffi::CStr;
use std::io::Write as _;

use nix::libc;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::entry::Entry;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    #[default]
    Short,
    ShortIso,
    ShortPrecise,
    Verbose,
    Json,
    Cat,
}

impl Form {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Form::Short => "short",
            Form::ShortIso => "short-iso",
            Form::ShortPrecise => "short-precise",
            Form::Verbose => "verbose",
            Form::Json => "json",
            Form::Cat => "cat",
        }
    }

    /// The fields that the format needs, if not all.
    pub(super) const fn fields(self) -> Option<&'static [&'static str]> {
        match self {
            Form::Verbose | Form::Json => None,
            Form::Cat => Some(&["MESSAGE"]),
            Form::Short | Form::ShortIso | Form::ShortPrecise => Some(&[
                "MESSAGE",
                "_HOSTNAME",
                "SYSLOG_IDENTIFIER",
                "_COMM",
                "_PID",
                "SYSLOG_PID",
                "_SOURCE_REALTIME_TIMESTAMP",
            ]),
        }
    }

    /// Writes an entry. An entry without a message is written only by formats that show every field.
    pub(super) fn write(self, entry: &Entry, out: &mut Vec<u8>) {
        match (self, entry.get("MESSAGE")) {
            (Form::Json, _) => write_json(entry, out),
            (Form::Verbose, _) => write_verbose(entry, out),
            (_, None) => {}
            (Form::Cat, Some(message)) => {
                out.extend_from_slice(message);
                out.push(b'\n');
            }
            (_, Some(message)) => {
                let begin = out.len();
                self.write_head(entry, out);
                write_lines(message, out.len() - begin, out);
            }
        }
    }

    /// `Nov 28 22:46:53 host program[42]: `
    fn write_head(self, entry: &Entry, out: &mut Vec<u8>) {
        let time = Time::from_micros(entry.time());
        out.extend(
            match self {
                Form::ShortIso => time.iso(),
                Form::ShortPrecise => format!("{}.{:06}", time.short(), time.micros),
                _ => time.short(),
            }
            .into_bytes(),
        );
        if let Some(host) = entry.get("_HOSTNAME") {
            out.push(b' ');
            out.extend_from_slice(host);
        }
        out.push(b' ');
        let program = entry.get("SYSLOG_IDENTIFIER").or_else(|| entry.get("_COMM"));
        out.extend_from_slice(program.unwrap_or(b"unknown"));
        if let Some(pid) = entry.get("_PID").or_else(|| entry.get("SYSLOG_PID")) {
            out.push(b'[');
            out.extend_from_slice(pid);
            out.push(b']');
        }
        out.extend_from_slice(b": ");
    }
}

/// Writes text and aligns its later lines with the first.
fn write_lines(text: &[u8], indent: usize, out: &mut Vec<u8>) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if number > 0 {
            out.resize(out.len() + indent, b' ');
        }
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}

fn write_verbose(entry: &Entry, out: &mut Vec<u8>) {
    let time = Time::from_micros(entry.time());
    // Writing to memory does not fail.
    let _ = writeln!(out, "{} [{}]", time.long(), entry.cursor());
    for (name, value) in entry.fields.iter().filter(|(name, _)| !name.starts_with("__")) {
        let _ = write!(out, "    {name}=");
        write_lines(value, 4 + name.len() + 1, out);
    }
}

/// Several values of a field become an array, and so do the bytes of a value that is not text (journalctl(1)).
fn write_json(entry: &Entry, out: &mut Vec<u8>) {
    let mut all = Map::new();
    for (name, value) in &entry.fields {
        let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
        let value = match std::str::from_utf8(value) {
            Ok(text) if !text.contains(is_odd) => Value::from(text),
            _ => Value::from(value.clone()),
        };
        match all.get_mut(name) {
            None => {
                all.insert(name.clone(), value);
            }
            Some(before) => {
                // An array of numbers is one value's bytes; any other array holds values.
                let is_list = before.as_array().is_some_and(|list| !list.iter().all(Value::is_number));
                match before {
                    Value::Array(list) if is_list => list.push(value),
                    one => *one = Value::from(vec![one.take(), value]),
                }
            }
        }
    }
    let _ = serde_json::to_writer(&mut *out, &all);
    out.push(b'\n');
}

/// A time in the host's zone, by the C library as for journalctl(1): crates read other files, or refuse a process with
/// several threads.
struct Time {
    broken: libc::tm,
    zone: String,
    micros: i64,
}

impl Time {
    #[allow(unsafe_code)]
    fn from_micros(micros: i64) -> Time {
        let seconds: libc::time_t = micros.div_euclid(1_000_000);
        // SAFETY: all-zero bytes are a `tm`: numbers, and a null pointer.
        let mut broken: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both point to what they should, and the C library keeps neither.
        unsafe { libc::localtime_r(&raw const seconds, &raw mut broken) };
        let zone = match broken.tm_zone.is_null() {
            true => String::new(),
            // SAFETY: the C library's own string, which it keeps as long as the zone is in use.
            false => unsafe { CStr::from_ptr(broken.tm_zone) }.to_string_lossy().into_owned(),
        };
        Time { broken, zone, micros: micros.rem_euclid(1_000_000) }
    }

    fn short(&self) -> String {
        let month = usize::try_from(self.broken.tm_mon).ok().and_then(|month| MONTHS.get(month));
        format!("{} {:02} {}", month.unwrap_or(&"?"), self.broken.tm_mday, self.clock())
    }

    fn iso(&self) -> String {
        let minutes = self.broken.tm_gmtoff / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        format!("{}T{}{sign}{hours:02}{minutes:02}", self.date(), self.clock())
    }

    fn long(&self) -> String {
        let day = usize::try_from(self.broken.tm_wday).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"?");
        format!("{day} {} {}.{:06} {}", self.date(), self.clock(), self.micros, self.zone)
    }

    fn date(&self) -> String {
        let tm = &self.broken;
        format!("{:04}-{:02}-{:02}", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday)
    }

    fn clock(&self) -> String {
        let tm = &self.broken;
        format!("{:02}:{:02}:{:02}", tm.tm_hour, tm.tm_min, tm.tm_sec)
    }
}
