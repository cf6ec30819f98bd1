//! Programs that run what their arguments say: interpreters, and programs that start others. The lists may be
//! incomplete, because an unknown option makes the rule stricter: the next word may be its value.

use std::path::Path;

/// How a program finds, among its arguments, what it runs.
#[derive(Debug)]
pub(super) enum Runs {
    /// The first operand after a number of others, or the value of some options.
    Operand(Grammar),
    /// Like an operand, but options may follow it.
    Anywhere(Grammar),
    /// Like an operand that is a program with its own arguments.
    Program(Grammar),
    /// What follows `-exec` and similar.
    Find,
    /// It joins its arguments, or runs them in too many ways to distinguish.
    All,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    /// How many operands come before the one that is run.
    pub(super) before: usize,
    /// Letters of options without a value.
    pub(super) flags: &'static str,
    /// Letters of options whose value is not run.
    pub(super) values: &'static str,
    /// Letters of options whose value is run instead of the operand.
    pub(super) code: &'static str,
    /// Whether `NAME=value` may stand before the operand.
    pub(super) assigns: bool,
}

const fn grammar(before: usize, flags: &'static str, values: &'static str, code: &'static str) -> Grammar {
    Grammar { before, flags, values, code, assigns: false }
}

const SHELL: Grammar = grammar(0, "abefhiklmnprstuvx", "", "c");
const PLAIN: Grammar = grammar(0, "", "", "");

/// How a program finds what it runs, by its name; `None` for a program that runs nothing from its arguments.
fn known(name: &str) -> Option<Runs> {
    use Runs::{All, Anywhere, Find, Operand, Program};
    Some(match name {
        "sh" | "bash" | "rbash" | "dash" | "ash" | "zsh" | "ksh" | "mksh" | "pdksh" | "yash" | "posh"
        | "csh" | "tcsh" => Operand(SHELL),
        "fish" => Operand(grammar(0, "ilnvPN", "", "c")),
        "python" | "pypy" | "jython" | "ipython" => Operand(grammar(0, "bBdEhiIOPqRsSuvx", "WX", "cm")),
        "perl" => Operand(grammar(0, "acnpswWtTuUX", "", "eE")),
        "ruby" | "jruby" => Operand(grammar(0, "acnpsvw", "", "e")),
        "node" | "nodejs" => Operand(grammar(0, "ci", "", "ep")),
        "php" => Operand(grammar(0, "aCehinqsvw", "", "rf")),
        "lua" | "luajit" | "texlua" => Operand(grammar(0, "iEv", "", "")),
        "expect" => Operand(grammar(0, "", "", "f")),
        "Rscript" | "R" => Operand(grammar(0, "", "", "e")),
        "deno" | "bun" => Operand(grammar(1, "", "", "")),
        "tclsh" | "wish" | "jimsh" | "guile" | "racket" | "sbcl" | "clisp" | "gosh" | "octave" | "julia"
        | "groovy" | "scala" | "ocaml" | "elixir" | "erl" | "escript" | "ghci" | "runghc" | "runhaskell"
        | "swipl" | "gjs" | "qjs" | "pwsh" | "m4" | "emacs" => Operand(PLAIN),
        "awk" | "gawk" | "mawk" | "nawk" | "original-awk" => Anywhere(grammar(0, "", "vF", "fe")),
        "sed" | "gsed" => Anywhere(grammar(0, "inrEsuz", "l", "ef")),
        "env" => Program(Grammar { assigns: true, ..grammar(0, "i0v", "uC", "") }),
        "sudo" | "doas" => Program(Grammar { assigns: true, ..grammar(0, "nHEkKbSPAi", "uUgCDRTprth", "") }),
        "nice" => Program(grammar(0, "", "n", "")),
        "ionice" => Program(grammar(0, "t", "cnpP", "")),
        "timeout" => Program(grammar(1, "v", "ks", "")),
        "xargs" => Program(grammar(0, "0rtxpo", "aEdILnPs", "")),
        "stdbuf" => Program(grammar(0, "", "ioe", "")),
        "strace" | "ltrace" => Program(grammar(0, "fqvtTyC", "oesp", "")),
        "setsid" => Program(grammar(0, "cfw", "", "")),
        "time" => Program(grammar(0, "pvaq", "of", "")),
        "taskset" | "chrt" | "chroot" => Program(grammar(1, "abcfior", "", "")),
        "flock" => Program(grammar(1, "esxnu", "wE", "c")),
        "su" | "runuser" => Program(grammar(1, "lmp", "", "c")),
        // ip netns exec NAME, docker exec NAME, kubectl exec NAME.
        "exec" => Program(grammar(1, "it", "", "")),
        "nohup" | "nsenter" | "unshare" | "setpriv" | "prlimit" | "capsh" | "systemd-run" | "run0"
        | "pkexec" | "busybox" | "toybox" | "dbus-run-session" | "xvfb-run" | "unbuffer" | "setarch"
        | "linux64" | "linux32" | "chpst" | "softlimit" | "catchsegv" | "valgrind" | "fakeroot"
        | "faketime" | "proot" | "bwrap" | "firejail" | "cgexec" | "numactl" | "start-stop-daemon"
        | "entr" | "command" | "builtin" => Program(PLAIN),
        "find" => Find,
        "make" | "gmake" | "ninja" | "ssh" | "slogin" | "mosh" | "watch" | "gdb" | "lldb" | "vi" | "vim"
        | "view" | "nvim" | "ex" | "ed" | "red" | "parallel" | "socat" | "ncat" | "screen" | "tmux"
        | "script" | "sqlite3" | "dc" | "eval" | "xterm" | "rlwrap" | "sshpass" => All,
        _ => return None,
    })
}

/// The name of a program without its folder, version and variant.
fn name_of(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    if known(name).is_some() {
        return name;
    }
    let name = ["-static", ".basic", ".tiny", ".nox", ".gtk3", ".distrib"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.' || last == '-')
}

/// Programs that act as many, depending on the name by which they are called.
const MANY: [&str; 3] = ["busybox", "toybox", "coreutils"];

/// The same for a word of a command, which may be a link: /bin/sh is dash, vi is vim.
pub(super) fn runs(word: &str) -> Option<Runs> {
    known(name_of(word)).or_else(|| {
        let real = Path::new(word).is_absolute().then(|| std::fs::canonicalize(word).ok()).flatten()?;
        let real = real.to_str()?;
        known(name_of(real)).filter(|_| !MANY.contains(&name_of(real)))
    })
}
