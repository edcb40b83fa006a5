//! The node-side programs and the documents that carry them.
//!
//! Nothing is installed on a node: the session document holds the helpers' text, and a short boot line chooses between
//! them. `$1` is the Python helper, `$2` the `sh` helper, `$3` the options, `$4` the person's command. A document holds
//! only the [`Parts`] that its lanes need, which keeps it far from the service's 64 KiB and short to read.

use serde_json::json;

use crate::backend::preferences::Preferences;
use crate::transport::parameter;

/// The document of an out lane: `NonInteractiveCommands` with separate streams.
pub const OUT_DOCUMENT: &str = "Portcullis-OutLane";
/// The document of a file service's out lane: the same with another program.
pub const FILE_DOCUMENT: &str = "Portcullis-FileLane";
/// The document of an in lane: `InteractiveCommands`.
pub const IN_DOCUMENT: &str = "Portcullis-InLane";
/// AWS's own document for the one-lane rung.
pub const ONE_LANE_DOCUMENT: &str = "AWS-StartInteractiveCommand";

/// The lanes' session documents, by name: what an account must have before the gateway can use it.
///
/// They carry the account's own limits, because a session document overrides the account's preferences.
pub fn documents(preferences: &Preferences) -> [(&'static str, String); 3] {
    let out = "NonInteractiveCommands";
    [
        (OUT_DOCUMENT, document(out, "what a command says", Parts::COMMAND, preferences)),
        (FILE_DOCUMENT, document(out, "what a file service says", Parts::FILES, preferences)),
        (IN_DOCUMENT, document("InteractiveCommands", "what the person says", Parts::IN, preferences)),
    ]
}

/// Which parts of the helpers a lane needs, besides those that all do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts(&'static [&'static str]);

impl Parts {
    /// An out lane that starts a command, or joins it.
    pub const COMMAND: Self = Self(&["attach", "owner", "command"]);
    /// An out lane that starts a file service, or joins it.
    pub const FILES: Self = Self(&["attach", "owner", "files"]);
    /// An in lane, which only joins.
    pub const IN: Self = Self(&["attach", "reader", "in"]);
    /// The one lane of a command.
    pub const ONE_COMMAND: Self = Self(&["owner", "reader", "command"]);
    /// The one lane of a file service.
    pub const ONE_FILES: Self = Self(&["owner", "reader", "files"]);

    /// The lines of these parts, in their order.
    fn of(self, program: &str) -> impl Iterator<Item = &str> {
        let mut part = ALL;
        program.lines().filter(move |line| {
            part = line.strip_prefix(PART).unwrap_or(part);
            part == ALL || self.0.contains(&part)
        })
    }
}

fn document(session_type: &str, purpose: &str, parts: Parts, preferences: &Preferences) -> String {
    let mut linux = json!({ "commands": boot("{{ options }}", "{{ command }}", parts), "runAsElevated": false });
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
pub fn boot(options: &str, command: &str, parts: Parts) -> String {
    let (python, shell) = (slim(parts.of(PYTHON)), slim_sh(parts.of(SHELL)));
    format!("sh -c '{OUTER}' '{INNER}' '{python}' '{shell}' '{options}' '{command}'")
}

/// Drops comments and most of the indentation.
fn slim<'a>(program: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for line in program {
        let body = line.trim_start_matches(' ');
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let depth = line.len() - body.len();
        text.extend(std::iter::repeat_n(' ', depth / 4 + usize::from(!depth.is_multiple_of(4)) * 8));
        text.push_str(body.split("  # ").next().unwrap_or(body));
        text.push('\n');
    }
    text
}

/// The same for `sh`, to which indentation means nothing.
fn slim_sh<'a>(program: impl Iterator<Item = &'a str>) -> String {
    let lines = program.map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Becomes the named user, outside any terminal, where the agent may; then the rest. A name comes percent-encoded.
const OUTER: &str = r#"case "$3" in *";u="*) r=${3##*;u=}; r=${r%%;*}; u=; while case $r in *%*) ;; *) false;; esac; do u=$u${r%%"%"*}; r=${r#*"%"}; n=$((0x${r%"${r#??}"})); u=$u$(printf "\\$((n / 64))$((n / 8 % 8))$((n % 8))"); r=${r#??}; done; u=$u$r; if [ "$u" != "$(id -un)" ] && [ "$(id -u)" != 0 ]; then exec sudo -n -H -u "$u" -- sh -c "$0" portcullis "$@"; fi;; esac; eval "$0""#;

/// Chooses the helper: Python where there is one, else `sh`, which gets its own text so that it can start itself again. A
/// Python that is too old gets that text as well, and hands over.
const INNER: &str = r#"case "$3" in *";h=sh"*) ;; *) for p in /usr/bin/python3 /usr/libexec/platform-python /usr/local/bin/python3; do if [ -x "$p" ]; then exec "$p" -ISc "$1" "$3" "$4" "$2"; fi; done;; esac; exec sh -c "eval \"\$1\"" portcullis "$2" "$3" "$4""#;

const PYTHON: &str = include_str!("helper.py");
/// How a line begins that begins a part, and the part that every lane needs.
const PART: &str = "# part: ";
const ALL: &str = "all";

const SHELL: &str = concat!(include_str!("files.sh"), include_str!("helper.sh"));

const OPTIONS_PATTERN: &str = "^[A-Za-z0-9_.,:;=%/-]+$";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Helper;
    use crate::transport::channel::ChannelSetup;
    use crate::transport::options::Options;

    #[test]
    fn the_programs_can_stand_between_apostrophes() {
        for program in [PYTHON, SHELL, OUTER, INNER] {
            for forbidden in ["'", "{{", "}}", "$$"] {
                let line = program.lines().find(|line| line.contains(forbidden));
                assert_eq!(line, None, "{forbidden}");
            }
        }
    }

    #[test]
    fn a_document_is_far_from_the_service_limit() {
        // AWS takes 65,536 bytes of a document, and of a parameter at most as many
        for (name, text) in documents(&Preferences::default()) {
            assert!(text.len() < 52 << 10, "{name} has {} bytes", text.len());
        }
        for parts in [Parts::ONE_COMMAND, Parts::ONE_FILES] {
            let line = boot("", "", parts);
            assert!(line.len() < 52 << 10, "{parts:?} have {} bytes", line.len());
        }
    }

    #[test]
    fn every_part_is_some_lane_s() {
        let lanes = [Parts::COMMAND, Parts::FILES, Parts::IN, Parts::ONE_COMMAND, Parts::ONE_FILES];
        for part in [PYTHON, SHELL].into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix(PART)) {
            assert!(part == ALL || lanes.iter().any(|parts| parts.0.contains(&part)), "nobody takes {part}");
        }
    }

    #[test]
    fn slimming_keeps_the_structure() {
        let program = "# no\ndef f():  # no\n    # no\n    if a:\n        b()\n";
        assert_eq!(slim(program.lines()), "def f():\n if a:\n  b()\n");
    }

    #[test]
    fn parts_are_taken_in_their_order() {
        let program = "a\n# part: files\nb\n# part: owner\nc\n# part: all\nd";
        assert_eq!(slim(Parts::COMMAND.of(program)), "a\nc\nd\n");
        assert_eq!(slim(Parts::IN.of(program)), "a\nd\n");
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
        let setup = ChannelSetup { env: vec![("LANG".into(), "a;u=root".into())], ..ChannelSetup::default() };
        let options = Options::shell(&setup, Some(user), Helper::Auto, "ab".into()).start("out");
        let words = shell_words::split(&boot(&options, "shell:", Parts::COMMAND)).unwrap();
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
