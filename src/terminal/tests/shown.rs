//! What goes to a person's own terminal.

use crate::{Sanitizer, neutral, sanitize_for_replay};
use proptest::prelude::*;

#[test]
fn what_draws_is_passed_on() {
    let draws = b"\x1b[1;31mred\x1b[m\x1b[2J\x1b[3;4H\x1b[K\x1b[?1049h\x1b[?25l\x1b7\x1b8\r\n\t\x1b(0lqk\x1b(B";
    assert_eq!(sanitize_for_replay(draws), draws);
}

#[test]
fn what_acts_on_a_terminal_is_not() {
    for acts in [
        "\x1b]0;title\x07",
        "\x1b]52;c;aGk=\x1b\\",
        "\x1b]8;;http://x\x1b\\",
        "\x1b]9;note\x07",
        "\x1bP$qm\x1b\\",
        "\x1b_G\x1b\\",
        "\x1b[c",
        "\x1b[>c",
        "\x1b[6n",
        "\x1b[5n",
        "\x1b[18t",
        "\x1b[?2004h",
        "\x1b[?1000h",
        "\x1b[?1h",
        "\x1b=",
        "\x1bc",
        "\x1b[3J",
        "\x1b[?1004h",
        "\x1b[>4;2m",
        "\x1b[?u",
        "\x1b[!p",
        "\x05",
        "\x07",
        "\x1b[?6n",
        "\u{9b}6n",
        "\u{9d}52;c;aGk=\u{9c}",
        "\x1b[?5h",
        "\x1b[?1;2004h",
        "\x1b[x",
        "\x1bZ",
        "\x1b[4i",
        "\x1b#8",
    ] {
        assert_eq!(sanitize_for_replay(acts.as_bytes()), b"", "{acts:?}");
    }
}

#[test]
fn a_string_that_never_ends_shows_nothing_and_takes_no_memory() {
    let mut sanitizer = Sanitizer::new();
    let mut to = Vec::new();
    sanitizer.pass(b"\x1b]52;c;", &mut to);
    for _ in 0..1000 {
        sanitizer.pass(&[b'A'; 1000], &mut to);
    }
    assert!(to.is_empty());
    sanitizer.pass(b"\x07seen", &mut to);
    assert_eq!(to, b"seen");
}

#[test]
fn text_is_neutral() {
    assert_eq!(
        neutral("a\x1b]52;c;x\x07b\u{9b}2J\u{202e}c\n\u{200b}é漢"),
        "a^[]52;c;x^Gb<U+009B>2J<U+202E>c^J<U+200B>é漢"
    );
}

proptest! {
    #[test]
    fn nothing_neutral_acts(text in any::<String>()) {
        let shown = neutral(&text);
        prop_assert!(!shown.chars().any(char::is_control));
        prop_assert_eq!(neutral(&shown), shown);
    }

    #[test]
    fn what_was_sanitized_stays_the_same_and_does_not_depend_on_cuts(
        pieces in proptest::collection::vec(prop_oneof![
            Just(b"\x1b[".to_vec()), Just(b"\x1b]".to_vec()), Just(b"\x1bP".to_vec()), Just(b"\x1b\\".to_vec()), Just("\u{9b}".as_bytes().to_vec()),
            Just(b"?1049".to_vec()), Just(b"6n".to_vec()), Just(b"h".to_vec()), Just(b"52;c;".to_vec()), proptest::collection::vec(any::<u8>(), 0..6),
        ], 0..40)
    ) {
        let whole = sanitize_for_replay(&pieces.concat());
        let mut sanitizer = Sanitizer::new();
        let mut cut = Vec::new();
        for piece in &pieces {
            for byte in piece {
                sanitizer.pass(&[*byte], &mut cut);
            }
        }
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(&sanitize_for_replay(&whole), &whole);
        for bad in [&b"\x1b]"[..], b"\x1bP", b"\x1b_", b"\x1b^", b"\x1bX", b"\x1bc", b"\x1bZ"] {
            prop_assert!(!whole.windows(2).any(|two| two == bad));
        }
    }
}
