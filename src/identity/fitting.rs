//! Names that AWS takes, out of names that it may not: as they are where that is possible, and otherwise as much of them as
//! can be read, with a hash that tells apart what looks the same.
//!
//! ```text
//!  ann          ▶ ann
//!  ann-marie    ▶ ann_marie.5f0c3a9be12d47c08a31     where there may be no `-`
//!  x            ▶ x.2d711642b726b04401627            where two characters are the least
//! ```
//!
//! No two names become one: what looks as if it had a hash already gets another.

use sha2::{Digest as _, Sha256};

use crate::model::plain_text_up_to;

/// What a name may be.
pub(super) struct Fitting {
    /// Which characters.
    pub(super) fits: fn(char) -> bool,
    /// How many, at least and at most.
    pub(super) chars: (usize, usize),
}

/// Bytes of a hash that are kept: enough that nobody finds two names for one.
const HASH_BYTES: usize = 10;

/// A dot, and two digits a byte.
const HASH_CHARS: usize = 1 + 2 * HASH_BYTES;

impl Fitting {
    /// The name that stands for this one.
    pub(super) fn of(&self, name: &str) -> String {
        let (least, most) = self.chars;
        let fits = (least..=most).contains(&name.chars().count()) && name.chars().all(self.fits);
        if fits && !has_a_hash(name) {
            return name.to_owned();
        }
        let hash = hex::encode(Sha256::digest(name.as_bytes()).get(..HASH_BYTES).unwrap_or_default());
        let readable = name.chars().take(most - HASH_CHARS).map(|c| if (self.fits)(c) { c } else { '_' });
        format!("{}.{hash}", readable.collect::<String>())
    }
}

fn has_a_hash(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.rsplit_once('.').is_some_and(|(_, end)| end.len() + 1 == HASH_CHARS && end.bytes().all(is_digit))
}

/// A name for evidence, in which it need not fit.
pub(super) fn as_written(name: &str) -> String {
    plain_text_up_to(256, name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Fitting = Fitting { fits: |c| c.is_ascii_lowercase() || c == '.', chars: (2, 30) };

    #[test]
    fn what_fits_stays_and_what_looks_like_another_s_does_not() {
        assert_eq!(SMALL.of("ann"), "ann");
        for odd in ["a", "ann marie", "Ann", "", &"x".repeat(31)] {
            let name = SMALL.of(odd);
            assert!(has_a_hash(&name) && (2..=30).contains(&name.len()), "{name}");
            // the digits are none of its own alphabet, so that is not what this is about
            let again = Fitting { fits: |c| c.is_ascii_alphanumeric() || c == '.', chars: (2, 64) }.of(&name);
            assert_ne!(again, name, "somebody who is really called so");
        }
    }

    proptest! {
        #[test]
        fn no_two_become_one(one in "\\PC{0,40}|[ab.]{0,4}", other in "\\PC{0,40}|[ab.]{0,4}") {
            prop_assert_eq!(SMALL.of(&one) == SMALL.of(&other), one == other);
        }
    }
}
