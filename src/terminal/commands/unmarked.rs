//! Takes a session's own marks out of what its terminal shows: they are for whoever watches, and nobody else has asked for them.

use super::marks::{Nonce, Proof, parse};

/// Output without the marks that carry a nonce. Whatever else it is goes on as it came, other marks as well.
pub struct Unmarked {
    nonce: Nonce,
    /// What may be a mark and is not whole.
    held: Vec<u8>,
}

const START: &[u8] = b"\x1b]133;";

/// A mark of a session's own is shorter.
const LONGEST: usize = 160;

impl std::fmt::Debug for Unmarked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unmarked")
    }
}

impl Unmarked {
    /// Nothing has passed yet.
    #[must_use]
    pub fn new(nonce: Nonce) -> Self {
        Self { nonce, held: Vec::new() }
    }

    /// What of `bytes`, and of what was held back before, may be shown by now.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len() + self.held.len());
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if self.held.is_empty() {
                let plain = rest.iter().position(|&byte| byte == START[0]).unwrap_or(rest.len());
                let (before, from) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
                shown.extend_from_slice(before);
                rest = match from.split_first() {
                    Some((&escape, after)) => {
                        self.held.push(escape);
                        after
                    }
                    None => from,
                };
                continue;
            }
            let place = self.held.len();
            let may_be = match START.get(place) {
                Some(&expected) => byte == expected,
                // its body is text, and ends with BEL, or with ESC and a backslash
                None => place < LONGEST && (byte >= b' ' || byte == 7 || byte == 0x1b),
            };
            let escaped = place >= START.len() && self.held.last() == Some(&0x1b);
            if !may_be || (escaped && byte != b'\\') {
                // the byte that does not belong to it may begin another
                shown.append(&mut self.held);
                continue;
            }
            self.held.push(byte);
            rest = after;
            if place >= START.len() && (byte == 7 || escaped) {
                let body = self.held.get(2..self.held.len() - if escaped { 2 } else { 1 }).unwrap_or_default();
                let ours = parse(body, Some(&self.nonce)).is_some_and(|(_, proof)| proof == Proof::Ours);
                if ours {
                    self.held.clear();
                } else {
                    shown.append(&mut self.held);
                }
            }
        }
        shown
    }

    /// Nothing more comes: what was held back.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &str = "0123456789abcdef0123456789abcdef";

    fn shown(pieces: &[&[u8]]) -> Vec<u8> {
        let mut unmarked = Unmarked::new(Nonce::new(NONCE).unwrap());
        let mut all: Vec<u8> = pieces.iter().flat_map(|piece| unmarked.pass(piece)).collect();
        all.extend(unmarked.rest());
        all
    }

    #[test]
    fn the_session_s_own_marks_are_gone_and_nothing_else_is() {
        let own =
            format!("\x1b]133;D;0;nonce={NONCE}\x07\x1b]133;A;nonce={NONCE}\x1b\\$ \x1b]133;B;nonce={NONCE}\x07ls");
        assert_eq!(shown(&[own.as_bytes()]), b"$ ls");
        for others in [
            "\x1b]133;A\x07$ ",
            "\x1b]133;A;nonce=fedcba9876543210\x07$ ",
            "\x1b]0;title\x07\x1b[31mred\x1b[m \x1b",
            "\x1b]133;A\nno mark\x07",
            "\x1b]133;\x1b]133;C\x1b[m",
            "\x1b]133;\x07$ ",
        ] {
            assert_eq!(shown(&[others.as_bytes()]), others.as_bytes(), "{others:?}");
        }
        let long = format!("\x1b]133;A;{}\x07", "x".repeat(4000));
        assert_eq!(shown(&[long.as_bytes()]), long.as_bytes());
    }

    proptest! {
        #[test]
        fn how_it_is_cut_makes_no_difference(
            parts in proptest::collection::vec(prop_oneof![
                Just(format!("\x1b]133;B;nonce={NONCE}\x07")), Just("\x1b]133;B\x07".to_owned()), Just("\x1b".to_owned()),
                Just("\x1b]13".to_owned()), Just("text\r\n".to_owned()), Just("\x1b\\".to_owned()), Just("\x07".to_owned()),
            ], 0..12),
            size in 1_usize..20,
        ) {
            let all = parts.concat();
            let pieces: Vec<&[u8]> = all.as_bytes().chunks(size).collect();
            prop_assert_eq!(shown(&pieces), shown(&[all.as_bytes()]));
        }
    }
}
