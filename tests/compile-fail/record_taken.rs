// must fail: E0616
use portcullis::internals::evidence::SessionRecord;
use portcullis::internals::session::SessionEnd;

pub fn take(end: SessionEnd) -> SessionRecord {
    end.record
}
