//! A recording from somewhere: read, and exported in every form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_terminal::cast::{Reader, export_text, export_v2, export_v3};

fuzz_target!(|file: &[u8]| {
    for export in [export_v2::<&[u8]>, export_v3::<&[u8]>, export_text::<&[u8]>] {
        let Ok(reader) = Reader::new(file) else { return };
        let mut out = Vec::new();
        let _ = export(reader, &mut out);
    }
});
