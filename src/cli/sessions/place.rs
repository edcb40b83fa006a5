//! Where the evidence and its index are.

use std::sync::Arc;

use portcullis_folder::public_path;
use portcullis_index::Location;

use super::args::PlaceArgs;
use crate::app::{self, EvidenceKeyring};
use crate::audit::Archive;
use crate::cli::exit::Failure;
use crate::cli::failure::config_failure;
use crate::config::{Overrides, Trust};

/// That of the command line, or of the configuration.
pub(super) fn archive(args: &PlaceArgs) -> Result<Archive, Failure> {
    let (evidence, url, keys, keyring) = match &args.evidence {
        Some(directory) => (directory.clone(), None, None, EvidenceKeyring::default()),
        None => {
            let loaded = app::read(&args.config, Trust::Anybodys, &Overrides::default()).map_err(|error| {
                config_failure(
                    &args.config,
                    &error,
                    ", so it is not known where the evidence is; --evidence DIR says it",
                )
            })?;
            let config = loaded.config;
            let keys = public_path(&config.evidence.key_path());
            let keyring = EvidenceKeyring::of(&config.evidence);
            (config.evidence.directory, config.index.url, Some(keys), keyring)
        }
    };
    let url = args.index.as_deref().or(url.as_deref());
    let location = Location::of(url, &evidence);
    Ok(Archive { evidence, location, keys: args.keys.clone().or(keys), is_kept: false, keyring: Arc::new(keyring) })
}
