//! The one encoder from a command to a document parameter.
//!
//! The lanes' documents put the parameter between apostrophes: `sh -c … '{{ command }}'`. On its way to the helper the
//! text is substituted verbatim into the document (where `$$` collapses and `{{ssm:…}}` is looked up), split like a shell
//! would, and sometimes read by a real `sh`. Between apostrophes both take every character as it is, so three things are
//! rewritten and nothing else: `'` leaves the quotes and comes back (`'\''`), and an empty pair of quotes parts `$$` and
//! `{{`. CloudTrail therefore shows the command as the person wrote it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// What the document's `allowedPattern` admits: the encoder's output and nothing that could leave the apostrophes, join
/// two dollars or open a placeholder.
pub const ALLOWED_PATTERN: &str = r"^(?:(?:\$?(?:\{\$)*\{?)(?:[^'$\{\x00]|'\\''|''))*(?:\$?(?:\{\$)*\{?)$";

/// A command as the `command` parameter carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Readable, in the parameter.
    Plain(String),
    /// In the parameter as `base64:…`, because it is not readable text.
    Encoded(String),
    /// Too long for a parameter, or to be read by nobody in AWS: it goes over the lane, and the parameter is `sha256:…` of it.
    OverLane(String),
}

impl Carried {
    /// The parameter's value.
    pub fn parameter(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Encoded(text) | Self::OverLane(text) => text,
        }
    }
}

/// The command holds a NUL byte, which no program's argument can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a command can't hold a NUL byte")]
pub struct NulInCommand;

/// Encodes a command line.
pub fn encode(command: &[u8]) -> Result<Carried, NulInCommand> {
    if command.contains(&0) {
        return Err(NulInCommand);
    }
    if command.len() > LONGEST_PARAMETER {
        return Ok(over_lane(command));
    }
    let carried = match std::str::from_utf8(command) {
        Ok(text) if readable(text) => Carried::Plain(quote(text)),
        _ => Carried::Encoded(format!("base64:{}", STANDARD.encode(command))),
    };
    // an apostrophe becomes four bytes
    Ok(if carried.parameter().len() > LONGEST_PARAMETER { over_lane(command) } else { carried })
}

/// The same of one that nobody is to read in AWS's records.
pub fn hashed(command: &[u8]) -> Result<Carried, NulInCommand> {
    if command.contains(&0) { Err(NulInCommand) } else { Ok(over_lane(command)) }
}

fn over_lane(command: &[u8]) -> Carried {
    Carried::OverLane(format!("sha256:{}", hex::encode(Sha256::digest(command))))
}

/// Whether the text can stand as it is: nothing that a log would garble, nothing that the helper would take for one of
/// the other forms, and not empty (an empty parameter would be replaced by the document's default).
fn readable(text: &str) -> bool {
    let tagged = ["base64:", "sha256:", "shell:", "files:"].iter().any(|tag| text.starts_with(tag));
    let garbled = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == char::REPLACEMENT_CHARACTER;
    !text.is_empty() && !tagged && !text.chars().any(garbled)
}

/// The text between apostrophes, without the outer pair.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    let mut last = '\0';
    for c in text.chars() {
        if c == last && (c == '$' || c == '{') {
            quoted.push_str("''");
        }
        if c == '\'' {
            quoted.push_str(r"'\''");
        } else {
            quoted.push(c);
        }
        last = c;
    }
    quoted
}

/// Longer commands go over the lane. Systems Manager publishes no limit for a parameter of `StartSession`; this is well
/// below the 128 KiB that Linux allows for one argument, and on the one-lane rung it shares 64 KiB with the helper's text.
const LONGEST_PARAMETER: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the helper gets: substituted into `'…'` with `$$` collapsed, then split as a POSIX shell splits.
    fn through_the_agent(parameter: &str) -> String {
        let substituted = format!("'{}'", parameter.replace("$$", "$"));
        let words = shell_words::split(&substituted).unwrap();
        assert_eq!(words.len(), 1, "{substituted}");
        words.into_iter().next().unwrap()
    }

    fn decoded(carried: &Carried) -> Vec<u8> {
        let parameter = carried.parameter();
        let allowed = regex::Regex::new(ALLOWED_PATTERN).unwrap();
        assert!(allowed.is_match(parameter), "{parameter}");
        assert!(!parameter.contains("{{") && !parameter.contains("$$"), "{parameter}");
        let text = through_the_agent(parameter);
        match text.strip_prefix("base64:") {
            Some(encoded) => STANDARD.decode(encoded).unwrap(),
            None => text.into_bytes(),
        }
    }

    #[test]
    fn an_ordinary_command_stays_readable() {
        let carried = encode(b"tail -n 3 /var/log/syslog | grep \"error\" # why").unwrap();
        assert_eq!(carried, Carried::Plain("tail -n 3 /var/log/syslog | grep \"error\" # why".to_owned()));
    }

    #[test]
    fn awkward_commands_arrive() {
        for command in [
            "echo 'it''s'",
            "kill -0 $$",
            "echo $$$$ {{x}} {{ssm:/a/b}} {{{{ ${a} $",
            "a\nb\\\nc",
            "base64:eA==",
            "shell:",
            "#",
            "{",
            "$",
        ] {
            assert_eq!(decoded(&encode(command.as_bytes()).unwrap()), command.as_bytes(), "{command}");
        }
        assert_eq!(decoded(&encode(b"\xff\xef\xbf\xbd\x01").unwrap()), b"\xff\xef\xbf\xbd\x01");
        assert_eq!(decoded(&encode(b"").unwrap()), b"");
    }

    #[test]
    fn nul_is_refused_and_long_ones_go_over_the_lane() {
        assert_eq!(encode(b"a\0b"), Err(NulInCommand));
        let long = vec![b'x'; 128 * 1024];
        let carried = encode(&long).unwrap();
        assert!(matches!(&carried, Carried::OverLane(text) if text.len() == 71), "{carried:?}");
        for grows in [&b"'"[..], b"\xff", b"$$"] {
            let carried = encode(&grows.repeat((LONGEST_PARAMETER - 1) / grows.len())).unwrap();
            assert!(matches!(carried, Carried::OverLane(_)), "{carried:?}");
        }
    }

    proptest! {
        #[test]
        fn every_command_arrives(command in proptest::collection::vec(1u8.., 0..300)) {
            prop_assert_eq!(decoded(&encode(&command).unwrap()), command);
        }

        #[test]
        fn every_text_arrives(command in "[a${}' \\\\\"\n#;é]{0,40}") {
            prop_assert_eq!(decoded(&encode(command.as_bytes()).unwrap()), command.into_bytes());
        }
    }
}
