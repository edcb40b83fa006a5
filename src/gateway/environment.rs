//! Which variables a client may set on the node: what the configuration lists, but never one that changes what a program
//! loads or runs. RFC 4254, section 6.4, leaves it to the server which ones it takes.

use crate::config::Environment;

/// The names that no configuration lets through, and the beginnings of names.
const NEVER: &[&str] = &[
    "_*",
    "BASHOPTS",
    "BASH_*",
    "CDPATH",
    "CLASSPATH",
    "CURL_HOME",
    "DBUS_*",
    "DYLD_*",
    "EDITOR",
    "ENV",
    "EXINIT",
    "FPATH",
    "GCONV_PATH",
    // programs that git starts
    "GIT_ASKPASS",
    "GIT_BROWSER",
    "GIT_EDITOR",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_MAN_VIEWER",
    "GIT_PAGER",
    "GIT_PROXY_COMMAND",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH*",
    // transports that start programs (ext::)
    "GIT_ALLOW_PROTOCOL",
    // settings, which name programs in their turn
    "GIT_CONFIG*",
    // whose settings and hooks are read: another repository's, or a template's
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
    // where its objects, attributes and texts are read from
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_*",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_*",
    "GIT_OBJECT_DIRECTORY",
    "GIT_QUARANTINE_PATH",
    "GIT_TEXTDOMAINDIR",
    // files that it appends its own log to
    "GIT_REDIRECT_*",
    "GIT_TRACE*",
    // whom it believes
    "GIT_PROXY_SSL_*",
    "GIT_SSL_*",
    // the library of its scripts
    "GITPERLLIB",
    "GLIBC_TUNABLES",
    "GLOBIGNORE",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "INPUTRC",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "KRB5*",
    "LD_*",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "LUA_*",
    "MAIL",
    "MALLOC_*",
    "MANPAGER",
    "NLSPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OPENSSL_*",
    "PAGER",
    "PATH",
    "PERL*",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHON*",
    "RES_OPTIONS",
    "RESOLV_*",
    "RUBY*",
    "SHELL",
    "SHELLOPTS",
    "SSH_*",
    "SSL_CERT_*",
    "SUDO_*",
    "SYSTEMD_*",
    "TERMCAP",
    "TERMINFO*",
    "TERMPATH",
    "TMPDIR",
    "USER",
    "VIMINIT",
    "VISUAL",
    "XDG_*",
    "ZDOTDIR",
];

/// The variables that carry a reason; they go to the decision, not to the node.
const REASON: &[&str] = &["PORTCULLIS_REASON", "LC_PORTCULLIS_REASON"];

/// At most so many variables, and so many bytes in all, for one channel.
const MAX_VARIABLES: usize = 128;
const MAX_BYTES: usize = 32 * 1024;

/// The allow-list.
#[derive(Clone, Debug)]
pub(super) struct Allowed(Vec<String>);

/// What becomes of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes along.
    Node,
    /// It is the reason.
    Reason,
    /// It is dropped.
    Refused,
}

impl Allowed {
    pub(super) fn new(accept: &[String]) -> Self {
        Self(accept.to_vec())
    }

    /// What becomes of a variable, given those that a channel already has.
    pub(super) fn judge(&self, name: &str, value: &str, before: &[(String, Vec<u8>)]) -> Verdict {
        if REASON.contains(&name) {
            return Verdict::Reason;
        }
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let named = plain && !name.starts_with(|c: char| c.is_ascii_digit());
        let bytes: usize = before.iter().map(|(name, value)| name.len() + value.len()).sum();
        let fits = before.len() < MAX_VARIABLES && bytes + name.len() + value.len() <= MAX_BYTES;
        let allowed = self.0.iter().any(|pattern| matches(pattern, name));
        let never = NEVER.iter().any(|pattern| matches(pattern, name));
        if named && fits && allowed && !never && !value.contains('\0') { Verdict::Node } else { Verdict::Refused }
    }
}

impl Default for Allowed {
    fn default() -> Self {
        Self::new(&Environment::default().accept)
    }
}

