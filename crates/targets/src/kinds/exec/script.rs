//! Refuses parameters in scripts, because an interpreter would run what fills them.
//!
//! After the name of a program that runs its arguments, a parameter is allowed only if some other word, without a
//! parameter, is certainly what the program runs. A word is certainly an operand if the word before it is not an
//! option, or is an option that is known to have no value, or is `--`.

use super::interpreters::{Grammar, Runs, runs};
use super::template::Template;

/// Long options whose value is run instead of an operand, if the program has such options.
const CODE: [&str; 6] = ["--command", "--eval", "--execute", "--expression", "--file", "--run"];

/// Long options whose value is run, whatever the program is.
const RUN: [&str; 14] = [
    "--checkpoint-action",
    "--command",
    "--eval",
    "--exec",
    "--execute",
    "--init-command",
    "--init-file",
    "--rcfile",
    "--rsh",
    "--sh-exec",
    "--shell",
    "--to-command",
    "--upload-pack",
    "--use-compress-program",
];

/// The program that would run a parameter, or a part of one.
pub(super) fn with_parameter(words: &[&str]) -> Option<String> {
    let (first, arguments) = words.split_first()?;
    let found = || first.rsplit('/').next().map(str::to_owned);
    match runs(first) {
        Some(Runs::All) => arguments.iter().any(|word| has_place(word)).then(found).flatten(),
        Some(Runs::Find) => match in_find(arguments) {
            true => found(),
            false => (1..words.len())
                .filter(|at| is_exec(words[at - 1]))
                .find_map(|at| with_parameter(&words[at..])),
        },
        Some(Runs::Operand(grammar)) => match Scan::new(grammar, false, arguments) {
            Scan::Runs => found(),
            Scan::Fine { .. } => None,
        },
        Some(Runs::Anywhere(grammar)) => match Scan::new(grammar, true, arguments) {
            Scan::Runs => found(),
            Scan::Fine { .. } => None,
        },
        Some(Runs::Program(grammar)) => match Scan::new(grammar, false, arguments) {
            Scan::Runs => found(),
            // Any word up to the one that is certainly the program may be the program.
            Scan::Fine { program } => (1..=program.map_or(arguments.len(), |at| at + 1))
                .filter(|at| !is_option(words[*at]))
                .find_map(|at| with_parameter(&words[at..])),
        },
        // An unknown program may start others, which are recognized by what follows them.
        None => in_option(arguments).or_else(|| {
            let next = |at: usize| words.get(at + 1).copied().unwrap_or_default();
            (1..words.len())
                .filter(|at| starts_program(words[*at], next(*at)))
                .find_map(|at| with_parameter(&words[at..]))
        }),
    }
}

/// Whether an argument of an unknown program looks like the beginning of a command.
fn starts_program(word: &str, next: &str) -> bool {
    match runs(word) {
        Some(_) if word.starts_with('/') => true,
        Some(Runs::Operand(_)) => is_option(next),
        Some(Runs::Program(_)) => word == "exec",
        _ => false,
    }
}

/// The long option that has a place for a parameter in what it runs.
fn in_option(arguments: &[&str]) -> Option<String> {
    arguments.iter().enumerate().find_map(|(at, word)| {
        let next = arguments.get(at + 1).copied().unwrap_or_default();
        let (option, value) = word.split_once('=').unwrap_or((word, next));
        (RUN.contains(&option) && has_place(value)).then(|| option.to_owned())
    })
}

fn has_place(word: &str) -> bool {
    Template::read(word).names().next().is_some()
}

fn is_option(word: &str) -> bool {
    word.starts_with(['-', '+'])
}

fn is_exec(word: &str) -> bool {
    matches!(word, "-exec" | "-execdir" | "-ok" | "-okdir")
}

fn in_find(arguments: &[&str]) -> bool {
    let mut before = "";
    arguments.iter().any(|word| {
        let is_run = has_place(word) && (is_option(word) || is_exec(before));
        before = word;
        is_run
    })
}

/// What a program does with its arguments.
enum Scan {
    /// It runs, or may run, a parameter.
    Runs,
    /// It does not. This is where the program is that it runs, if that is certain.
    Fine { program: Option<usize> },
}

/// What the previous word says about this one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextWord {
    Operand,
    /// The value of an option, and not run.
    Value,
    /// The value of an option, and run.
    Code,
    /// An operand, or the value of an unknown option.
    Unknown,
}

