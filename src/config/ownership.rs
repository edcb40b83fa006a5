//! Whose the configuration is: it says who gets in, so nobody but root and the gateway's own user may be able to change it.
//! Like sshd with its own files (`safe_path` in OpenSSH), but for a read-only file system, where modes say nothing.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, fstatvfs};

use super::{ConfigError, Problem};

/// What group and others may not have.
const WRITABLE: u32 = 0o022;

/// In such a directory nobody can rename or remove what belongs to others.
const STICKY: u32 = 0o1000;

/// Whether somebody else can change an open file, or put another one in its place.
pub(super) fn check(path: &Path, file: &File) -> Result<(), ConfigError> {
    let unreadable = |error: std::io::Error| {
        let message = format!("who can change it can't be seen: {error}");
        ConfigError::from(Problem::with_file(path, message, "run it as the gateway's user"))
    };
    let found = file.metadata().map_err(unreadable)?;
    // a pipe has no place where another could be put, and what can't be written can't be changed
    if !found.is_file() || fstatvfs(file).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Ok(());
    }
    owned(path, path, &found)?;
    if found.mode() & WRITABLE != 0 {
        return Err(writable(path, path, &found, "others can change it, and with it who gets in").into());
    }
    // where links lead: it is the directories on that way that count
    let real = path.canonicalize().map_err(unreadable)?;
    for (depth, directory) in real.ancestors().skip(1).enumerate() {
        let found = directory.metadata().map_err(unreadable)?;
        owned(path, directory, &found)?;
        // above the first, what lies in a sticky directory and is ours stays where it is
        let guarded = depth > 0 && found.mode() & STICKY != 0;
        if found.mode() & WRITABLE != 0 && !guarded {
            let why = format!("others can put another file in its place: they can write to {}", directory.display());
            return Err(writable(path, directory, &found, &why).into());
        }
    }
    Ok(())
}

fn owned(path: &Path, what: &Path, found: &Metadata) -> Result<(), ConfigError> {
    if [0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
        return Ok(());
    }
    let (what, owner) = (what.display(), found.uid());
    let message =
        format!("{what} belongs to user {owner}, who is neither root nor the gateway's own and can change who gets in");
    Err(Problem::with_file(path, message, format!("give it to root: chown root {what}")).into())
}

fn writable(path: &Path, what: &Path, found: &Metadata, why: &str) -> Problem {
    let message = format!("{why} (mode {:04o})", found.mode() & 0o7777);
    Problem::with_file(path, message, format!("take that away: chmod go-w {}", what.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_others_can_change_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("portcullis");
        std::fs::create_dir(&inner).unwrap();
        let path = inner.join("gateway.toml");
        std::fs::write(&path, "").unwrap();
        let set = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let said = || {
            check(&path, &File::open(&path).unwrap())
                .map_err(|error| (error.problems[0].message.clone(), error.problems[0].help.clone().unwrap()))
        };
        let dirs = [&inner, dir.path()];
        for directory in dirs {
            set(directory, 0o755);
        }
        for (mode, fine) in [(0o600, true), (0o644, true), (0o660, false), (0o646, false)] {
            set(&path, mode);
            let said = said();
            assert_eq!(said.is_ok(), fine, "{mode:o}");
            assert!(fine || said.unwrap_err().1.ends_with(&format!("chmod go-w {}", path.display())));
        }
        set(&path, 0o600);
        // the second may be sticky, as /tmp is
        for (directory, mode, fine) in [
            (dirs[0], 0o775, false),
            (dirs[0], 0o1777, false),
            (dirs[0], 0o700, true),
            (dirs[1], 0o777, false),
            (dirs[1], 0o1777, true),
        ] {
            set(directory, mode);
            let said = said();
            assert_eq!(said.is_ok(), fine, "{} {mode:o}", directory.display());
            assert!(fine || said.unwrap_err().0.contains("put another file in its place"));
            set(directory, 0o755);
        }
    }
}
