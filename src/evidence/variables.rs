//! The variables of a session, as its record has them: names and values, but for values that are probably secrets.

use super::fields::Fields;

/// What is in the name of a variable whose value is probably a secret. Of such a one only the length is kept: a hash would let
/// whoever has the log try guesses.
const SECRET: [&str; 7] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "KEY"];

/// The longest value that is kept whole; of a longer one the beginning, and how long it was.
const MAX_VALUE: usize = 1024;

/// One variable as it stands in the log.
pub(super) fn variable((name, value): &(String, Vec<u8>)) -> Fields {
    let mut fields = Fields::up_to(MAX_VALUE);
    fields.text("name", name);
    if is_secret(name) {
        fields.value("redacted_bytes", value.len());
    } else {
        fields.text("value", &String::from_utf8_lossy(value));
    }
    fields
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_its_length() {
        let kept = |name: &str| {
            let fields = variable(&(name.to_owned(), b"hunter2".to_vec()));
            fields.into_json().to_string()
        };
        for name in ["LC_API_TOKEN", "my_secret", "LC_Password", "AWS_ACCESS_KEY_ID", "PGPASSWD"] {
            assert_eq!(kept(name), format!(r#"{{"name":"{name}","redacted_bytes":7}}"#));
        }
        for name in ["LANG", "TERM", "GIT_PROTOCOL", "LC_ALL"] {
            assert_eq!(kept(name), format!(r#"{{"name":"{name}","value":"hunter2"}}"#));
        }
    }
}
