//! A session's folder: bytes split into its files, as anybody may have made them. What verifies is whole only if it was signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_folder::{File, InMemory, VerifyingKey, verify_files};

/// The key of `docs/formats/key`, so that a corpus made of `docs/formats/session` has good signatures.
const KEY: &str = include_str!("../../docs/formats/key.pub");

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut folder = InMemory::default();
    // each file: which, its length in two bytes, and its bytes
    while let [which, high, low, bytes @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(bytes.len());
        let (bytes, later) = bytes.split_at(length);
        let file = File::ALL.get(usize::from(*which)).map_or("another", |file| file.name());
        folder.0.entry(file.to_owned()).or_default().extend_from_slice(bytes);
        rest = later;
    }
    let keys: Vec<VerifyingKey> = VerifyingKey::parse(KEY.trim_end()).into_iter().collect();
    let report = verify_files(&folder, None, &keys);
    assert!(!report.is_whole() || report.checkpoints > 0);
    for fault in &report.faults {
        assert!(!fault.to_string().chars().any(char::is_control));
    }
});
