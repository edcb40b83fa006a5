// must fail: E0616
use portcullis::internals::session::SessionInput;
use portcullis::internals::transport::Input;

pub fn take(input: SessionInput) -> Input {
    input.way
}
