//! Text from a recording for a person's terminal.

/// Whether a character does something to a terminal or to the order of what it shows, rather than being shown.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // line and paragraph separator; embeddings, overrides and isolates (UAX #9); marks of direction
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
            // shown as nothing at all
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{00ad}' | '\u{180e}'
            // tags, and interlinear annotation
            | '\u{e0000}'..='\u{e007f}' | '\u{fff9}'..='\u{fffb}')
}

/// The text with everything made visible that acts on a terminal: C0 in the caret notation (`^[`), C1 and characters that
/// reorder or hide text (bidirectional overrides, zero-width ones) as `<U+202E>`. A newline and a tab are made visible as well:
/// the result is one line.
///
/// ```
/// assert_eq!(portcullis_terminal::neutral("rm \u{202e}x\u{1b}[2J"), "rm <U+202E>x^[[2J");
/// ```
#[must_use]
pub fn neutral(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        push(character, &mut shown);
    }
    shown
}

/// One character as [`neutral`] shows it.
pub(crate) fn push(character: char, shown: &mut String) {
    match character {
        '\0'..='\x1f' => {
            shown.push('^');
            shown.push(char::from_u32(u32::from(character) + 64).unwrap_or('?'));
        }
        '\x7f' => shown.push_str("^?"),
        _ if acts(character) => shown.push_str(&format!("<U+{:04X}>", u32::from(character))),
        _ => shown.push(character),
    }
}
