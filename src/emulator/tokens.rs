//! The tokens that open a websocket: the answer to a call on the API, said first on the socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::http::keys::same;

/// A retry may come with one of the last few.
const KEPT: usize = 4;

/// The last few tokens of one socket: a retry may come with an older one.
#[derive(Default)]
pub(crate) struct Tokens(VecDeque<(zeroize::Zeroizing<String>, Instant)>);

impl Tokens {
    pub(crate) fn issue(&mut self, lifetime: Duration) -> String {
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((zeroize::Zeroizing::new(token.clone()), Instant::now() + lifetime));
        token
    }

    pub(crate) fn check(&self, token: &str) -> bool {
        let now = Instant::now();
        self.0.iter().fold(false, |found, (known, until)| found | (same(known, token) && *until > now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_four_tokens_open_and_only_for_a_while() {
        let mut tokens = Tokens::default();
        let issued: Vec<String> = (0..5).map(|_| tokens.issue(Duration::from_secs(60))).collect();
        let good: Vec<bool> = issued.iter().map(|token| tokens.check(token)).collect();
        assert_eq!(good, [false, true, true, true, true]);
        assert!(!tokens.check("") && !tokens.check(&issued[1][1..]));
        let old = tokens.issue(Duration::ZERO);
        assert!(!tokens.check(&old));
    }
}