impl Scan {
    /// `is_mixed`: options may follow what is run.
    fn new(grammar: Grammar, is_mixed: bool, arguments: &[&str]) -> Scan {
        let (mut operands, mut next, mut has_ended) = (0, NextWord::Operand, false);
        // Code was an option's value, so more options may follow.
        let mut by_option = false;
        let mut program = None;
        for (at, word) in arguments.iter().enumerate() {
            let is_given = operands > grammar.before;
            if is_given && (has_ended || !is_mixed && !by_option) {
                return Scan::Fine { program };
            }
            let place = has_place(word);
            let this = std::mem::replace(&mut next, NextWord::Operand);
            match this {
                _ if *word == "--" && !has_ended => has_ended = true,
                // `-` is the standard input and `--` the end of the options; neither is run.
                _ if *word == "-" => {}
                NextWord::Code if place => return Scan::Runs,
                // Shells run the first word that is not an option.
                NextWord::Code if is_option(word) && !has_ended => next = NextWord::Code,
                NextWord::Code => (operands, by_option) = (grammar.before + 1, true),
                NextWord::Value => {}
                _ if is_option(word) && !has_ended => {
                    if place {
                        return Scan::Runs;
                    }
                    next = after(grammar, word);
                }
                NextWord::Unknown if place => return Scan::Runs,
                NextWord::Unknown => {}
                NextWord::Operand if grammar.assigns && !is_given && is_assignment(word) => {}
                NextWord::Operand => {
                    if place && !is_given {
                        return Scan::Runs;
                    }
                    operands += 1;
                    by_option = false;
                    if operands == grammar.before + 1 {
                        program = Some(at);
                    }
                }
            }
        }
        Scan::Fine { program }
    }
}

/// What follows an option that has no place for a parameter.
fn after(grammar: Grammar, option: &str) -> NextWord {
    if option.starts_with("--") {
        return match option {
            _ if option.contains('=') => NextWord::Operand,
            _ if !grammar.code.is_empty() && CODE.contains(&option) => NextWord::Code,
            _ => NextWord::Unknown,
        };
    }
    let letters = &option[1..];
    let is_only =
        |more: &str| letters.chars().all(|letter| grammar.flags.contains(letter) || more.contains(letter));
    match () {
        () if is_only("") => NextWord::Operand,
        () if is_only(grammar.code) => NextWord::Code,
        // The value of the first such letter is the rest of the word, if there is any.
        () => match letters.find(|letter| !grammar.flags.contains(letter)) {
            Some(at) if grammar.values.contains(&letters[at..=at]) && at + 1 == letters.len() => {
                NextWord::Value
            }
            Some(at) if grammar.values.contains(&letters[at..=at]) => NextWord::Operand,
            _ => NextWord::Unknown,
        },
    }
}

