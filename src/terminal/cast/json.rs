//! The few bits of JSON that a line of a recording is made of.

use std::time::Duration;

/// Appends `text` as a JSON string. Everything that is not printable ASCII or above U+009F is escaped, so that a file that is
/// shown by `cat` does nothing to a terminal.
pub(super) fn string(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    let mut rest = text;
    while !rest.is_empty() {
        // most of it stands as it is
        let plain = rest.bytes().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        let (before, after) = rest.split_at(plain);
        to.extend_from_slice(before.as_bytes());
        let mut characters = after.chars();
        if let Some(character) = characters.next() {
            escaped(character, to);
        }
        rest = characters.as_str();
    }
    to.push(b'"');
}

/// Printable ASCII that means itself in a JSON string.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escaped(character: char, to: &mut Vec<u8>) {
    match character {
        '"' => to.extend_from_slice(b"\\\""),
        '\\' => to.extend_from_slice(b"\\\\"),
        '\n' => to.extend_from_slice(b"\\n"),
        '\r' => to.extend_from_slice(b"\\r"),
        '\t' => to.extend_from_slice(b"\\t"),
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            to.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        }
        _ => to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends seconds with six places.
pub(super) fn seconds(time: Duration, to: &mut Vec<u8>) {
    to.extend_from_slice(format!("{}.{:06}", time.as_secs(), time.subsec_micros()).as_bytes());
}

/// `[time, "code", "data"]` and a newline.
pub(super) fn event(time: Duration, code: &str, data: &str, to: &mut Vec<u8>) {
    to.push(b'[');
    seconds(time, to);
    to.extend_from_slice(b", ");
    string(code, to);
    to.extend_from_slice(b", ");
    string(data, to);
    to.extend_from_slice(b"]\n");
}
