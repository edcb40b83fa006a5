//! The node-side programs and the documents that carry them.
//!
//! Nothing is installed on a node: the session document holds the helpers' text, and a short boot line chooses between
//! them. `$1` is the Python helper, `$2` the `sh` helper, `$3` the options, `$4` the person's command.

use serde_json::json;

use crate::backend::preferences::Preferences;
use crate::transport::parameter;

/// The document of an out lane: `NonInteractiveCommands` with separate streams.
pub const OUT_DOCUMENT: &str = "Portcullis-OutLane";
/// The document of an in lane: `InteractiveCommands`.
pub const IN_DOCUMENT: &str = "Portcullis-InLane";
/// AWS's own document for the one-lane rung.
pub const ONE_LANE_DOCUMENT: &str = "AWS-StartInteractiveCommand";

/// The lanes' session documents, by name: what an account must have before the gateway can use it.
///
/// They carry the account's own limits, because a session document overrides the account's preferences.
pub fn documents(preferences: &Preferences) -> [(&'static str, String); 2] {
    [
        (OUT_DOCUMENT, document("NonInteractiveCommands", "what the node says", true, preferences)),
        (IN_DOCUMENT, document("InteractiveCommands", "what the person says", false, preferences)),
    ]
}

/// The command line of the one-lane rung, whole: the stock document has only a `command`.
pub fn one_lane_command(options: &str, command: &str) -> String {
    boot(options, command)
}

fn document(session_type: &str, purpose: &str, separate: bool, preferences: &Preferences) -> String {
    let mut linux = json!({ "commands": boot("{{ options }}", "{{ command }}"), "runAsElevated": false });
    if separate {
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

pub(super) fn boot(options: &str, command: &str) -> String {
    format!("sh -c '{OUTER}' '{INNER}' '{}' '{}' '{options}' '{command}'", slim(PYTHON), slim_sh(SHELL))
}

/// Drops comments and most of the indentation: a document may be 64 KiB.
fn slim(program: &str) -> String {
    let mut text = String::with_capacity(program.len());
    for line in program.lines() {
        let body = line.trim_start_matches(' ');
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let depth = line.len() - body.len();
        text.extend(std::iter::repeat_n(' ', depth / 4 + usize::from(!depth.is_multiple_of(4)) * 8));
        text.push_str(body);
        text.push('\n');
    }
    text
}

/// The same for `sh`, to which indentation means nothing.
fn slim_sh(program: &str) -> String {
    let lines = program.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Becomes the named user, outside any terminal, where the agent may; then the rest.
const OUTER: &str = r#"case "$3" in *";u="*) u=${3##*;u=}; u=${u%%;*}; if [ "$u" != "$(id -un)" ] && [ "$(id -u)" != 0 ]; then exec sudo -n -H -u "$u" -- sh -c "$0" portcullis "$@"; fi;; esac; eval "$0""#;

/// Chooses the helper: Python where there is one, else `sh`, which gets its own text so that it can start itself again.
const INNER: &str = r#"case "$3" in *";h=sh"*) ;; *) for p in /usr/bin/python3 /usr/libexec/platform-python /usr/local/bin/python3; do if [ -x "$p" ]; then exec "$p" -ISc "$1" "$3" "$4"; fi; done;; esac; exec sh -c "eval \"\$1\"" portcullis "$2" "$3" "$4""#;

const PYTHON: &str = include_str!("helper.py");
const SHELL: &str = concat!(include_str!("files.sh"), include_str!("helper.sh"));

const OPTIONS_PATTERN: &str = "^[A-Za-z0-9_.,:;=%/-]+$";

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_document_is_within_the_service_limit() {
        for (name, text) in documents(&Preferences::default()) {
            assert!(text.len() < 64_000, "{name} has {} bytes", text.len());
        }
    }

    #[test]
    fn slimming_keeps_the_structure() {
        assert_eq!(slim("# no\ndef f():\n    # no\n    if a:\n        b()\n"), "def f():\n if a:\n  b()\n");
    }
}
