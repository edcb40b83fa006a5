//! UTF-8 that comes in pieces.

/// Decodes bytes that may be cut anywhere; what is invalid becomes U+FFFD, as [`String::from_utf8_lossy`] does it.
#[derive(Clone, Default)]
pub(crate) struct Decoder {
    /// The start of a character whose rest has not come: at most three bytes.
    kept: [u8; 3],
    length: usize,
}

impl Decoder {
    /// Appends what `bytes` complete, and keeps a character that is cut at the end.
    pub(crate) fn decode(&mut self, mut bytes: &[u8], text: &mut String) {
        while self.length > 0 {
            let Some((&next, rest)) = bytes.split_first() else { return };
            let mut whole = [0; 4];
            for (to, from) in whole.iter_mut().zip(self.kept.iter().take(self.length).chain([&next])) {
                *to = *from;
            }
            let whole = whole.get(..=self.length).unwrap_or_default();
            match std::str::from_utf8(whole) {
                Ok(character) => {
                    text.push_str(character);
                    self.length = 0;
                    bytes = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    if let Some(place) = self.kept.get_mut(self.length) {
                        *place = next;
                    }
                    self.length += 1;
                    bytes = rest;
                }
                // `next` does not go on with it: it is looked at anew
                Err(_) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.length = 0;
                }
            }
        }
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            let cut = std::str::from_utf8(invalid).err().is_some_and(|error| error.error_len().is_none());
            let last = std::ptr::eq(invalid.as_ptr_range().end, bytes.as_ptr_range().end);
            if cut && last {
                self.length = invalid.len().min(self.kept.len());
                for (to, from) in self.kept.iter_mut().zip(invalid) {
                    *to = *from;
                }
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// No more will come: a character that was cut is invalid.
    pub(crate) fn finish(&mut self, text: &mut String) {
        if self.length > 0 {
            text.push(char::REPLACEMENT_CHARACTER);
            self.length = 0;
        }
    }
}
