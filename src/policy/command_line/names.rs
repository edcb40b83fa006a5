//! What is known of commands by their names.

/// What a command does to what can be said of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is what it is called.
    Plain,
    /// It runs something else, as its words or its input say; why that can't be seen.
    Opaque(&'static str),
    /// It may change what other names of the line mean, or run what no word of it says.
    Changes,
    /// It is a word of some shells' own syntax.
    Syntax,
}

/// The built-in commands of some shell that may change what the rest of a line means, or that run what they are given.
const CHANGES: [&str; 41] = [
    ".",
    "alias",
    "bind",
    "builtin",
    "chpwd",
    "command",
    "compgen",
    "complete",
    "compopt",
    "declare",
    "disown",
    "enable",
    "eval",
    "export",
    "fc",
    "functions",
    "getopts",
    "hash",
    "history",
    "integer",
    "jobs",
    "let",
    "local",
    "mapfile",
    "popd",
    "pushd",
    "read",
    "readarray",
    "readonly",
    "return",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "trap",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
];

/// Words that begin something in bash, and are commands' names elsewhere.
const SYNTAX: [&str; 8] = ["[[", "]]", "time", "function", "select", "coproc", "namespace", "(("];

const SHELLS: [&str; 16] = [
    "sh", "ash", "bash", "bosh", "busybox", "csh", "dash", "fish", "ksh", "lksh", "mksh", "posh", "rbash", "tcsh",
    "toybox", "zsh",
];

const RUNNERS: [&str; 58] = [
    "at",
    "batch",
    "chpst",
    "chroot",
    "chrt",
    "crontab",
    "daemonize",
    "doas",
    "docker",
    "ed",
    "emacs",
    "env",
    "ex",
    "exec",
    "expect",
    "fakeroot",
    "flock",
    "gdb",
    "ionice",
    "kubectl",
    "ld.so",
    "less",
    "ltrace",
    "lxc",
    "m4",
    "machinectl",
    "make",
    "man",
    "more",
    "nice",
    "nohup",
    "nsenter",
    "numactl",
    "parallel",
    "podman",
    "pkexec",
    "prlimit",
    "run-parts",
    "runuser",
    "screen",
    "script",
    "setarch",
    "setpriv",
    "setsid",
    "ssh",
    "start-stop-daemon",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "tcpdump",
    "timeout",
    "tmux",
    "unshare",
    "watch",
    "xargs",
];

/// Interpreters, whatever version they have behind their names.
const INTERPRETERS: [&str; 15] = [
    "awk", "gawk", "guile", "julia", "lua", "mawk", "nawk", "node", "perl", "php", "python", "ruby", "scala", "tclsh",
    "vi",
];

/// What is known of a command of this name and with these words.
pub(super) fn kind(name: &str, arguments: &[String], literal: bool) -> Kind {
    let has = |flags: &[&str]| arguments.iter().any(|argument| flags.contains(&argument.as_str()));
    if CHANGES.contains(&name) {
        return Kind::Changes;
    }
    if SYNTAX.contains(&name) {
        return Kind::Syntax;
    }
    match name {
        // bash looks into the name of the variable that these are given, and runs what is in it
        "test" | "[" if !literal || has(&["-v", "-R"]) => return Kind::Changes,
        "printf" if !literal || arguments.iter().any(|argument| argument.starts_with("-v")) => return Kind::Changes,
        "wait" if !literal || has(&["-p"]) => return Kind::Changes,
        _ => {}
    }
    let base = name.rsplit('/').next().unwrap_or(name);
    let version = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-');
    let interprets = |known: &&str| base.strip_prefix(*known).is_some_and(version);
    if SHELLS.contains(&base) {
        return Kind::Opaque("it is a shell");
    }
    if RUNNERS.contains(&base) || base.starts_with("ld-linux") {
        return Kind::Opaque("it runs other commands");
    }
    if INTERPRETERS.iter().any(interprets) || ["nodejs", "pypy", "vim", "view", "nvim", "nano"].contains(&base) {
        return Kind::Opaque("it runs a program that it is given");
    }
    match base {
        // what does not stand for itself may become one of these
        "find" if !literal || has(&["-exec", "-execdir", "-ok", "-okdir"]) => Kind::Opaque("it runs other commands"),
        _ => Kind::Plain,
    }
}
