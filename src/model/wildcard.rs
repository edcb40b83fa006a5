//! The walk behind every pattern in which a part may stand for anything, whatever its other parts stand for.

/// Whether a pattern stands for all of a text: parts that are `many` for any run of it, also none, and each other one for the one
/// letter that it `takes`. Only the last of the former is ever tried again, so the time is at most one length times the other.
pub fn fits<P, T>(pattern: &[P], text: &[T], many: impl Fn(&P) -> bool, takes: impl Fn(&P, &T) -> bool) -> bool {
    let (mut part, mut letter) = (0, 0);
    // behind the last that stands for many, and where the text that it stands for ends, as far as was tried
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(part), text.get(letter)) {
            (None, None) => return true,
            (Some(wanted), _) if many(wanted) => {
                part += 1;
                retry = Some((part, letter));
            }
            (Some(wanted), Some(found)) if takes(wanted, found) => (part, letter) = (part + 1, letter + 1),
            _ => match retry {
                Some((behind, end)) if end < text.len() => {
                    retry = Some((behind, end + 1));
                    (part, letter) = (behind, end + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn fits(pattern: &[u8], text: &[u8]) -> bool {
        super::fits(pattern, text, |&part| part == b'*', |&part, letter| part == b'?' || part == *letter)
    }

    /// The same by its definition, which takes for ever where there are many.
    fn stands_for(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', behind @ ..], _) => (0..=text.len()).any(|end| stands_for(behind, &text[end..])),
            ([part, behind @ ..], [letter, rest @ ..]) => (*part == b'?' || part == letter) && stands_for(behind, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_is_what_its_definition_says(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits(pattern, text), stands_for(pattern, text));
        }
    }

    #[test]
    fn many_stars_are_not_slow() {
        assert!(!fits("*a".repeat(2000).as_bytes(), "a".repeat(1999).as_bytes()));
    }
}