/// Whether the word sets a variable, as in `NAME=value`.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(command: &str) -> Option<String> {
        with_parameter(&command.split('|').collect::<Vec<_>>())
    }

    #[test]
    fn a_parameter_in_a_script_is_found_behind_any_disguise() {
        for command in [
            "/bin/sh|-c|ls {a}",
            "/bin/bash|-lc|ls {a}",
            "/bin/bash|-c|-l|ls {a}",
            "/bin/bash|-euo|pipefail|-c|ls {a}",
            "/bin/bash|-c|--|ls {a}",
            "/usr/bin/env|sh|-c|ls {a}",
            "/usr/bin/env|A=b|/bin/dash|-ec|ls {a}",
            "/bin/busybox|ash|-c|ls {a}",
            "/usr/bin/timeout|5|bash|-c|ls {a}",
            "/usr/bin/find|/srv|-exec|sh|-c|ls {a}",
            "/usr/bin/python3.11|-c|print({a})",
            "/usr/bin/python3|-W|ignore|-c|print({a})",
            "/usr/bin/perl|-e|print {a}",
            "/usr/bin/perl5.36|-eprint {a}",
            "/usr/bin/node|--eval={a}",
            "/usr/bin/node|--eval|{a}",
            "/bin/su|web|-c|ls {a}",
            "/usr/sbin/runuser|--command|ls {a}",
            "/usr/bin/awk|{a}",
            "/usr/bin/mawk|-F:|{a}",
            "/usr/bin/gawk|-v|x=1|{a}|/etc/passwd",
            "/usr/bin/sed|-e|{a}|/etc/hostname",
            "/usr/bin/sed|s/a/b/|--expression={a}",
            "/usr/bin/sed|s/a/b/|-e|{a}",
            "/usr/bin/sed|-n|{a}",
            "/usr/bin/env|-S|{a}",
            "/usr/bin/env|-S|sh -c|{a}",
            "/usr/bin/env|{a}",
            "/usr/bin/env|A=b|{a}",
            "/bin/sh|{a}",
            "/bin/sh|--|{a}",
            "/bin/sh|-|{a}",
            "/bin/bash|--rcfile|/etc/rc|{a}",
            "/bin/bash|-co|pipefail|{a}",
            "/usr/bin/xargs|-I%|sh|-c|{a}",
            "/usr/bin/xargs|-a|/etc/hosts|{a}",
            "/usr/bin/tclsh8.6|{a}",
            "/usr/bin/systemd-run|--pipe|{a}",
            "/usr/bin/systemd-run|--uid=web|--|sh|{a}",
            "/usr/bin/find|/srv|-execdir|{a}",
            "/usr/bin/find|/srv|-{a}",
            "/usr/bin/nice|-n|5|{a}",
            "/usr/bin/timeout|5|{a}",
            "/usr/bin/timeout|-s|KILL|5|python3|{a}",
            "/usr/bin/sudo|-u|web|{a}",
            "/usr/sbin/chroot|/srv|{a}",
            "/usr/bin/flock|/run/lock/x|{a}",
            "/usr/bin/nsenter|-t|1|-m|{a}",
            "/usr/bin/docker|exec|web|{a}",
            "/sbin/ip|netns|exec|blue|{a}",
            "/bin/busybox|awk|{a}",
            "/usr/bin/make|-C|/srv|{a}",
            "/usr/bin/ssh|web1|{a}",
            "/usr/bin/gdb|-ex|{a}",
            "/usr/bin/vim|+{a}",
            "/usr/bin/lua5.4|-e|x=1|{a}",
            "/usr/bin/php8.2|-r|{a}",
            "/usr/bin/node|-p|{a}",
            "/usr/bin/perl|-ne|print|-e|{a}",
            "/usr/bin/tar|-cf|/dev/null|--to-command={a}",
            "/opt/wrapper|/bin/bash|{a}",
        ] {
            assert!(runner(command).is_some(), "{command}");
        }
        assert_eq!(runner("/usr/bin/env|python3.11|-c|{a}").unwrap(), "python3.11");
    }

    #[test]
    fn an_interpreter_is_known_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("tool");
        std::os::unix::fs::symlink("/bin/sh", &tool).unwrap();
        assert_eq!(with_parameter(&[tool.to_str().unwrap(), "{a}"]).unwrap(), "tool");
    }

    #[test]
    fn a_parameter_beside_a_script_is_none_in_it() {
        for command in [
            "/bin/sh|-c|ls \"$1\"|sh|{a}",
            "/bin/bash|-lc|ls \"$1\"|sh|{a}",
            "/bin/bash|-e|/usr/lib/app/run.sh|{a}",
            "/usr/bin/python3|/usr/lib/app/tool.py|-c|{a}",
            "/usr/bin/python3|-E|tool.py|-e|{a}",
            "/usr/bin/tail|-c|{a}|/var/log/syslog",
            "/usr/bin/grep|-e|{a}|/srv/bash",
            "/usr/bin/systemctl|status|--|{a}",
            "/bin/bash|-euo|pipefail|-c|ls \"$1\"|sh|{a}",
            "/usr/bin/awk|-v|name={a}|{print name}|/etc/hostname",
            "/usr/bin/awk|{print $1}|{a}",
            "/usr/bin/sed|-n|s/a/b/p|{a}",
            "/usr/bin/env|A={a}|/usr/bin/printenv|A",
            "/usr/bin/env|-i|sh|/usr/lib/app/run.sh|{a}",
            "/usr/bin/nice|-n|5|/usr/bin/ping|-c|1|{a}",
            "/usr/bin/timeout|-k|3|5|/usr/bin/ping|{a}",
            "/usr/bin/sudo|-u|web|--|id|{a}",
            "/usr/bin/find|/srv|-name|{a}|-exec|ls|-l|{}|;",
            "/usr/bin/docker|exec|web|ls|{a}",
            "/usr/bin/perl|-e|print @ARGV|{a}",
            "/usr/bin/grep|-r|python|{a}",
            "/usr/bin/journalctl|-t|sudo|--since|{a}",
            "/usr/bin/expect|-f|/usr/lib/app/x.exp|{a}",
        ] {
            assert_eq!(runner(command), None, "{command}");
        }
    }
}
