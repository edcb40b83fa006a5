//! How the agent splits a command line that it runs without a shell.
//!
//! It looks like `sh` and is not:
//!
//! ```text
//!   space, tab, CR, LF   separate words; ; | & $ * < > and backquotes are ordinary characters
//!   '…'                  literal up to the next '
//!   "…"                  a backslash makes any character literal and disappears
//!   \c                   c itself, a newline included
//!   #                    at the start of a word: a comment up to the end of the line
//! ```

/// The line ends inside something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    /// A backslash is the last character.
    #[error("EOF found after escape character")]
    Escape,
    /// A quotation is not closed.
    #[error("EOF found when expecting closing quote")]
    Quote,
}

/// The words of a command line.
pub(super) fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut state = State::Between;
    let mut word = String::new();
    for character in line.chars() {
        state = match (state, character) {
            (State::Between, ' ' | '\t' | '\r' | '\n') | (State::Comment, '\n') => State::Between,
            (State::Between, '#') | (State::Comment, _) => State::Comment,
            (State::Between | State::Word, '"') => State::Double,
            (State::Between | State::Word, '\'') => State::Single,
            (State::Between | State::Word, '\\') => State::Escaped,
            (State::Word, ' ' | '\t' | '\r' | '\n') => {
                words.push(std::mem::take(&mut word));
                State::Between
            }
            (State::Double, '\\') => State::DoubleEscaped,
            (State::Double, '"') | (State::Single, '\'') => State::Word,
            (State::Between | State::Word | State::Escaped, _) => {
                word.push(character);
                State::Word
            }
            (State::Double | State::DoubleEscaped, _) => {
                word.push(character);
                State::Double
            }
            (State::Single, _) => {
                word.push(character);
                State::Single
            }
        };
    }
    match state {
        State::Between | State::Comment => {}
        State::Word => words.push(word),
        State::Escaped | State::DoubleEscaped => return Err(SplitError::Escape),
        State::Single | State::Double => return Err(SplitError::Quote),
    }
    Ok(words)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a word.
    Between,
    /// In a comment.
    Comment,
    /// In a word, outside quotation marks.
    Word,
    /// After a backslash in a word.
    Escaped,
    /// Within `"…"`.
    Double,
    /// After a backslash within `"…"`.
    DoubleEscaped,
    /// Within `'…'`.
    Single,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_the_agent_splits() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t\r\n ", &[]),
            ("echo one  two", &["echo", "one", "two"]),
            ("a\nb\rc", &["a", "b", "c"]),
            (r#"'a "b" \n' c"#, &[r#"a "b" \n"#, "c"]),
            ("'two\nlines'", &["two\nlines"]),
            (r#""\n\$\"\\ x""#, &[r#"n$"\ x"#]),
            (r"a\ b \'", &["a b", "'"]),
            ("a\\\nb", &["a\nb"]),
            (r#"a"b c"'d e'f\ g"#, &["ab cd ef g"]),
            (r#"'' """#, &["", ""]),
            ("a#b # the rest\nc", &["a#b", "c"]),
            ("# only a comment", &[]),
            ("'#' \\# a\\#", &["#", "#", "a#"]),
            ("a; b|c & $d *~ <e> `f`", &["a;", "b|c", "&", "$d", "*~", "<e>", "`f`"]),
            ("\u{a0}x\u{b}y\u{c}", &["\u{a0}x\u{b}y\u{c}"]),
            ("sh -c 'it'\\''s'", &["sh", "-c", "it's"]),
        ];
        for (line, words) in table {
            assert_eq!(
                split(line).as_deref(),
                Ok(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>().as_slice()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn unfinished() {
        assert_eq!(split("a 'b"), Err(SplitError::Quote));
        assert_eq!(split("a \"b"), Err(SplitError::Quote));
        assert_eq!(split("a \"b\\"), Err(SplitError::Escape));
        assert_eq!(split("a\\"), Err(SplitError::Escape));
    }

    proptest! {
        /// The one safe way to write a word.
        #[test]
        fn single_quotes_carry_anything(words in proptest::collection::vec(any::<String>(), 0..6)) {
            let line = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line), Ok(words));
        }

        #[test]
        fn never_panics(line: String) {
            let _ = split(&line);
        }
    }
}
