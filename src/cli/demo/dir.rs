//! The demo's directory: everything that a demo leaves on the disk is in it, and nobody else may look inside.
//!
//! ```text
//!  DIR (0700)
//!    .portcullis-demo      says that this directory is a demo's; locked while one runs in it
//!    ssh_config            hosts `demo`, `web-1`, `db-1` and `gate`
//!    known_hosts           the gateway's host keys, and the host CA
//!    user_key[.pub]        the person `you`
//!    ada_key[.pub]         the person `ada`
//!    host_key[.pub]        the gateway's; host_key-cert.pub is its certificate
//!    host_key_ecdsa[.pub]  the same for clients that know no ed25519
//!    host_ca[.pub]         the CA that signed them, and signs for the nodes that are hopped to
//!    gateway.toml          the gateway's configuration, as `portcullis serve` would read it
//!    policies/             what the demo's people may do
//!    evidence/             the event log
//!    cloudtrail.jsonl      what AWS would have recorded of the same sessions
//!    node/, web-1/, db-1/  the nodes' own files
//!    run/                  those of what runs on them
//! ```

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::exit::{Exit, Failure};
use crate::ssh::mint::{KeyPair, MintError};

/// The name by which clients know the demo's gateway, whatever its port.
pub(super) const HOST_ALIAS: &str = "portcullis-demo";

/// The demo's nodes, as patterns of `known_hosts`.
const NODES: &str = "demo,web-1,db-1";

/// The embedded service's records of calls.
pub(super) const TRAIL: &str = "cloudtrail.jsonl";

type Make = fn(&str) -> Result<KeyPair, MintError>;

/// The gateway's host keys, the preferred one first: as the configuration has them by default.
const HOST_KEYS: [(&str, Make); 2] = [("host_key", KeyPair::new), ("host_key_ecdsa", KeyPair::new_ecdsa)];

const MARKER: &str = ".portcullis-demo";
const QUIET: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A demo's directory, ours while this lives.
#[derive(Debug)]
pub(super) struct DemoDir {
    path: PathBuf,
    // the lock ends with the open file
    _lock: File,
}

/// The keys of a demo, as files.
#[derive(Debug)]
pub(super) struct Keys {
    /// The public keys of the two people, a line each.
    pub(super) user: String,
    pub(super) ada: String,
    /// The preferred one first.
    pub(super) host_keys: Vec<PathBuf>,
    pub(super) host_certificates: Vec<PathBuf>,
    pub(super) host_ca: PathBuf,
}

/// Where a demo is when nobody says: always the same place, so that the next run finds it.
pub(super) fn default_dir() -> Result<PathBuf, Failure> {
    match std::env::var_os("HOME").map(PathBuf::from) {
        Some(home) if home.is_absolute() => Ok(home.join(".portcullis-demo")),
        _ => Err(Failure::new(Exit::Usage, "HOME is not set: say where the demo's files go with --dir DIR")),
    }
}

