//! Text without a terminal's control sequences, as the agent sends it to CloudWatch Logs.

/// Without escape sequences (ECMA-48: CSI, OSC and the other strings, and those of two characters) and without control characters other
/// than newline, carriage return and tab. A sequence that doesn't end takes the rest of the line with it and no more.
pub fn strip(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    skip_csi(&mut chars);
                }
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    chars.next();
                    skip_string(&mut chars);
                }
                // intermediate characters, then one that ends it
                Some(' '..='/') => {
                    while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
                    chars.next_if(|c| ('0'..='~').contains(c));
                }
                Some('0'..='~') => {
                    chars.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_csi(&mut chars),
            '\n' | '\r' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_csi(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_titles_and_charsets_are_gone_and_words_stay() {
        assert_eq!(strip("\u{1b}[1;31mred\u{1b}[0m\r\n"), "red\r\n");
        assert_eq!(strip("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b"), "ab");
        assert_eq!(strip("\u{1b}(Bx\u{1b}=y\u{8}\u{0}z"), "xyz");
        assert_eq!(strip("\u{1b}]0;never ends\nnext"), "\nnext");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_left(text in any::<String>(), escapes in "(\u{1b}[\\[\\]P(]?[0-9;]{0,3}[a-zA-Z\u{7}]?.?){0,10}") {
            let plain = strip(&(text + &escapes));
            prop_assert!(plain.chars().all(|c| !c.is_control() || "\n\r\t".contains(c)));
        }

        #[test]
        fn text_without_any_stays(text in "[a-zA-Zé漢 \n\t]{0,80}") {
            prop_assert_eq!(strip(&text), text);
        }
    }
}
