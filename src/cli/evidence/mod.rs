//! `portcullis verify` and `portcullis evidence`: for those who must rely on what a gateway kept. Nothing that is verified is changed.

mod anchors;
mod holds;
mod key;
mod keys;
mod person;
mod screen;
mod sinks;
mod verify;

pub(super) use verify::run as run_verify;

use super::args::{EvidenceArgs, EvidenceCommand};
use super::exit::Failure;

pub(super) async fn run(args: &EvidenceArgs) -> Result<(), Failure> {
    match &args.command {
        EvidenceCommand::Key(args) => key::run(args),
        EvidenceCommand::Anchors(args) => anchors::run(args).await,
        EvidenceCommand::Sinks(args) => sinks::run(args),
        EvidenceCommand::Hold(args) => holds::hold(args),
        EvidenceCommand::Release(args) => holds::release(args),
        EvidenceCommand::Holds(args) => holds::list(args),
        EvidenceCommand::Person(args) => person::run(args),
    }
}
