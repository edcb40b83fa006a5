//! The node-side programs and the documents that carry them.
//!
//! Nothing is installed on a node: the session document holds the helper's text in both languages, and a short boot line
//! chooses between them. A document holds only the [`Program`] that its lanes run, which keeps it below the service's
//! 64 KiB and short to read.
//!
//! ```text
//!   node/python/*.py ─┐ joined (source.rs)
//!   node/sh/*.sh ─────┴──▶ sh -c '<OUTER>' '<INNER>' '<Python>' '<sh>' '{{ options }}' '{{ command }}'
//!                                  $0        $1        $2         $3               $4
//!   OUTER  becomes the user (sudo) ──▶ INNER  python3 -c <Python>, or else sh -c <sh>
//! ```
//!
//! As all of it stands between apostrophes, none may be in it; and `{{` and `$$` mean something to the agent.

use serde_json::json;

use super::source::Language;
use crate::backend::preferences::Preferences;
use crate::transport::parameter;

/// The document of an out lane: `NonInteractiveCommands` with separate streams.
pub const OUT_DOCUMENT: &str = "Portcullis-OutLane";
/// The document of a file service's out lane: the same with another program.
pub const FILE_DOCUMENT: &str = "Portcullis-FileLane";
/// The document of a relay's out lane.
pub const RELAY_DOCUMENT: &str = "Portcullis-RelayLane";
/// The document of an in lane: `InteractiveCommands`.
pub const IN_DOCUMENT: &str = "Portcullis-InLane";
/// AWS's own document for the one-lane rung.
pub const ONE_LANE_DOCUMENT: &str = "AWS-StartInteractiveCommand";

/// The lanes' session documents, by name: what an account must have before the gateway can use it.
///
/// They carry the account's own limits, because a session document overrides the account's preferences.
pub fn documents(preferences: &Preferences) -> [(&'static str, String); 4] {
    let out = "NonInteractiveCommands";
    [
        (OUT_DOCUMENT, document(out, "what a command says", Program::OutCommand, preferences)),
        (FILE_DOCUMENT, document(out, "what a file service says", Program::OutFiles, preferences)),
        (RELAY_DOCUMENT, document(out, "what a relay of connections says", Program::OutRelay, preferences)),
        (IN_DOCUMENT, document("InteractiveCommands", "what the person says", Program::InLane, preferences)),
    ]
}

/// What a lane runs: a name of a file in `node/python` and `node/sh`, whose own first lines say what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport) enum Program {
    /// An out lane that starts a command, or joins it.
    OutCommand,
    /// An out lane that starts a file service, or joins it.
    OutFiles,
    /// An out lane that starts a relay, or joins it.
    OutRelay,
    /// An in lane, which only joins.
    InLane,
    /// The one lane of a command.
    OneCommand,
    /// The one lane of a file service.
    OneFiles,
    /// The one lane of a relay.
    OneRelay,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::OutCommand => "out_command",
            Self::OutFiles => "out_files",
            Self::OutRelay => "out_relay",
            Self::InLane => "in_lane",
            Self::OneCommand => "one_command",
            Self::OneFiles => "one_files",
            Self::OneRelay => "one_relay",
        }
    }
}

fn document(session_type: &str, purpose: &str, program: Program, preferences: &Preferences) -> String {
    let mut linux = json!({ "commands": boot("{{ options }}", "{{ command }}", program), "runAsElevated": false });
    if session_type == "NonInteractiveCommands" {
        linux["separateOutputStream"] = json!("true");
    }
    json!({
        "schemaVersion": "1.0",
        "description": format!("Portcullis lane: {purpose}"),
        "sessionType": session_type,
        "inputs": preferences.lane_inputs(),
        "parameters": {
            "options": {
                "type": "String",
                "description": "how the helper is to run",
                "allowedPattern": OPTIONS_PATTERN,
            },
            "command": {
                "type": "String",
                "description": "the command the person gave, or what stands for it",
                "allowedPattern": parameter::ALLOWED_PATTERN,
            },
        },
        "properties": { "linux": linux },
    })
    .to_string()
}

/// The command line of a lane. On the one-lane rung it is the session's parameter, since AWS's own document has only that.
pub(in crate::transport) fn boot(options: &str, command: &str, program: Program) -> String {
    let [python, sh] = [Language::Python, Language::Sh].map(|language| language.program(program.name()));
    format!("sh -c '{OUTER}' '{INNER}' '{python}' '{sh}' '{options}' '{command}'")
}

