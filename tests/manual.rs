//! Man pages and completions are made from what the programs understand: their arguments and the shipped configuration,
//! which other tests hold against the code. `make manual` writes them; here they are held against what is in the tree.

#![allow(clippy::expect_used)]

#[path = "../src/stream-agent/arguments.rs"]
mod agent;
#[path = "../src/stream-relay/arguments.rs"]
mod relay;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

/// Set by `make manual`: write the files instead of comparing them.
const WRITE: &str = "STREAM_WRITE_MANUAL";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Compares one generated file with the tree, or writes it.
fn hold(file: &str, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        return fs::write(path(file), text).expect("the file can be written");
    }
    let stands = fs::read_to_string(path(file)).unwrap_or_default();
    assert!(stands == text, "{file} is not what the arguments and the configuration give: run `make manual`");
}

fn programs() -> [Command; 2] {
    [agent::Arguments::command(), relay::Arguments::command()]
}

#[test]
fn completions_are_those_of_the_arguments() {
    for mut command in programs() {
        let name = command.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut text = vec![];
            clap_complete::generate(shell, &mut command, name.clone(), &mut text);
            hold(&format!("packaging/completions/{file}"), &String::from_utf8(text).unwrap());
        }
    }
}

#[test]
fn man_pages_of_the_programs_are_those_of_the_arguments() {
    for command in programs() {
        let name = command.get_name().to_owned();
        hold(&format!("packaging/manual/{name}.8"), &program_page(command));
    }
}

#[test]
fn man_pages_of_the_configuration_are_those_of_the_shipped_files() {
    for (program, folder) in [("stream-agent", "agent"), ("stream-relay", "relay")] {
        let mut page = title(&format!("{program}.toml"), 5);
        let about = format!("configuration of {program}");
        let _ = write!(page, ".SH NAME\n{program}.toml \\- {about}\n");
        page += &format!(".SH SYNOPSIS\n.nf\n/etc/{program}/config.toml\n/etc/{program}/config.d/*.toml\n");
        if folder == "agent" {
            page += "/etc/stream-agent/targets.d/*.toml\n";
        }
        page += ".fi\n";
        page += &settings(&read(&format!("packaging/{folder}/config.toml")));
        if folder == "agent" {
            page += ".SH TARGETS\nEvery kind of target, with every key.\n";
            for file in ["screens", "consoles", "logs", "programs"] {
                page += &examples(&read(&format!("packaging/agent/targets.d/{file}.toml")));
            }
        }
        page += &read(&format!("packaging/manual/{program}.toml.5.more"));
        hold(&format!("packaging/manual/{program}.toml.5"), &page);
    }
}

fn title(name: &str, section: u8) -> String {
    let comment = r#".\" Made by `make manual` from the program's arguments, the shipped configuration and the file .more beside it."#;
    let version = env!("CARGO_PKG_VERSION");
    let upper = name.to_uppercase();
    format!("{comment}\n.TH \"{upper}\" {section} \"\" \"stream {version}\" \"System administration\"\n")
}

/// Escapes text for roff.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn program_page(mut command: Command) -> String {
    command.build();
    let name = command.get_name().to_owned();
    let mut page = title(&name, 8);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let short = about.trim_end_matches('.');
    let _ = write!(page, ".SH NAME\n{} \\- {}\n", plain(&name), plain(&lower_first(short)));
    let _ = write!(page, ".SH SYNOPSIS\n.B {}\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR\n", plain(&name));
    page += &read(&format!("packaging/manual/{name}.8.about"));
    page += ".SH OPTIONS\n\\fB\\-\\-config\\fR, \\fB\\-\\-log\\-level\\fR and \\fB\\-\\-json\\fR may also follow the command. A command that does not use one of them refuses it.\n";
    page += &options(&command, true);
    page += ".SH COMMANDS\n";
    for sub in command.get_subcommands() {
        commands(sub, &name, &mut page);
    }
    page + &read(&format!("packaging/manual/{name}.8.more"))
}

