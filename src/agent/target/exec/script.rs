//! Parameters inside of scripts: whatever fills them there, an interpreter would run.

use super::template::Template;

/// Programs that take a script as an argument, without the version that may stand behind the name.
const INTERPRETERS: [&str; 18] = [
    "sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "python", "perl", "ruby", "node",
    "lua", "php", "su", "runuser", "script",
];

/// Options that say so in a word of their own.
const LONG: [&str; 4] = ["--command", "--eval", "--exec", "--print"];

/// The interpreter that would read a parameter as a part of its script, wherever it stands in the command:
/// env(1), sudo(8) and busybox(1) have it behind them.
pub(super) fn with_parameter(words: &[&str]) -> Option<String> {
    (0..words.len()).find_map(|at| {
        let name = interpreter(words[at])?;
        reads_parameter(&words[at + 1..]).then(|| name.to_owned())
    })
}

fn interpreter(word: &str) -> Option<&str> {
    let name = word.rsplit('/').next().unwrap_or(word);
    let plain = name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.' || last == '-');
    INTERPRETERS.contains(&plain).then_some(name)
}

/// Whether there is a parameter in the script among an interpreter's arguments.
fn reads_parameter(arguments: &[&str]) -> bool {
    let has_place = |word: &str| Template::read(word).names().next().is_some();
    let mut script_follows = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix(['-', '+']) {
            // The end of the options, and the standard input in the place of a file.
            Some("" | "-") => {}
            Some(long) if long.starts_with('-') => {
                let name = word.split_once('=').map_or(*word, |(name, _)| name);
                let is_script = LONG.contains(&name);
                if is_script && has_place(word) {
                    return true;
                }
                script_follows |= is_script && !word.contains('=');
            }
            Some(letters) => {
                let is_script = letters.contains(['c', 'e', 'E', 'r']);
                // perl(1) and others take the script in the same word, too.
                if is_script && has_place(word) {
                    return true;
                }
                script_follows |= is_script;
                // These have a word of their own behind them: `bash -o pipefail -c`.
                if letters.ends_with(['o', 'O', 'W', 'X']) {
                    words.next();
                }
            }
            None if script_follows => return has_place(word),
            // `su USER -c`: the name of a user, and not of a file with a script.
            None if !word.contains(['/', '.']) => {}
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &str) -> Option<String> {
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
        ] {
            assert!(of(command).is_some(), "{command}");
        }
        assert_eq!(of("/usr/bin/env|python3.11|-c|{a}").unwrap(), "python3.11");
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
        ] {
            assert_eq!(of(command), None, "{command}");
        }
    }
}