/// Becomes the named user, outside any terminal, where the agent may; then the rest. A name comes percent-encoded.
const OUTER: &str = r#"case "$3" in *";u="*) r=${3##*;u=}; r=${r%%;*}; u=; while case $r in *%*) ;; *) false;; esac; do u=$u${r%%"%"*}; r=${r#*"%"}; n=$((0x${r%"${r#??}"})); u=$u$(printf "\\$((n / 64))$((n / 8 % 8))$((n % 8))"); r=${r#??}; done; u=$u$r; if [ "$u" != "$(id -un)" ] && [ "$(id -u)" != 0 ]; then exec sudo -n -H -u "$u" -- sh -c "$0" portcullis "$@"; fi;; esac; eval "$0""#;

/// Chooses the helper: Python where there is one, else `sh`, which gets its own text so that it can start itself again. A
/// Python that is too old gets that text as well, and hands over.
const INNER: &str = r#"case "$3" in *";h=sh"*) ;; *) for p in /usr/bin/python3 /usr/libexec/platform-python /usr/local/bin/python3; do if [ -x "$p" ]; then exec "$p" -ISc "$1" "$3" "$4" "$2"; fi; done;; esac; exec sh -c "eval \"\$1\"" portcullis "$2" "$3" "$4""#;

const OPTIONS_PATTERN: &str = "^[A-Za-z0-9_.,:;=%/-]+$";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Helper;
    use crate::transport::channel::ChannelSetup;
    use crate::transport::environment::by_way;
    use crate::transport::options::Options;

    const ALL: [Program; 7] = [
        Program::OutCommand,
        Program::OutFiles,
        Program::OutRelay,
        Program::InLane,
        Program::OneCommand,
        Program::OneFiles,
        Program::OneRelay,
    ];

    #[test]
    fn the_programs_can_stand_between_apostrophes() {
        let programs = ALL.map(Program::name);
        let joined = programs.iter().flat_map(|name| [Language::Python, Language::Sh].map(|it| it.program(name)));
        for program in joined.chain([OUTER.to_owned(), INNER.to_owned()]) {
            assert!(program.len() > 100);
            for forbidden in ["'", "{{", "}}", "$$"] {
                let line = program.lines().find(|line| line.contains(forbidden));
                assert_eq!(line, None, "{forbidden}");
            }
        }
    }

    #[test]
    fn a_document_is_below_the_service_limit() {
        // AWS takes 65,536 bytes of a document, and of a parameter at most as many; the account's limits are in it as well
        let limits = Preferences { idle_minutes: Some(60), max_minutes: Some(1440), ..Preferences::default() };
        for (name, text) in documents(&limits) {
            assert!(text.len() < 63 << 10, "{name} has {} bytes", text.len());
        }
        for program in [Program::OneCommand, Program::OneFiles, Program::OneRelay] {
            let line = boot("", "", program);
            // the options are up to 3 KiB more
            assert!(line.len() < 61 << 10, "{program:?} has {} bytes", line.len());
        }
    }

    /// What sudo is asked for a user, where the agent is somebody else.
    fn asked_of_sudo(user: &str) -> String {
        let tools = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = tools.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        };
        script("id", "case $1 in -un) echo ssm-user;; *) echo 1001;; esac");
        script("sudo", r#"printf "%s|" "$1" "$2" "$3" "$4" "$5""#);
        let setup = ChannelSetup { env: vec![("LC_X".into(), "a;u=root".into())], ..ChannelSetup::default() };
        let options = Options::shell(&setup, &by_way(&setup.env), Some(user), Helper::Auto, "ab".into()).start("out");
        let words = shell_words::split(&boot(&options, "shell:", Program::OutCommand)).unwrap();
        let path = format!("{}:/usr/bin:/bin", tools.path().display());
        let said = std::process::Command::new(&words[0]).args(&words[1..]).env("PATH", path).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    }

    #[test]
    fn sudo_gets_the_name_as_it_was_written() {
        for user in ["ec2-user", "ann@corp.example", "..", "a_b.c-d", "@", "100%", "ünal", "a\\c b"] {
            assert_eq!(asked_of_sudo(user), format!("-n|-H|-u|{user}|--|"));
        }
    }
}