/// A command and those below it.
fn commands(command: &Command, above: &str, page: &mut String) {
    if command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    if command.get_subcommands().any(|sub| sub.get_name() != "help") {
        for sub in command.get_subcommands() {
            commands(sub, &name, page);
        }
        return;
    }
    let operands: Vec<String> = command
        .get_positionals()
        .map(|operand| {
            let value = operand.get_id().as_str().to_uppercase();
            if operand.is_required_set() { format!("\\fI{value}\\fR") } else { format!("[\\fI{value}\\fR]") }
        })
        .collect();
    let about = sentence(command.get_about().map(ToString::to_string).unwrap_or_default());
    let _ = write!(page, ".SS \"{} {}\"\n{}\n", plain(&name), operands.join(" "), plain(&about));
    *page += &options(command, false);
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// clap removes the full stop.
fn sentence(help: String) -> String {
    if help.is_empty() || help.ends_with('.') { help } else { help + "." }
}

/// Options and operands, but those that every command has only where `with_global`.
fn options(command: &Command, with_global: bool) -> String {
    let mut text = String::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if argument.is_hide_set() || (!with_global && (argument.is_global_set() || id == "help")) {
            continue;
        }
        let takes_value = argument.get_action().takes_values();
        let value = argument
            .get_value_names()
            .and_then(|names| names.first())
            .map_or(id.to_uppercase(), ToString::to_string);
        let mut term = match (argument.get_short(), argument.get_long()) {
            (Some(short), Some(long)) => format!("\\fB\\-{short}\\fR, \\fB\\-\\-{}\\fR", plain(long)),
            (None, Some(long)) => format!("\\fB\\-\\-{}\\fR", plain(long)),
            _ => format!("\\fI{}\\fR", plain(&id.to_uppercase())),
        };
        if takes_value && argument.get_long().is_some() {
            let _ = write!(term, " \\fI{}\\fR", plain(&value));
        }
        let help = sentence(argument.get_help().map(ToString::to_string).unwrap_or_default());
        let _ = write!(text, ".TP\n{term}\n{}\n", plain(&help));
        let choices: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| takes_value)
            .map(|choice| {
                let help = choice.get_help().map(|help| format!(" ({help})")).unwrap_or_default();
                format!("\\fB{}\\fR{}", plain(choice.get_name()), plain(&help))
            })
            .collect();
        if !choices.is_empty() {
            let _ = writeln!(text, "One of {}.", choices.join(", "));
        }
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if takes_value && !defaults.is_empty() {
            let _ = writeln!(text, "Default: \\fB{}\\fR", plain(&defaults.join(" ")));
        }
        if let Some(variable) = argument.get_env() {
            let _ = writeln!(text, "Also by the environment's \\fB{}\\fR.", variable.to_string_lossy());
        }
    }
    text
}

/// A line of a shipped configuration.
enum Line<'a> {
    Blank,
    Comment(&'a str),
    /// `key = value`, commented out or not.
    Key(&'a str, &'a str),
    /// `[section]`, likewise.
    Section(&'a str),
}

fn line(text: &str) -> Line<'_> {
    if let Some(comment) = text.strip_prefix("# ") {
        return Line::Comment(comment);
    }
    let bare = text.strip_prefix('#').unwrap_or(text).trim();
    match bare.split_once(" = ") {
        _ if bare.is_empty() => Line::Blank,
        _ if bare.starts_with('[') => Line::Section(bare),
        Some((key, value)) => Line::Key(key, value),
        None => panic!("neither comment nor key nor section: {text}"),
    }
}

/// The settings: a heading for each section, a term for each key.
fn settings(config: &str) -> String {
    let mut page = ".SH DESCRIPTION\n".to_owned();
    let mut comments: Vec<&str> = vec![];
    let mut said_sections = String::new();
    for text in config.lines() {
        match line(text) {
            // The targets have their own section.
            Line::Section(section) if section.starts_with("[target.") => break,
            Line::Section(section) => {
                if said_sections != section {
                    let _ = writeln!(page, ".SH \"{}\"", plain(section));
                    section.clone_into(&mut said_sections);
                }
                page += &paragraph(&mut comments);
            }
            Line::Key(key, value) => {
                let _ = write!(page, ".TP\n\\fB{}\\fR = {}\n", plain(key), plain(value));
                page += &text_of(&mut comments);
            }
            Line::Comment(comment) => comments.push(comment),
            Line::Blank => page += &paragraph(&mut comments),
        }
    }
    page + &paragraph(&mut comments)
}

/// Examples: a paragraph for each comment, then its lines as they are written.
fn examples(config: &str) -> String {
    let mut page = String::new();
    let mut comments: Vec<&str> = vec![];
    let mut is_open = false;
    for text in config.lines().chain([""]) {
        let line = line(text);
        let is_code = matches!(line, Line::Key(..) | Line::Section(_));
        if is_code && !is_open {
            page += &paragraph(&mut comments);
            page += ".PP\n.RS 4\n.nf\n";
            is_open = true;
        }
        // A comment between two keys belongs to the example.
        if is_open && !is_code && text != "#" {
            page += ".fi\n.RE\n";
            is_open = false;
        }
        match line {
            Line::Key(key, value) => page += &format!("{} = {}\n", plain(key), plain(value)),
            Line::Section(section) => page += &format!("{}\n", plain(section)),
            Line::Comment(comment) => comments.push(comment),
            Line::Blank if is_open => page.push('\n'),
            Line::Blank => page += &paragraph(&mut comments),
        }
    }
    page
}

fn text_of(comments: &mut Vec<&str>) -> String {
    comments.drain(..).map(|line| plain(line) + "\n").collect()
}

fn paragraph(comments: &mut Vec<&str>) -> String {
    if comments.is_empty() { String::new() } else { ".PP\n".to_owned() + &text_of(comments) }
}
