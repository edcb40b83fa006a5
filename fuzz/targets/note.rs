//! A signed note, and the checkpoint in it: whatever is read is written in no other way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_folder::{Checkpoint, Note, VerifyingKey};

fuzz_target!(|input: &[u8]| {
    if let Ok(note) = Note::parse(input) {
        assert!(input.starts_with(note.text().as_bytes()));
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.text(), note.text());
        }
        let _ = note.verify(&[]);
    }
    if let Ok(text) = std::str::from_utf8(input) {
        if let Ok(key) = VerifyingKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            assert_eq!(checkpoint.text(), text);
        }
    }
});
