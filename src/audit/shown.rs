//! Text of a node's or a person's own, as it may be shown: what a terminal would obey is made visible.

use std::fmt::Write as _;

/// The text on one line, with its control characters visible: `^[`, `^J`, `\u{9b}`; at most so many characters.
pub(super) fn shown_up_to(most: usize, text: &str) -> String {
    let mut shown = String::new();
    let mut room = most;
    for found in text.chars() {
        let before = shown.len();
        match found {
            '\0'..='\x1f' => {
                shown.push('^');
                shown.push(char::from_u32(u32::from(found) + 0x40).unwrap_or('?'));
            }
            '\x7f' => shown.push_str("^?"),
            _ if obeyed(found) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(found));
            }
            _ => shown.push(found),
        }
        let added = shown.get(before..).map_or(0, |added| added.chars().count());
        if added > room {
            shown.truncate(before);
            shown.push('…');
            return shown;
        }
        room -= added;
    }
    shown
}

/// All of it.
pub fn shown(text: &str) -> String {
    shown_up_to(usize::MAX, text)
}

/// C1 controls (ECMA-48), what turns the direction of text (UAX #9), and what is there without being seen.
fn obeyed(found: char) -> bool {
    matches!(found, '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_seen() {
        assert_eq!(shown("a\u{1b}]0;x\u{7}b\r\n"), "a^[]0;x^Gb^M^J");
        assert_eq!(shown("\u{9b}31m\u{202e}\u{7f}ä"), "\\u{9b}31m\\u{202e}^?ä");
        assert_eq!(shown_up_to(3, "abc"), "abc");
        assert_eq!(shown_up_to(3, "abcd"), "abc…");
    }

    proptest! {
        #[test]
        fn whatever_it_is_nothing_is_left_to_obey(text in "[\\x00-\\x7f\u{80}-\u{a0}\u{200b}-\u{2070}ä]{0,40}", most in 1_usize..40) {
            for text in [shown(&text), shown_up_to(most, &text)] {
                prop_assert!(text.chars().all(|found| !found.is_control() && !obeyed(found)));
            }
            prop_assert!(shown_up_to(most, &text).chars().count() <= most + 1);
        }
    }
}
