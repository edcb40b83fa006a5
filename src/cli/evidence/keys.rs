//! Whose heads are believed: keys that somebody gives, or those of the configuration; never one from what is verified.

use std::path::{Path, PathBuf};

use portcullis_folder::{VerifyingKey, public_path};

use crate::app::{self, EvidenceKeyring};
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::config_failure;
use crate::config::{Overrides, Trust};

/// The keys that were given, as text or in files; without any, those that the configuration's gateway published. `verified` is
/// what they are to verify: no file in it is a source of keys.
pub(super) fn believed(given: &[String], config: &Path, verified: &[PathBuf]) -> Result<Vec<VerifyingKey>, Failure> {
    if given.is_empty() {
        let (path, _) = place(config)?;
        let path = public_path(&path);
        return VerifyingKey::load_all(&path).map_err(|error| {
            let text = format!(
                "{error}. Give the gateway's verifier key with --key; its owner prints it with: portcullis evidence key"
            );
            Failure::new(Exit::Config, text)
        });
    }
    let mut keys = Vec::new();
    for given in given {
        match VerifyingKey::parse(given) {
            Ok(key) => keys.push(key),
            Err(why) => {
                let path = Path::new(given);
                if path.symlink_metadata().is_err() {
                    let text = format!("--key {given:?} is neither a verifier key ({why}) nor a file");
                    return Err(Failure::new(Exit::Usage, text));
                }
                outside(path, verified)?;
                let loaded = VerifyingKey::load_all(path);
                keys.extend(loaded.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?);
            }
        }
    }
    Ok(keys)
}

/// Whoever made a folder anew has put a key of theirs beside it.
fn outside(path: &Path, verified: &[PathBuf]) -> Result<(), Failure> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let inside =
        |folder: &&PathBuf| folder.is_dir() && folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
    match verified.iter().find(inside) {
        None => Ok(()),
        Some(folder) => {
            let (path, folder) = (path.display(), folder.display());
            let text = format!(
                "{path} is in {folder}, which it is to verify: who made that has made the key as well. Get the key from the gateway's owner"
            );
            Err(Failure::new(Exit::Usage, text))
        }
    }
}

/// What opens encrypted folders: AWS KMS where the configuration says that it is, or where the SDK's usual places do.
pub(super) fn keyring(given: &[String], config: &Path) -> EvidenceKeyring {
    if !given.is_empty() {
        return EvidenceKeyring::default();
    }
    // one that can't be read was told of when the keys were looked for in it
    let loaded = app::read(config, Trust::Anybodys, &Overrides::default());
    loaded.map(|loaded| EvidenceKeyring::of(&loaded.config.evidence)).unwrap_or_default()
}

/// Where the gateway of a configuration has its evidence key, and what such a key is called.
pub(super) fn place(config: &Path) -> Result<(PathBuf, String), Failure> {
    let loaded = app::read(config, Trust::Anybodys, &Overrides::default());
    let loaded = loaded.map_err(|error| config_failure(config, &error, ", so its evidence key is not known"))?;
    let evidence = &loaded.config.evidence;
    Ok((evidence.key_path(), app::evidence_key_name(evidence)))
}

#[cfg(test)]
mod tests {
    use portcullis_folder::SigningKey;

    use super::*;

    #[test]
    fn a_key_is_taken_as_text_or_from_a_file_and_never_from_what_it_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = SigningKey::generate("portcullis/gate-1").unwrap();
        let text = key.verifying_key().to_string();
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let (outside, inside) = (dir.path().join("keys"), folder.join("keys"));
        for path in [&outside, &inside] {
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&inside, &link).unwrap();
        let ask = |given: &str| believed(&[given.to_owned()], Path::new("none"), std::slice::from_ref(&folder));
        for given in [text.as_str(), outside.to_str().unwrap()] {
            assert_eq!(ask(given).unwrap(), [key.verifying_key().clone()]);
        }
        for given in [&inside, &link] {
            let failure = ask(given.to_str().unwrap()).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.text.contains("which it is to verify"), "{}", failure.text);
        }
        let failure = ask("portcullis/gate-1+00000000+AAAA").unwrap_err();
        assert!(failure.text.contains("neither a verifier key"), "{}", failure.text);
    }
    #[test]
    fn the_key_is_where_the_configuration_says_and_called_what_the_gateway_calls_it() {
        let dir = tempfile::tempdir().unwrap();
        let (config, key) = (dir.path().join("portcullis.toml"), dir.path().join("signing"));
        std::fs::write(
            &config,
            format!("[[realms]]\nname = \"main\"\n[evidence]\nname = \"gate-9\"\nkey_file = {key:?}\n"),
        )
        .unwrap();
        assert_eq!(place(&config).unwrap(), (key, "portcullis/gate-9".to_owned()));
    }
}
