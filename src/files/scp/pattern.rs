//! Patterns for names: `*`, `?`, `[a-z]`, `[!x]`, `[[:alpha:]]` (POSIX, XCU, section 2.13), on bytes.

use crate::model::wildcard;

/// One component of a pattern.
pub(super) struct Pattern {
    items: Vec<Item>,
}

enum Item {
    Byte(u8),
    Any,
    Many,
    /// One byte in (or, negated, outside) these ranges.
    Set {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

/// The longest component that is taken for a pattern: every byte of the longest name as a class with a range.
const LONGEST: usize = 4096;

impl Pattern {
    /// Whether anything in it can be a pattern; a word that nothing matches stays as it is in any case.
    pub(super) fn is_one(bytes: &[u8], quoted: &[bool]) -> bool {
        bytes.iter().zip(quoted).any(|(byte, &quoted)| !quoted && b"*?[".contains(byte))
    }

    /// Whether it is longer than anybody means; to read it would take long.
    pub(super) fn is_too_long(bytes: &[u8]) -> bool {
        bytes.len() > LONGEST
    }

    pub(super) fn new(bytes: &[u8], quoted: &[bool]) -> Self {
        let mut items = Vec::new();
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            index += 1;
            match byte {
                _ if quoted[index - 1] => items.push(Item::Byte(byte)),
                b'*' => items.push(Item::Many),
                b'?' => items.push(Item::Any),
                b'[' => match set(&bytes[index..], &quoted[index..]) {
                    Some((set, length)) => {
                        items.push(set);
                        index += length;
                    }
                    None => items.push(Item::Byte(byte)),
                },
                _ => items.push(Item::Byte(byte)),
            }
        }
        Self { items }
    }

    fn starts_with_dot(&self) -> bool {
        matches!(self.items.first(), Some(Item::Byte(b'.')))
    }

    /// Whether it stands for this name: the whole of it, and a dot at its beginning only by a dot.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        (name.first() != Some(&b'.') || self.starts_with_dot()) && self.fits(name)
    }

    /// Whether the whole name fits.
    fn fits(&self, name: &[u8]) -> bool {
        wildcard::fits(&self.items, name, |item| matches!(item, Item::Many), |item, &byte| item.takes(byte))
    }
}

impl Item {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(wanted) => *wanted == byte,
            Self::Any | Self::Many => true,
            Self::Set { negated, ranges } => ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) != *negated,
        }
    }
}

/// A bracket expression, after its `[`, and how many bytes it takes; `None` if it is never closed (POSIX, XBD, section
/// 9.3.5). What was quoted in it is a byte and nothing else.
fn set(bytes: &[u8], quoted: &[bool]) -> Option<(Item, usize)> {
    let plain = |index: usize| bytes.get(index).copied().filter(|_| !quoted[index]);
    let negated = matches!(plain(0), Some(b'!' | b'^'));
    let first = usize::from(negated);
    let mut index = first;
    let mut ranges = Vec::new();
    loop {
        // a `]` that comes first is one of the set
        if plain(index) == Some(b']') && index > first {
            return Some((Item::Set { negated, ranges }, index + 1));
        }
        if plain(index) == Some(b'[')
            && plain(index + 1) == Some(b':')
            && let Some((name, length)) = named(&bytes[index..], b':')
        {
            ranges.extend(class(name)?);
            index += length;
            continue;
        }
        let (low, length) = element(bytes, quoted, index)?;
        index += length;
        match plain(index) {
            Some(b'-') if bytes.get(index + 1).is_some_and(|&high| high != b']' || quoted[index + 1]) => {
                let (high, length) = element(bytes, quoted, index + 1)?;
                ranges.push((low, high));
                index += 1 + length;
            }
            _ => ranges.push((low, low)),
        }
    }
}

