//! The variables of a session, as its record has them: all their names, and values that can't be a secret.

use super::fields::Fields;
use crate::model::says_nothing;

/// Variables whose values are words of a program: which terminal, and which version of Git's protocol.
const WORDS: [&str; 2] = ["TERM", "GIT_PROTOCOL"];

/// Longer than any such word.
const LONGEST_WORD: usize = 64;

/// The longest name that is kept whole.
const MAX_NAME: usize = 1024;

/// One variable as it stands in the log. Of a value that may be anything, and so a password or a key, only the length is kept:
/// a hash would let whoever has the log try guesses.
pub(super) fn variable((name, value): &(String, Vec<u8>)) -> Fields {
    let mut fields = Fields::up_to(MAX_NAME);
    fields.text("name", name);
    match std::str::from_utf8(value) {
        Ok(text) if says_nothing(name, text) || is_word(name, text) => fields.text("value", text),
        _ => fields.value("redacted_bytes", value.len()),
    }
    fields
}

/// `xterm-256color`, `version=2`.
fn is_word(name: &str, value: &str) -> bool {
    let tame = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._=:".contains(&byte);
    WORDS.contains(&name) && value.len() <= LONGEST_WORD && value.bytes().all(tame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_its_length() {
        let kept = |name: &str, value: &str| {
            let fields = variable(&(name.to_owned(), value.as_bytes().to_vec()));
            fields.into_json().to_string()
        };
        for name in [
            "LC_API_TOKEN",
            "LC_PASS",
            "LC_AUTH",
            "LC_COOKIE",
            "LC_DB_URL",
            "my_secret",
            "LC_Password",
            "LC_ALL",
            "FOO",
        ] {
            assert_eq!(kept(name, "hunter2"), format!(r#"{{"name":"{name}","redacted_bytes":7}}"#));
        }
        assert_eq!(kept("TERM", "what am I"), r#"{"name":"TERM","redacted_bytes":9}"#);
        for (name, value) in [
            ("LANG", "en_US.UTF-8"),
            ("LC_ALL", "C"),
            ("COLORTERM", "truecolor"),
            ("TERM", "xterm-256color"),
            ("GIT_PROTOCOL", "version=2"),
        ] {
            assert_eq!(kept(name, value), format!(r#"{{"name":"{name}","value":"{value}"}}"#));
        }
    }
}
