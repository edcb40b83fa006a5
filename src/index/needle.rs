//! A text that is searched for: its trigrams find what may have it, and the text itself is then looked for.

use std::collections::BTreeSet;

use super::error::IndexError;

/// The longest text that is searched for, in characters.
const LONGEST: usize = 256;

/// A text to find in another, capitals or not.
#[derive(Clone, Debug)]
pub(crate) struct Needle {
    folded: Vec<char>,
}

impl Needle {
    /// One of the filter `what`; three characters at least, since shorter ones have no trigram.
    pub(crate) fn new(what: &'static str, text: &str) -> Result<Self, IndexError> {
        let folded: Vec<char> = text.chars().map(fold).take(LONGEST + 1).collect();
        match folded.len() {
            0..3 => Err(IndexError::TooShort { what, text: text.to_owned() }),
            length if length > LONGEST => Err(IndexError::TooMuch { what, most: LONGEST }),
            _ => Ok(Self { folded }),
        }
    }

    /// What FTS5 is asked: all of its trigrams, each a string of its syntax.
    pub(crate) fn for_fts(&self) -> String {
        let each: BTreeSet<String> = self.folded.windows(3).map(|three| three.iter().collect()).collect();
        let quoted: Vec<String> = each.iter().map(|three| format!("\"{}\"", three.replace('"', "\"\""))).collect();
        quoted.join(" AND ")
    }

    /// What an array must have all of.
    pub(crate) fn numbers(&self) -> Vec<i32> {
        numbers(self.folded.iter().copied())
    }

    /// Where in a text it is: the offset of its first byte.
    pub(crate) fn find(&self, text: &str) -> Option<usize> {
        let first = self.folded.first()?;
        if text.is_ascii() {
            return self.find_ascii(text.as_bytes());
        }
        text.char_indices()
            .find_map(|(offset, found)| (fold(found) == *first && self.begins(text.get(offset..)?)).then_some(offset))
    }

    /// What nearly all text is, byte by byte.
    fn find_ascii(&self, text: &[u8]) -> Option<usize> {
        let wanted: Vec<u8> = self.folded.iter().map(|found| u8::try_from(*found).ok()).collect::<Option<_>>()?;
        let first = *wanted.first()?;
        let mut from = 0;
        while let Some(rest) = text.get(from..) {
            let place = rest.iter().position(|byte| byte.to_ascii_lowercase() == first)?;
            let here = rest.get(place..place + wanted.len())?;
            if here.eq_ignore_ascii_case(&wanted) {
                return Some(from + place);
            }
            from += place + 1;
        }
        None
    }

    fn begins(&self, text: &str) -> bool {
        let mut found = text.chars();
        self.folded.iter().all(|wanted| found.next().is_some_and(|found| fold(found) == *wanted))
    }

    /// The text around the place where it is, on one line, and at most so many characters.
    pub(crate) fn excerpt(&self, text: &str, width: usize) -> Option<String> {
        let place = self.find(text)?;
        let (before, after) = text.split_at_checked(place)?;
        let lead: Vec<char> = before.chars().rev().take_while(|found| *found != '\n').take(width / 4).collect();
        let length = self.folded.len();
        let rest = after.chars().enumerate().take_while(|(place, found)| *found != '\n' || *place < length);
        let rest = rest.map(|(_, found)| found).take(width.saturating_sub(lead.len()).max(length));
        let line = lead.into_iter().rev().chain(rest);
        let line: String = line.map(|found| if found == '\n' { ' ' } else { found }).collect();
        Some(line.trim().to_owned())
    }
}

/// The numbers of all trigrams in a text.
pub(crate) fn trigrams(text: &str) -> Vec<i32> {
    numbers(text.chars().map(fold))
}

/// Of several texts together, which are apart.
pub(crate) fn trigrams_of_all<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Vec<i32> {
    let all: BTreeSet<i32> = texts.into_iter().flatten().flat_map(trigrams).collect();
    all.into_iter().collect()
}

fn numbers(folded: impl Iterator<Item = char>) -> Vec<i32> {
    let (mut one, mut two, mut found) = (None, None, Vec::new());
    for three in folded {
        if let (Some(one), Some(two)) = (one, two) {
            found.push(number(one, two, three));
        }
        (one, two) = (two, Some(three));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Three of seven bits as they are; of others something of 32 bits, in which two may meet: the text itself is compared besides.
fn number(one: char, two: char, three: char) -> i32 {
    let all = [u32::from(one), u32::from(two), u32::from(three)];
    let number = match all {
        [one, two, three] if one < 128 && two < 128 && three < 128 => (one << 14) | (two << 7) | three,
        _ => all.iter().fold(0x811c_9dc5_u32, |hash, part| (hash ^ part).wrapping_mul(0x0100_0193)) | (1 << 31),
    };
    number.cast_signed()
}

/// One small letter for a capital; what has none, or several, stays what it is.
fn fold(found: char) -> char {
    let mut small = found.to_lowercase();
    match (small.next(), small.next()) {
        (Some(one), None) => one,
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_found_in_capitals_or_not_and_shown_with_what_is_around_it() {
        let needle = Needle::new("--command", "SYSTEMCTL").unwrap();
        assert_eq!(needle.find("sudo systemctl restart"), Some(5));
        assert_eq!(needle.find("sudo system ctl"), None);
        assert_eq!(needle.excerpt("first\nsudo systemctl restart nginx\nlast", 20).unwrap(), "sudo systemctl resta");
        assert_eq!(Needle::new("--output", "äÖß").unwrap().find("x ÄÖß"), Some(2));
    }

    #[test]
    fn what_is_too_short_or_too_long_to_be_found_is_told() {
        let short = Needle::new("--command", "ls").unwrap_err().to_string();
        assert_eq!(short, "--command: \"ls\" is too short to search for; give at least three characters");
        assert!(Needle::new("--command", &"x".repeat(257)).is_err());
    }

    #[test]
    fn a_quote_is_a_character_like_any_other() {
        assert_eq!(Needle::new("--command", "\"a*").unwrap().for_fts(), "\"\"\"a*\"");
    }

    proptest! {
        #[test]
        fn what_is_part_of_a_text_is_found_and_has_no_trigram_that_the_text_has_not(
            before in "[a-cA-C]{0,9}|.{0,20}", part in "[a-cA-C]{3,5}|.{3,20}", after in "[a-cA-C]{0,9}|.{0,20}",
        ) {
            let text = format!("{before}{part}{after}");
            let needle = Needle::new("x", &part).unwrap();
            prop_assert!(needle.find(&text).is_some());
            let all = trigrams(&text);
            prop_assert!(needle.numbers().iter().all(|number| all.contains(number)));
            prop_assert!(needle.excerpt(&text, 10).is_some());
        }
    }
}