/// Whether nothing that a line of `accept` stands for is ever let through.
pub fn never_passes(accepted: &str) -> bool {
    match accepted.strip_suffix('*') {
        Some(beginning) => NEVER.iter().any(|never| never.ends_with('*') && matches(never, beginning)),
        None => NEVER.iter().any(|never| matches(never, accepted)),
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_language_and_terminal_only() {
        let allowed = Allowed::default();
        for name in ["TERM", "LANG", "LC_ALL", "LC_CTYPE"] {
            assert_eq!(allowed.judge(name, "C.UTF-8", &[]), Verdict::Node, "{name}");
        }
        for name in ["FOO", "LANGUAGE", "lang", "", "LC_A=B", "LC_A B", "LC_é", "1LC"] {
            assert_eq!(allowed.judge(name, "x", &[]), Verdict::Refused, "{name}");
        }
        assert_eq!(allowed.judge("LANG", "a\0b", &[]), Verdict::Refused);
    }

    #[test]
    fn no_configuration_lets_the_dangerous_ones_through() {
        let allowed = Allowed::new(&["*".to_owned(), "LD_PRELOAD".to_owned(), "LD_*".to_owned()]);
        assert_eq!(allowed.judge("FOO", "x", &[]), Verdict::Node);
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "BASH_ENV",
            "ENV",
            "IFS",
            "PATH",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PERL5LIB",
            "PERL5OPT",
            "SHELLOPTS",
            "PS4",
            "PROMPT_COMMAND",
            "GIT_SSH_COMMAND",
            "GIT_EXEC_PATH",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_GLOBAL",
            "GIT_EXTERNAL_DIFF",
            "GIT_PAGER",
            "GIT_ASKPASS",
            "GIT_TEMPLATE_DIR",
            "GIT_DIR",
            "GIT_TRACE2_EVENT",
            "GITPERLLIB",
            "NODE_OPTIONS",
            "HOME",
            "SHELL",
            "LESSOPEN",
            "RUBYOPT",
            "GLIBC_TUNABLES",
            "BASH_FUNC_x",
            "TERMINFO",
            "SUDO_ASKPASS",
            "SSH_AUTH_SOCK",
        ] {
            assert_eq!(allowed.judge(name, "x", &[]), Verdict::Refused, "{name}");
        }
    }

    /// What git's own manual asks a server to take (`git help protocol-v2`), and says who makes a commit.
    #[test]
    fn of_gits_variables_those_pass_that_change_nothing_of_what_runs() {
        assert_eq!(Allowed::default().judge("GIT_PROTOCOL", "version=2", &[]), Verdict::Node);
        let allowed = Allowed::new(&["GIT_*".to_owned()]);
        for name in
            ["GIT_PROTOCOL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_EMAIL", "GIT_TERMINAL_PROMPT", "GIT_OPTIONAL_LOCKS"]
        {
            assert_eq!(allowed.judge(name, "x", &[]), Verdict::Node, "{name}");
        }
    }

    #[test]
    fn what_would_let_nothing_through_is_told_from_what_lets_some() {
        for (accepted, never) in
            [("LD_PRELOAD", true), ("LD_*", true), ("LD_X*", true), ("ENV*", false), ("L*", false), ("*", false)]
        {
            assert_eq!(never_passes(accepted), never, "{accepted}");
        }
    }

    #[test]
    fn the_reason_goes_elsewhere_and_there_is_an_end_to_it() {
        let allowed = Allowed::default();
        assert_eq!(allowed.judge("PORTCULLIS_REASON", "INC-42", &[]), Verdict::Reason);
        assert_eq!(allowed.judge("LC_PORTCULLIS_REASON", "INC-42", &[]), Verdict::Reason);
        let many = vec![("LC_A".to_owned(), b"x".to_vec()); MAX_VARIABLES];
        assert_eq!(allowed.judge("LANG", "C", &many), Verdict::Refused);
        let large = [("LC_A".to_owned(), vec![b'x'; MAX_BYTES])];
        assert_eq!(allowed.judge("LANG", "C", &large), Verdict::Refused);
    }
}
