//! Names that others choose, as parts of keys and streams: escaped so that they stay one part, and bounded.

use aws_lc_rs::digest::{SHA256, digest};

/// A name as one part of an object's key: letters, digits, `-`, `_`, `.`, `@`, `+` and `=` stay, every other byte is `%XX`; a part
/// that is empty or of dots only, which some clients read as folders, is escaped as well. At most `longest` bytes: what is cut
/// off is replaced by `~` and 16 hex digits of the name's SHA-256, so that two names stay two.
pub fn part(name: &str, longest: usize) -> String {
    if name.is_empty() {
        return "%00".to_owned();
    }
    let dots = name.bytes().all(|byte| byte == b'.');
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'.' if dots => safe.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'@' | b'+' | b'=' => {
                safe.push(char::from(byte));
            }
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
        // what goes beyond is never read; a name of megabytes is not escaped whole
        if safe.len() > longest {
            break;
        }
    }
    if safe.len() <= longest {
        return safe;
    }
    let hash = hex::encode(digest(&SHA256, name.as_bytes()));
    let tail = hash.get(..16).unwrap_or_default();
    safe.truncate(longest.saturating_sub(17));
    // no half of an escape is left
    if let Some(at) = safe.rfind('%')
        && safe.len() - at < 3
    {
        safe.truncate(at);
    }
    format!("{safe}~{tail}")
}

/// A prefix of keys: without slashes at its ends, and with one between it and what follows.
pub fn under(prefix: &str, rest: &str) -> String {
    match prefix.trim_matches('/') {
        "" => rest.to_owned(),
        prefix => format!("{prefix}/{rest}"),
    }
}

/// The name of a session's stream: the session's number and who. At most 512 bytes, without `:` and `*`
/// (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogStream.html>).
pub fn stream(session: uuid::Uuid, person: &str) -> String {
    format!("{}/{}", session.hyphenated(), part(person, 200))
}

/// The name of the stream of a gateway's anchors.
pub fn anchor_stream(gateway: &str) -> String {
    format!("anchors/{}", part(gateway, 200))
}

/// Words of others in a sentence: without control characters, and at most so many characters of them.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_stay_one_part_and_dots_are_no_folders() {
        assert_eq!(part("i-0123", 100), "i-0123");
        assert_eq!(part("../../etc", 100), "..%2F..%2Fetc");
        assert_eq!(part("..", 100), "%2E%2E");
        assert_eq!(part("", 100), "%00");
        assert_eq!(part("ecs:a_b:*", 100), "ecs%3Aa_b%3A%2A");
        assert_eq!(under("/a/b/", "c"), "a/b/c");
        assert_eq!(under("", "c"), "c");
        assert_ne!(part(&"a".repeat(300), 100), part(&"a".repeat(301), 100));
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_its_part_is_bounded_and_has_no_forbidden_character(name in any::<String>(), longest in 20_usize..120) {
            let part = part(&name, longest);
            prop_assert!(!part.is_empty() && part.len() <= longest);
            prop_assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@+=%~".contains(&b)), "{}", part);
            prop_assert!(part != "." && part != "..");
        }

        #[test]
        fn two_names_are_two_parts(one in ".{0,60}", other in ".{0,60}") {
            prop_assume!(one != other && one != "\0" && other != "\0");
            prop_assert_ne!(part(&one, 64), part(&other, 64));
        }
    }
}
