//! Reads the command line of both programs, and reports errors as text or JSON.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Parser, value_parser};

use super::exit::{self, Exit, ExitError};

/// The option for results and errors as JSON.
const JSON: &str = "--json";

/// The options that both programs have. `--config` is not among them, because its help and default differ.
#[derive(Debug, Args)]
pub struct Global {
    /// Set the log level (error, warn, info, debug, trace), or filters as in RUST_LOG.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Print results as JSON, and each error as one line of JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,

    /// Print the shipped configuration and exit.
    #[arg(long)]
    pub print_default_config: bool,
}

/// The options of every command, and why some commands refuse them.
const GLOBAL: [(&str, &str); 3] = [
    ("config", "reads no configuration file"),
    ("log_level", "writes no log"),
    ("json", "prints no results"),
];

/// For a command that does not use an option of every command: hides it, so that [`read`] refuses it.
pub fn without(id: &'static str) -> Arg {
    let arg = Arg::new(id).global(true).hide(true);
    match id {
        "json" => arg.long("json").action(ArgAction::SetTrue),
        "config" => arg.long("config").value_parser(value_parser!(PathBuf)),
        _ => arg.long("log-level"),
    }
}

/// Reads the command line.
///
/// # Errors
/// The exit code, after help, the version or the error was printed.
pub fn read<A: Parser>() -> Result<A, ExitCode> {
    let line: Vec<OsString> = std::env::args_os().collect();
    // Applies even if the rest of the line is not valid. No option has it as its value.
    let options = line.iter().skip(1).take_while(|word| *word != "--");
    let as_json = options.into_iter().any(|word| *word == *JSON);
    if as_json {
        exit::errors_as_json();
    }
    parse(&line).map_err(|error| {
        // clap treats help and version as errors.
        if !error.use_stderr() {
            let _ = error.print();
            return Exit::Ok.into();
        }
        match as_json {
            true => ExitError::new(Exit::Usage, anyhow!(one_line(&error))).report(A::command().get_name()),
            false => drop(error.print()),
        }
        Exit::Usage.into()
    })
}

fn parse<A: Parser>(line: &[OsString]) -> Result<A, clap::Error> {
    let mut command = A::command();
    let matches = command.try_get_matches_from_mut(line);
    let matches = matches.map_err(|error| suggest_commands(error, &command, line))?;
    refuse_unused_options(&mut command, &matches)?;
    A::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Adds to the error for an unknown command the one that was probably meant, or all of them. The library suggests
/// commands that only have some letters in common.
fn suggest_commands(mut error: clap::Error, command: &Command, line: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let written = written.clone();
    let words = line.iter().skip(1).filter_map(|word| word.to_str());
    let above = words.fold(command, |above, word| above.find_subcommand(word).unwrap_or(above));
    let shown = || above.get_subcommands().filter(|command| !command.is_hide_set());
    let names = || shown().map(Command::get_name).filter(|name| *name != "help");
    let distance = |name: &str| strsim::damerau_levenshtein(&written.replace('_', "-"), name);
    let is_likely = |name: &&str| name.starts_with(&written) || distance(name) <= written.len() / 3;
    let likely = names().filter(is_likely).min_by_key(|name| distance(name));
    error.remove(ContextKind::SuggestedSubcommand);
    match likely {
        Some(likely) => {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![likely.into()]))
        }
        None => {
            let all = format!("the commands are {}", names().collect::<Vec<_>>().join(", "));
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![all.into()]))
        }
    };
    error
}

/// Refuses the options that the command is [`without`].
fn refuse_unused_options(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let (mut above, mut chosen) = (&*command, matches.subcommand());
    while let Some((name, below)) = chosen {
        let Some(command) = above.find_subcommand(name) else { break };
        let is_without =
            |id: &str| command.get_arguments().any(|arg| arg.get_id() == id && arg.is_hide_set());
        if let Some((id, why)) = GLOBAL.into_iter().find(|(id, _)| given(id) && is_without(id)) {
            let message = format!("{name} {why}: leave --{} out", id.replace('_', "-"));
            return Err(command.clone().error(ErrorKind::ArgumentConflict, message));
        }
        (above, chosen) = (command, below.subcommand());
    }
    Ok(())
}

/// clap's error in one line, without the usage.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is needed: see --help".into();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\nUsage:").next().unwrap_or(text);
    let text = text.split("\n\nFor more information").next().unwrap_or(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Subcommand;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "program")]
    struct Line {
        #[arg(long, global = true, default_value = "/etc/x")]
        config: PathBuf,
        #[arg(long, global = true)]
        log_level: Option<String>,
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        what: What,
    }

    #[derive(Debug, Subcommand)]
    enum What {
        #[command(arg = without("json"))]
        Run,
        #[command(args = [without("config"), without("log_level")])]
        Make {
            #[command(subcommand)]
            thing: Thing,
        },
    }

    #[derive(Debug, Subcommand)]
    enum Thing {
        Key {
            #[arg(long)]
            number: Option<u8>,
        },
        #[command(arg = without("json"))]
        Lock,
    }

    fn line(words: &str) -> Result<Line, String> {
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        parse(&words).map_err(|error| one_line(&error))
    }

    #[test]
    fn an_option_that_a_command_does_not_use_is_refused_anywhere() {
        for refused in
            ["program make --config a key", "program --config a make key", "program make key --config a"]
        {
            assert_eq!(line(refused).unwrap_err(), "make reads no configuration file: leave --config out");
        }
        assert_eq!(line("program run --json").unwrap_err(), "run prints no results: leave --json out");
        let error = line("program make key --log-level info").unwrap_err();
        assert_eq!(error, "make writes no log: leave --log-level out");
        assert!(line("program make key --json").unwrap().json);
        assert_eq!(line("program make lock --json").unwrap_err(), "lock prints no results: leave --json out");
        assert_eq!(line("program make key").unwrap().config, PathBuf::from("/etc/x"));
        for (words, log_level) in [("run --config b --log-level x", Some("x")), ("--config b run", None)] {
            let line = line(&format!("program {words}")).unwrap();
            assert_eq!((line.config, line.log_level.as_deref()), ("b".into(), log_level));
        }
    }

    #[test]
    fn claps_errors_fit_in_a_line() {
        let error = line("program make key --number 300").unwrap_err();
        assert_eq!(error, "invalid value '300' for '--number <NUMBER>': 300 is not in 0..=255");
        let error = line("program make key --numbre 3").unwrap_err();
        assert_eq!(error, "unexpected argument '--numbre' found tip: a similar argument exists: '--number'");
    }
}
