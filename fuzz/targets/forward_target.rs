//! Where a forward is to lead, which a client writes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::model::{ForwardTarget, TargetHost, may_reach, socket_path};

fuzz_target!(|input: (&str, u32)| {
    let (text, port) = input;
    if let Ok(target) = ForwardTarget::parse(text, port) {
        assert!(target.port != 0);
        // what is judged and dialled is read as the same again
        assert_eq!(ForwardTarget::parse(&target.host.to_string(), port).as_ref(), Ok(&target));
        if let TargetHost::Address(address) = target.host {
            assert_eq!(may_reach(address), Ok(address));
        }
    }
    if let Ok(path) = socket_path(text) {
        assert!(path.starts_with(b"/") && !path.contains(&0));
    }
});
