//! Variables that say nothing of anybody: locales, and two words about the terminal, which OpenSSH's clients send along
//! with every command.

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

/// Whether it is a locale or a known word.
pub fn says_nothing(name: &str, value: &str) -> bool {
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

    proptest! {
        #[test]
        fn what_says_nothing_is_short_and_tame(value in "[A-Za-z_.@:; %'$-]{0,80}") {
            if says_nothing("LANG", &value) {
                prop_assert!(value.len() <= LONGEST_LOCALE);
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@:-".contains(&byte)));
            }
        }
    }
}
