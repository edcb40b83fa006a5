//! What a node's relay says, in any pieces, to whoever has streams and look-ups under way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::transport::helper::output_window::OutputWindow;
use portcullis::internals::transport::relay::{Mux, Read, Target};

/// What is held of one stream at most.
const WINDOW: usize = 2 << 20;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut mux = Mux::default();
    let streams: Vec<_> =
        (0..4).filter_map(|_| mux.open(Target::Unix(b"s".to_vec()), OutputWindow::default()).ok()).collect();
    while mux.poll_transmit().is_some() {}
    let mut came = 0;
    for (turn, piece) in pieces.into_iter().enumerate() {
        came += piece.len();
        if mux.handle_input(piece.into()).is_err() {
            break;
        }
        while mux.poll_event().is_some() {}
        if let Some(id) = streams.get(turn % 4) {
            let _ = mux.write(*id, b"a word");
            let mut held = 0;
            while let Read::Data(bytes) = mux.read(*id, 4096) {
                held += bytes.len();
            }
            assert!(held <= WINDOW.min(came), "{held} bytes of {came}");
        }
        while mux.poll_transmit().is_some() {}
    }
    for id in streams {
        mux.finish(id);
        mux.drop_stream(id);
    }
});
