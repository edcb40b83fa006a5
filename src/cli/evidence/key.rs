//! `portcullis evidence key`: the public halves of the keys that this gateway signs its evidence with.

use portcullis_folder::{SigningKey, VerifyingKey, public_path};

use super::keys::place;
use crate::cli::args::EvidenceKeyArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;

pub(super) fn run(args: &EvidenceKeyArgs) -> Result<(), Failure> {
    let (path, name) = place(&args.config)?;
    let failure = |error: portcullis_folder::KeyFileError| Failure::new(Exit::Directory, error.to_string());
    if args.rotate {
        let key = SigningKey::rotate(&path, &name).map_err(failure)?;
        let key = key.verifying_key();
        output::note(&format!(
            "{}+{:08x} signs from the gateway's next start on; publish it, and keep the ones before",
            key.name(),
            key.id()
        ));
    }
    let keys = VerifyingKey::load_all(&public_path(&path)).map_err(failure)?;
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    output::print(&lines)
}
