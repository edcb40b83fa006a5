//! The client's variables, and which way each goes. What stands in a process's arguments can be read by every user of a
//! node, so they go over the in lane, and the command waits for them. Only what says nothing of anybody goes the quick way,
//! in the options: a locale, and two words about the terminal, which OpenSSH's clients send along with every command.

use bytes::{BufMut, Bytes, BytesMut};

/// The variables of POSIX, glibc and gettext that name a locale.
const LOCALE: &[&str] = &[
    "LANG",
    "LANGUAGE",
    "LC_ADDRESS",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
];

/// What else Debian's `ssh_config` sends, with all the values that mean something.
const TERMINAL: &[(&str, &[&str])] = &[("COLORTERM", &["truecolor", "24bit"]), ("NO_COLOR", &["", "1", "true"])];

/// Longer than the value of any locale that is one; a list of languages has several.
const LONGEST_LOCALE: usize = 64;

/// The variables of one channel by their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ByWay {
    /// In the options.
    pub quick: Vec<(String, String)>,
    /// Over the lane: `name=value`, each with a NUL behind it.
    pub over_lane: Option<Bytes>,
}

/// Which way each of them goes.
pub(super) fn by_way(env: &[(String, Vec<u8>)]) -> ByWay {
    let mut quick = Vec::new();
    let mut over_lane = BytesMut::new();
    for (name, value) in env {
        match std::str::from_utf8(value) {
            Ok(text) if says_nothing(name, text) => quick.push((name.clone(), text.to_owned())),
            _ => {
                over_lane.put_slice(name.as_bytes());
                over_lane.put_u8(b'=');
                over_lane.put_slice(value);
                over_lane.put_u8(0);
            }
        }
    }
    ByWay { quick, over_lane: (!over_lane.is_empty()).then(|| over_lane.freeze()) }
}

/// Whether it is a locale or a known word.
fn says_nothing(name: &str, value: &str) -> bool {
    let of_terminal = TERMINAL.iter().any(|(known, values)| *known == name && values.contains(&value));
    let of_locale = LOCALE.contains(&name)
        && value.len() <= LONGEST_LOCALE
        // LANGUAGE is a list
        && (value.is_empty() || value.split(':').all(is_locale));
    of_terminal || of_locale
}

/// `language[_TERRITORY][.charset][@modifier]`, as setlocale(3) has it, with languages and territories of the length that
/// ISO 639 and 3166 give them.
fn is_locale(text: &str) -> bool {
    let (text, modifier) = text.split_once('@').map_or((text, None), |(text, modifier)| (text, Some(modifier)));
    let (text, charset) = text.split_once('.').map_or((text, None), |(text, charset)| (text, Some(charset)));
    let (language, territory) = text.split_once('_').map_or((text, None), |(text, territory)| (text, Some(territory)));
    let short = |text: &str, tame: fn(char) -> bool| (1..=12).contains(&text.len()) && text.chars().all(tame);
    (matches!(language, "C" | "POSIX")
        || (matches!(language.len(), 2 | 3) && language.bytes().all(|byte| byte.is_ascii_lowercase())))
        && territory
            .is_none_or(|text| matches!(text.len(), 2 | 3) && text.bytes().all(|byte| byte.is_ascii_uppercase()))
        && charset.is_none_or(|text| short(text, |c| c.is_ascii_alphanumeric() || c == '-'))
        && modifier.is_none_or(|text| short(text, |c| c.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ways(name: &str, value: &[u8]) -> ByWay {
        by_way(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_locale_goes_the_quick_way() {
        for (name, value) in [
            ("LANG", "en_US.UTF-8"),
            ("LC_ALL", "C"),
            ("LC_CTYPE", "C.UTF-8"),
            ("LC_TIME", "de_AT@euro"),
            ("LANGUAGE", "en_GB:en"),
            ("LC_ALL", ""),
            ("LANG", "POSIX"),
            ("COLORTERM", "truecolor"),
            ("NO_COLOR", "1"),
        ] {
            let quick = ByWay { quick: vec![(name.to_owned(), value.to_owned())], over_lane: None };
            assert_eq!(ways(name, value.as_bytes()), quick, "{name}={value}");
        }
    }

    #[test]
    fn whatever_may_be_somebody_s_goes_over_the_lane() {
        for (name, value) in [
            ("LC_ALL", &b"hunter2"[..]),
            ("LC_TOKEN", b"C"),
            ("LANG", b"en_US.UTF-8 "),
            ("LANG", b"en_US.0123456789abcdef"),
            ("LANG", b"\xff"),
            ("COLORTERM", b"secret"),
            ("GIT_PROTOCOL", b"version=2"),
        ] {
            let over_lane = [name.as_bytes(), b"=", value, b"\0"].concat();
            assert_eq!(ways(name, value), ByWay { quick: vec![], over_lane: Some(over_lane.into()) }, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_the_quick_way_is_short_and_tame(value in "[A-Za-z_.@:; %'$-]{0,80}") {
            if says_nothing("LANG", &value) {
                prop_assert!(value.len() <= LONGEST_LOCALE);
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@:-".contains(&byte)));
            }
        }
    }
}
