//! Targets of the host, for each of the scripts. DIR and ADDRESS are replaced.

/// An exec target for a person: a shell without the settings of who runs the tests.
pub(crate) const SHELL: &str = "[target.shell]\nkind = 'exec'\nargv = ['/bin/bash', '--norc', '--noprofile']\npty = true\n\
    title = 'A shell'\nenv = { PS1 = '$ ', HOME = 'DIR', HISTFILE = '', TERM = 'xterm-256color' }\nmodes = ['rw', 'ro']\n";

pub(crate) const LOG: &str =
    "[target.log]\nkind = 'file'\npath = 'DIR/app.log'\nlines = 0\ntitle = 'A live log'\n";

pub(crate) const SCREENS: &str = "[target.vnc]\nkind = 'unix'\npath = 'DIR/guest/vnc'\nview = 'vnc'\ntitle = 'Screen of the guest'\n\
    [target.spice]\nkind = 'unix'\npath = 'DIR/guest/spice'\nmax_streams = 8\nview = 'spice'\ntitle = 'Screen and sound'\n";

/// Targets that end in every way that a target can.
pub(crate) const ENDS: &str = "[target.done]\nkind = 'exec'\nargv = ['/bin/sh', '-c', 'exit 3']\npty = true\n\
    [target.gone]\nkind = 'unix'\npath = 'DIR/nothing-there'\nview = 'terminal'\n\
    [target.killed]\nkind = 'exec'\nargv = ['/bin/sh', '-c', 'kill -TERM $$']\npty = true\n\
    [target.removed]\nkind = 'exec'\nargv = ['/bin/cat']\npty = true\n\
    [target.talks]\nkind = 'exec'\nargv = ['/bin/sh', '-c', 'echo this is no screen; exec sleep 600']\npty = true\n\
    [target.slow]\nkind = 'tcp'\naddress = 'ADDRESS:8099'\nview = 'terminal'\nopen_timeout = '1s'\n";

pub(crate) const EVIL: &str = "[target.evil]\nkind = 'file'\npath = 'DIR/evil.log'\nlines = 10\nraw = true\n\
    title = '<img src=x onerror=alert(1)>'\n\
    [target.evil-shell]\nkind = 'exec'\nargv = ['/bin/cat', 'DIR/evil.txt', '-']\npty = true\n\
    title = '\"><script>alert(2)</script>'\n";

/// For ends that come from the way between: a session that may have more streams, and a program that reads nothing.
pub(crate) const WAY: &str = "[target.shared]\nkind = 'exec'\nargv = ['/bin/cat']\nview = 'terminal'\nmax_streams = 8\nsession_streams = 4\n\
    [target.deaf]\nkind = 'exec'\nargv = ['/bin/sleep', '600']\nview = 'terminal'\n\
    [target.shell]\nkind = 'exec'\nargv = ['/bin/bash', '--norc', '--noprofile']\npty = true\nenv = { PS1 = '$ ' }\n";

/// The proxy of the script is at 8087. A frame is smaller than what the page sends at once.
pub(crate) const WAY_LIMITS: &str = "limits.frame = 100000\nlimits.write_stall = '3s'\nweb.view_allow = ['ws://ADDRESS:8087', 'ws://ADDRESS:8088']";

pub(crate) const JOURNAL: &str = "[target.journal]\nkind = 'journal'\nunits = ['web.service']\ndirectory = 'DIR/j'\ntitle = 'Journal of web'\n\
    [target.priorities]\nkind = 'journal'\nunits = ['web.service']\ndirectory = 'DIR/j'\noutput = 'json'\n";

pub(crate) const VIEWER: &str =
    "[target.screen]\nkind = 'tcp'\naddress = 'ADDRESS:8099'\nview = 'spice'\ntitle = 'A screen'\n";