/// One byte of a bracket expression: itself, `[.x.]` or `[=x=]`.
fn element(bytes: &[u8], quoted: &[bool], index: usize) -> Option<(u8, usize)> {
    let byte = *bytes.get(index)?;
    if byte == b'['
        && !quoted[index]
        && let Some(kind @ (b'.' | b'=')) = bytes.get(index + 1).copied()
        && let Some(([one], length)) = named(&bytes[index..], kind)
    {
        return Some((*one, length));
    }
    Some((byte, 1))
}

/// The text in `[:…:]`, `[.….]` or `[=…=]`, and how much all of it takes. Looked for no further than a name goes: who
/// writes nothing but beginnings must not have each searched to the word's end.
fn named(bytes: &[u8], kind: u8) -> Option<(&[u8], usize)> {
    let near = bytes.get(2..bytes.len().min(2 + LONGEST_CLASS + 2))?;
    let end = near.windows(2).position(|two| two == [kind, b']'])?;
    Some((&near[..end], end + 4))
}

/// `xdigit`
const LONGEST_CLASS: usize = 6;

/// A character class, in the POSIX locale: what a command that `ssh` starts on a node has, unless it is told another.
fn class(name: &[u8]) -> Option<&'static [(u8, u8)]> {
    Some(match name {
        b"alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        b"alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        b"blank" => &[(b' ', b' '), (b'\t', b'\t')],
        b"cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
        b"digit" => &[(b'0', b'9')],
        b"graph" => &[(b'!', b'~')],
        b"lower" => &[(b'a', b'z')],
        b"print" => &[(b' ', b'~')],
        b"punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        b"space" => &[(b'\t', b'\r'), (b' ', b' ')],
        b"upper" => &[(b'A', b'Z')],
        b"xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        // bash's own
        b"ascii" => &[(0, 0x7f)],
        b"word" => &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.as_bytes(), &vec![false; pattern.len()]).matches(name.as_bytes())
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "x"),
            ("*.txt", "a.b.txt"),
            ("a*b*c", "a-b-b-c"),
            ("?[0-9]", "x7"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("a[", "a["),
            ("[[:alpha:]][[:digit:]_]", "x_"),
            ("[![:upper:]]*", "xY"),
            ("[[.a.]-[.c.]]", "b"),
            ("[[=a=]x]", "a"),
            ("[a]-]", "a-]"),
            ("[]-a]", "^"),
            (".*", ".x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.txt", "a.txtx"),
            ("?", ""),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("a*b", "acbc"),
            ("", "x"),
            ("*", ".x"),
            ("[.]x", ".x"),
            ("?x", ".x"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn quoted_characters_are_not_special() {
        let pattern = Pattern::new(b"*", &[true]);
        assert!(pattern.matches(b"*") && !pattern.matches(b"x"));
    }

    proptest! {
        #[test]
        fn any_pattern_has_an_answer(pattern: Vec<u8>, quoted: Vec<bool>, name: Vec<u8>) {
            let mut quoted = quoted;
            quoted.resize(pattern.len(), false);
            let _ = Pattern::new(&pattern, &quoted).matches(&name);
        }

        #[test]
        fn a_quoted_name_matches_itself_alone(name: Vec<u8>, other: Vec<u8>) {
            let pattern = Pattern::new(&name, &vec![true; name.len()]);
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.matches(&other), name == other);
        }
    }

    #[test]
    fn many_stars_are_not_slow() {
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)));
        assert!(!matches(&format!("{}b", "*a".repeat(50)), &"a".repeat(10_000)));
    }

    #[test]
    fn a_class_is_looked_for_no_further_than_its_name_goes() {
        for (kind, byte) in [("[:", b':'), ("[.", b'.'), ("[=", b'=')] {
            let text = kind.repeat(2000);
            assert!(named(text.as_bytes(), byte).is_none_or(|(name, _)| name.len() <= LONGEST_CLASS), "{kind}");
            assert!(matches(&text, &text), "without an end they are letters");
        }
    }
}
