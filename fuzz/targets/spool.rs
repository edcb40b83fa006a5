//! A segment of the spool's live log, whoever wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|segment: &[u8]| {
    let (records, bad) = portcullis_sinks::read_records(segment);
    let lines = segment.split(|byte| *byte == b'\n').count() as u64;
    assert!(records.len() as u64 + bad <= lines);
});
