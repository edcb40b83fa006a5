//! Text that somebody else wrote (a node, the service, a client), made safe to show to a person or to keep in a log.
//!
//! A terminal obeys control characters: `ESC ]0;…` renames its window, `CR` overwrites the line, C1 codes do as `ESC` does
//! (ECMA-48). None of them is worth showing, so each run of them, like each run of white space, becomes one space.

/// The text as one line without control characters, and without space at its ends.
pub fn plain_text(text: &str) -> String {
    plain_text_up_to(usize::MAX, text)
}

/// The same, cut after so many characters: a sentence quotes, it does not reproduce.
pub fn plain_text_up_to(max_chars: usize, text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut plain = String::new();
    let mut left = max_chars;
    for word in words {
        let space = usize::from(!plain.is_empty());
        let Some(room) = left.checked_sub(space).filter(|&room| room > 0) else { break };
        if space == 1 {
            plain.push(' ');
        }
        let before = plain.len();
        plain.extend(word.chars().take(room));
        left = room - plain.get(before..).map_or(0, |taken| taken.chars().count());
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_becomes_a_space() {
        for (text, expected) in [
            ("as it is", "as it is"),
            ("  two\n lines\r\n", "two lines"),
            ("\u{1b}]0;owned\u{7}text", "]0;owned text"),
            ("a\u{9b}31mb", "a 31mb"),
            ("größer ☃", "größer ☃"),
            ("\0\u{7f}", ""),
        ] {
            assert_eq!(plain_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(plain_text_up_to(4, "äöüß and more"), "äöüß");
        assert_eq!(plain_text_up_to(5, "ab  cd ef"), "ab cd");
        assert_eq!(plain_text_up_to(3, "ab  cd"), "ab");
        assert_eq!(plain_text_up_to(0, "ab"), "");
    }

    proptest! {
        #[test]
        fn whatever_it_is_the_result_is_one_plain_line(text in "\\PC{0,20}|.{0,40}|[\u{0}-\u{9f} ]{0,40}", max in 0_usize..30) {
            let plain = plain_text_up_to(max, &text);
            prop_assert!(!plain.contains(char::is_control) && plain.chars().count() <= max, "{plain:?}");
            prop_assert_eq!(plain_text(&plain), plain);
        }
    }
}