impl DemoDir {
    /// Makes the directory, or takes over that of an earlier demo.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| {
            let text = format!("the demo can't use {}: {why}; give another directory with --dir DIR", path.display());
            Failure::new(Exit::Directory, text)
        };
        let refuse_io = |error: std::io::Error| refuse(error.to_string());
        let path = &std::path::absolute(path).map_err(refuse_io)?;
        expressible(path).map_err(|why| refuse(why.to_owned()))?;
        let marker = path.join(MARKER);
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_dir() => return Err(refuse("it is no directory".to_owned())),
            Ok(found) => {
                if found.uid() != rustix::process::geteuid().as_raw() {
                    return Err(refuse("it belongs to somebody else".to_owned()));
                }
                let empty = std::fs::read_dir(path).map_err(refuse_io)?.next().is_none();
                if !empty && !marker.exists() {
                    return Err(refuse("it holds files that are not a demo's".to_owned()));
                }
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(refuse_io)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refuse_io)?;
            }
            Err(error) => return Err(refuse_io(error)),
        }
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&marker).map_err(refuse_io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refuse("another demo is running in it".to_owned())),
            Err(TryLockError::Error(error)) => return Err(refuse_io(error)),
        }
        Ok(Self { path: path.clone(), _lock: lock })
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory inside, for the owner alone.
    pub(super) fn subdirectory(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(cannot_write(&path, &error)),
            _ => Ok(path),
        }
    }

    /// Writes a file for the owner alone; whoever reads it sees the old or the new one, never half.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.join(name);
        let fresh = self.join(&format!("{name}.new"));
        let written = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&fresh, &path));
        written.map(|()| path.clone()).map_err(|error| cannot_write(&path, &error))
    }

    /// Waits until every helper has removed its directory, which is the last thing it does: one that heard no goodbye
    /// ends by itself when its lanes are gone for good.
    pub(super) async fn quiet(&self) {
        for _ in 0..QUIET.as_millis() / POLL.as_millis() {
            let busy = std::fs::read_dir(self.join("run")).is_ok_and(|mut entries| entries.next().is_some());
            if !busy {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        tracing::warn!("a helper on the node has not cleaned up");
    }

    /// Removes what helpers left in `run` when the node was ended under them.
    pub(super) fn clear_run(&self) {
        if let Err(error) = std::fs::remove_dir_all(self.join("run"))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the node's run-time directory can't be removed");
        }
    }

    /// The keys of an earlier demo in this directory, or new ones.
    pub(super) fn keys(&self) -> Result<Keys, Failure> {
        let user = self.pair("user_key", "demo", KeyPair::new)?;
        let ada = self.pair("ada_key", "ada", KeyPair::new)?;
        let ca = self.pair("host_ca", "portcullis-demo-host-ca", KeyPair::new)?;
        let mut known = String::new();
        let (mut host_keys, mut host_certificates) = (Vec::new(), Vec::new());
        for (name, make) in HOST_KEYS {
            let host = self.pair(name, HOST_ALIAS, make)?;
            let certificate = ca.certify_host(&host, &[HOST_ALIAS], A_YEAR).map_err(no_key)?;
            host_keys.push(self.join(name));
            host_certificates.push(self.write(&format!("{name}-cert.pub"), &format!("{certificate}\n"))?);
            known.push_str(&format!("{HOST_ALIAS} {}\n", host.public().map_err(no_key)?));
        }
        // of the gateway itself, and of the nodes that are hopped to
        known.push_str(&format!("@cert-authority {HOST_ALIAS},{NODES} {}\n", ca.public().map_err(no_key)?));
        self.write("known_hosts", &known)?;
        let (user, ada) = (user.public().map_err(no_key)?, ada.public().map_err(no_key)?);
        Ok(Keys { user, ada, host_keys, host_certificates, host_ca: self.join("host_ca") })
    }

    fn pair(&self, name: &str, comment: &str, make: Make) -> Result<KeyPair, Failure> {
        let kept = std::fs::read_to_string(self.join(name)).ok().and_then(|text| KeyPair::parse(&text).ok());
        let pair = match kept {
            Some(pair) => pair,
            None => {
                let pair = make(comment).map_err(no_key)?;
                self.write(name, &pair.private().map_err(no_key)?)?;
                pair
            }
        };
        self.write(&format!("{name}.pub"), &format!("{}\n", pair.public().map_err(no_key)?))?;
        Ok(pair)
    }
}

/// ssh_config has no way to write some paths down: better said here than found out by ssh.
fn expressible(path: &Path) -> Result<(), &'static str> {
    let Some(text) = path.to_str() else { return Err("its name is not UTF-8, which ssh_config can't say") };
    if text.contains(['"', '\\', '$']) || text.chars().any(char::is_control) {
        return Err(
            "its name has a quote, a backslash, a dollar sign or a control character, which ssh_config can't say",
        );
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Directory, format!("{} can't be written: {error}", path.display()))
}

fn no_key(error: MintError) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_somebodys_files_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let failure = DemoDir::open(dir.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Directory);
        assert!(failure.text.contains("not a demo's"), "{}", failure.text);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_demo_at_a_time_and_keys_stay() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a b").join("demo");
        let first = DemoDir::open(&path).unwrap();
        let keys = first.keys().unwrap();
        let failure = DemoDir::open(&path).unwrap_err();
        assert!(failure.text.contains("another demo is running"), "{}", failure.text);
        drop(first);
        assert_eq!(DemoDir::open(&path).unwrap().keys().unwrap().user, keys.user);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(path.join("user_key")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_path_that_ssh_config_cannot_say_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let failure = DemoDir::open(&dir.path().join("a\"b")).unwrap_err();
        assert!(failure.text.contains("ssh_config can't say"), "{}", failure.text);
    }
}
