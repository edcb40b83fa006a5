//! A header of the PROXY protocol, from whoever is taken for a balancer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::gateway::ProxyHeader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ProxyHeader::Client { source, .. }) = ProxyHeader::parse(bytes) {
        assert!(!source.ip().is_unspecified() && !source.ip().is_multicast());
    }
});
