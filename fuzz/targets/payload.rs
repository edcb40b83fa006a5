//! Any bytes are a body or an error, and a body is written as it was read.
#![no_main]

use portcullis_protocol::control::{AgentTaskAcknowledge, AgentTaskComplete, InteractiveShell};
use portcullis_protocol::mux::Header;
use portcullis_protocol::open::{OpenControlChannel, OpenDataChannel};
use portcullis_protocol::payload::{
    Acknowledge, AgentSessionState, ChannelClosed, ExitCode, Flag, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, Size,
};

macro_rules! same_again {
    ($bytes:expr, $($body:ty),*) => {
        $(if let Ok(body) = <$body>::decode($bytes) {
            assert_eq!(<$body>::decode(body.encode().as_ref()).as_ref(), Ok(&body));
        })*
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    same_again!(
        bytes,
        Acknowledge,
        AgentSessionState,
        AgentTaskAcknowledge,
        AgentTaskComplete,
        ChannelClosed,
        ExitCode,
        Flag,
        HandshakeComplete,
        HandshakeRequest,
        HandshakeResponse,
        InteractiveShell,
        Size
    );
    let sequence = Acknowledge::decode_sequence(bytes);
    assert!(Acknowledge::decode(bytes).map_or(true, |whole| Ok(whole.sequence) == sequence));
    if let Ok(text) = core::str::from_utf8(bytes) {
        same_again!(text, OpenControlChannel, OpenDataChannel);
    }
    if let Some(first) = bytes.first_chunk()
        && let Ok(header) = Header::decode(*first)
    {
        assert_eq!(header.encode(), *first);
    }
});
