//! The results of all steps: as lines for people, as JSON for programs, and as an exit code.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use service::exit::Exit;

/// The remedy if only some of a name's addresses answer.
pub(super) const DEAD_ADDRESS: &str = "dials use an address that answers, a moment later: take the dead one out of the name, or let this host reach it";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Works. A remedy is for what will fail soon.
    Pass,
    /// A stream would fail here.
    Fail,
    /// Not tried, because it does not apply or because what it needs has failed.
    Skip,
}

/// One step and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was tried, as a word.
    pub step: &'static str,
    /// On what: a relay's URL, the name of a target, a subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    pub verdict: Verdict,
    pub detail: String,
    /// What would fix it; in several lines where each proxy has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

pub struct Report {
    steps: Vec<Step>,
    /// The class of the first failure.
    exit: Exit,
    /// What `CONFIG` stands for in a remedy: the configuration file.
    file: String,
    on_step: Box<dyn FnMut(&Step)>,
}

impl Report {
    /// An empty report on what is configured in `file`. `on_step` is called after each step.
    pub fn new(file: &Path, on_step: impl FnMut(&Step) + 'static) -> Report {
        Report { steps: vec![], exit: Exit::Ok, file: file.display().to_string(), on_step: Box::new(on_step) }
    }

    /// Success, or the class of the first failure.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    pub fn failures(&self) -> usize {
        self.steps.iter().filter(|step| step.verdict == Verdict::Fail).count()
    }

    /// The whole report as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "ok": self.exit == Exit::Ok, "exit": self.exit.code(), "steps": self.steps })
    }

    pub(super) fn pass(&mut self, step: &'static str, of: Option<&str>, detail: String) {
        self.add(step, of, Verdict::Pass, detail, None);
    }

    /// Works, but will fail soon.
    pub(super) fn pass_but(&mut self, step: &'static str, of: Option<&str>, detail: String, remedy: &str) {
        self.add(step, of, Verdict::Pass, detail, Some(remedy.to_owned()));
    }

    pub(super) fn skip(&mut self, step: &'static str, of: Option<&str>, why: &str) {
        self.add(step, of, Verdict::Skip, why.to_owned(), None);
    }

    pub(super) fn fail(
        &mut self,
        step: &'static str,
        of: Option<&str>,
        exit: Exit,
        detail: String,
        remedy: &str,
    ) {
        if self.exit == Exit::Ok {
            self.exit = exit;
        }
        self.add(step, of, Verdict::Fail, detail, Some(remedy.to_owned()));
    }

    fn add(
        &mut self,
        step: &'static str,
        of: Option<&str>,
        verdict: Verdict,
        detail: String,
        remedy: Option<String>,
    ) {
        let remedy = remedy.map(|remedy| remedy.replace("CONFIG", &self.file));
        let step = Step { step, of: of.map(str::to_owned), verdict, detail, remedy };
        (self.on_step)(&step);
        self.steps.push(step);
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.steps).finish()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Skip => "SKIP",
        };
        write!(f, "{verdict}  {}", self.step)?;
        if let Some(of) = &self.of {
            write!(f, " {of}")?;
        }
        write!(f, ": {}", self.detail)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n      {}", remedy.replace('\n', "\n      "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_decides_the_exit_code() {
        let mut report = Report::new(Path::new("/etc/config.toml"), |_| {});
        report.pass("config", None, "fine".into());
        report.fail("relay-tcp", Some("wss://r"), Exit::Unavailable, "refused".into(), "fix CONFIG");
        report.fail("nats-connect", None, Exit::NoPerm, "no".into(), "ask");
        assert_eq!(report.exit(), Exit::Unavailable);
        assert_eq!(
            report.steps[1].to_string(),
            "FAIL  relay-tcp wss://r: refused\n      fix /etc/config.toml"
        );
        let json = report.to_json();
        assert_eq!((json["exit"].as_u64(), json["ok"].as_bool()), (Some(69), Some(false)));
        assert_eq!(json["steps"][0].to_string(), r#"{"detail":"fine","step":"config","verdict":"PASS"}"#);
    }
}
