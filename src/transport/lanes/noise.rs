//! What a node says beside the records: the reason, if something fails.

use crate::model::plain_text_up_to;
use crate::transport::helper::record::NOBODY;

/// The first words that were no records, on either lane, and the exit code of the out lane's process.
#[derive(Debug, Default)]
pub(super) struct Noise {
    bytes: Vec<u8>,
    exit_code: Option<i32>,
}

impl Noise {
    /// Keeps the beginning.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        let room = MOST_KEPT.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The out lane's process has ended so.
    pub(super) fn handle_exit_code(&mut self, code: i32) {
        self.exit_code = Some(code);
    }

    /// How the out lane's process ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.exit_code
    }

    /// Whether a lane that was to join the helper has found it gone. One on a terminal has no exit code, but words.
    pub(super) fn is_of_nobody(&self) -> bool {
        self.exit_code == Some(NO_HELPER) || self.bytes.windows(NOBODY.len()).any(|words| words == NOBODY)
    }

    /// Whether nothing at all was said.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.exit_code.is_none()
    }

    /// As the tail of a sentence: the node's own words, else this text, else the exit code.
    pub(super) fn tail(&self, text: &str) -> String {
        let said = String::from_utf8_lossy(&self.bytes);
        let words = plain_text_up_to(MOST_SHOWN, &said);
        match (words.is_empty(), text.is_empty(), self.exit_code) {
            (false, ..) => format!(": {words}"),
            (true, false, _) => format!(": {text}"),
            (true, true, Some(code)) => format!(": its exit code was {code}"),
            (true, true, None) => String::new(),
        }
    }
}

/// The exit code of a lane process that finds no helper to join.
pub(super) const NO_HELPER: i32 = 69;
/// Bytes kept.
const MOST_KEPT: usize = 2048;
/// Characters shown to the person.
const MOST_SHOWN: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_s_own_words_come_before_the_service_s_and_those_before_a_code() {
        let mut noise = Noise::default();
        assert_eq!((noise.tail(""), noise.tail("gone")), (String::new(), ": gone".to_owned()));
        noise.handle_exit_code(127);
        assert_eq!((noise.tail(""), noise.tail("gone")), (": its exit code was 127".to_owned(), ": gone".to_owned()));
        noise.handle_bytes(b"sh: python3:\r\n \x1b[31mnot found\n");
        assert_eq!(noise.tail("gone"), ": sh: python3: [31mnot found");
        noise.handle_bytes(&[b'x'; 10_000]);
        assert_eq!((noise.bytes.len(), noise.tail("").len()), (MOST_KEPT, MOST_SHOWN + 2));
    }
}
