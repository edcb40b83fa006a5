// must fail: E0616
use portcullis::internals::policy::{Action, Grant};

pub fn widen(grant: &mut Grant) {
    grant.action = Action::Shell;
}
