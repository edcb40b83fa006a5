//! Numbers of things, in sentences.

use std::fmt::Display;

/// So many of them: `1 channel`, `2 channels`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0_u64, 1, 2].map(|count| counted(count, "minute")), ["0 minutes", "1 minute", "2 minutes"]);
    }
}
