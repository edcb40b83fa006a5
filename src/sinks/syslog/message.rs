//! A message (RFC 5424, section 6) and its frame (RFC 5425, section 4.3).

use time::OffsetDateTime;

use crate::logs::pieces;
use crate::spool::SessionName;

/// Structured data of our own needs an enterprise's number (RFC 5424, section 7.2.2); this one is everybody's for examples
/// (RFC 5612), since the project has none.
const SD_ID: &str = "portcullis@32473";

/// What a gateway's messages have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// 0 to 23.
    pub facility: u8,
    /// 0 to 7.
    pub severity: u8,
    /// The gateway's name.
    pub hostname: String,
}

/// The value of a parameter: `"`, `\` and `]` escaped by a `\` (RFC 5424, section 6.3.3); control characters, of which it says that they
/// may be changed, are spaces.
pub(crate) fn param_value(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A field of the header: printable ASCII, bounded, and `-` where nothing is left.
fn field(value: &str, longest: usize) -> String {
    let safe: String = value.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(longest).collect();
    if safe.is_empty() { "-".to_owned() } else { safe }
}

/// RFC 5425: the length in bytes, a space, the message.
pub(crate) fn frame(message: &str) -> Vec<u8> {
    let mut frame = format!("{} ", message.len()).into_bytes();
    frame.extend(message.as_bytes());
    frame
}

impl Header {
    fn before_data(&self, time: OffsetDateTime, id: &str) -> String {
        let priority = u16::from(self.facility) * 8 + u16::from(self.severity);
        let utc = time.to_offset(time::UtcOffset::UTC);
        let (hour, minute, second, milli) = (utc.hour(), utc.minute(), utc.second(), utc.millisecond());
        let day = portcullis_folder::day_of(utc);
        let host = field(&self.hostname, 255);
        let id = field(id, 32);
        format!("<{priority}>1 {day}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z {host} portcullis - {id} ")
    }
}

/// A text as messages, each of at most so many bytes. One that doesn't fit becomes several, with `part="2/3"`.
pub(crate) fn messages(
    header: &Header,
    time: OffsetDateTime,
    id: &str,
    of: Option<&SessionName>,
    text: &str,
    longest: usize,
) -> Vec<String> {
    let mut data = format!("[{SD_ID}");
    if let Some(of) = of {
        // who and where are bounded, so that there is always room for some of the text
        let cut = |value: &str| param_value(&crate::names::one_line(value, 128));
        let (person, node) = (cut(&of.person), cut(&of.node));
        let session = of.session.hyphenated();
        data.push_str(&format!(" session=\"{session}\" person=\"{person}\" node=\"{node}\""));
    }
    data.push_str(&format!(" event=\"{}\"", param_value(&crate::names::one_line(id, 64))));
    let head = header.before_data(time, id) + &data;
    // `MSG` that is UTF-8 beyond ASCII begins with a byte order mark (section 6.4)
    let mark = if text.is_ascii() { "" } else { "\u{feff}" };
    let room = longest.saturating_sub(head.len() + "] ".len() + mark.len());
    if text.len() <= room {
        return vec![format!("{head}] {mark}{text}")];
    }
    let parts = pieces(text, room.saturating_sub(r#" part="99999/99999""#.len()).max(64));
    let all = parts.len();
    let numbered = parts.into_iter().zip(1..);
    numbered.map(|(piece, n)| format!("{head} part=\"{n}/{all}\"] {mark}{piece}")).collect()
}

/// A note as the text of a message: JSON on one line and in ASCII, since servers change newlines, and verification needs each byte.
pub(crate) fn anchor_text(note: &str) -> String {
    let json = serde_json::json!({ "note": note }).to_string();
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn header() -> Header {
        Header { facility: 13, severity: 6, hostname: "gate 1".to_owned() }
    }

    fn of(person: &str, node: &str) -> SessionName {
        SessionName { session: Uuid::nil(), person: person.to_owned(), node: node.to_owned() }
    }

    const TIME: OffsetDateTime = time::macros::datetime!(2026-11-30 07:12:33.123 UTC);

    #[test]
    fn a_message_is_as_rfc_5424_has_it() {
        let all = messages(&header(), TIME, "session.opened", Some(&of(r#"a"b]c\d"#, "i-1")), "{}", 8192);
        assert_eq!(
            all,
            [concat!(
                "<110>1 2026-11-30T07:12:33.123Z gate_1 portcullis - session.opened [portcullis@32473 ",
                r#"session="00000000-0000-0000-0000-000000000000" person="a\"b\]c\\d" node="i-1" event="session.opened"] {}"#
            )]
        );
        assert_eq!(frame("<1>é"), "5 <1>é".as_bytes());
        assert_eq!(anchor_text("a\n— k 𝄞"), r#"{"note":"a\n\u2014 k \ud834\udd1e"}"#);
    }

    /// A reader of the standard's grammar: the parameters, and what follows them.
    fn read(message: &str) -> Option<(Vec<(String, String)>, &str)> {
        let mut rest = message.split_once(&format!(" [{SD_ID}"))?.1;
        let mut params = Vec::new();
        while let Some(more) = rest.strip_prefix(' ') {
            let (name, mut more) = more.split_once("=\"")?;
            let mut value = String::new();
            loop {
                let mut chars = more.chars();
                match chars.next()? {
                    '"' => {
                        rest = chars.as_str();
                        break;
                    }
                    ']' => return None,
                    '\\' => value.push(chars.next().filter(|c| "\"\\]".contains(*c))?),
                    c => value.push(c),
                }
                more = chars.as_str();
            }
            params.push((name.to_owned(), value));
        }
        Some((params, rest.strip_prefix("] ")?))
    }

    proptest! {
        #[test]
        fn whatever_a_person_is_called_a_reader_of_the_grammar_reads_that(person in any::<String>(), node in any::<String>(), id in any::<String>()) {
            let all = messages(&header(), TIME, &id, Some(&of(&person, &node)), "text", 2048);
            let (params, text) = read(&all[0]).unwrap();
            let shown = |value: &str| value.chars().take(128).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
            prop_assert_eq!(&params[1], &("person".to_owned(), shown(&person)));
            prop_assert_eq!(&params[2], &("node".to_owned(), shown(&node)));
            prop_assert_eq!(text, "text");
            // the header is six fields without a space or a control character in them
            let head = all[0].split(&format!(" [{SD_ID}")).next().unwrap();
            prop_assert_eq!(head.split(' ').count(), 6);
            prop_assert!(head.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
        }

        #[test]
        fn a_text_in_parts_is_within_the_bound_and_whole_again(text in ".{0,9000}", person in ".{0,300}") {
            let all = messages(&header(), TIME, "x", Some(&of(&person, "i-1")), &text, 4096);
            prop_assert!(all.iter().all(|message| message.len() <= 4096));
            let piece = |message: &String| {
                let piece = read(message).unwrap().1.to_owned();
                if text.is_ascii() { piece } else { piece.strip_prefix('\u{feff}').unwrap().to_owned() }
            };
            prop_assert_eq!(all.iter().map(piece).collect::<String>(), text);
        }
    }
}
