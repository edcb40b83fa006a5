//! Files as they are opened here: regular ones only, and no links. Whoever can write to a folder must not decide which other file
//! of the machine is read, nor keep the reader waiting at a FIFO.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file to be read.
pub(crate) fn to_read(path: &Path) -> io::Result<File> {
    regular(path, OpenOptions::new().read(true))
}

/// Opens a regular file that is no link.
pub fn regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    // rustix's flags and the standard library's are the same number in two types
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = options.custom_flags(flags).open(path).map_err(|error| match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => io::Error::other("it is a symbolic link"),
        Ok(found) if !found.is_file() => io::Error::other(NOT_REGULAR),
        _ => error,
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(NOT_REGULAR)),
    }
}

const NOT_REGULAR: &str = "it is not a regular file";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_directories_and_fifos_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("loose")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RWXU).unwrap();
        assert!(to_read(&path("file")).is_ok());
        for name in ["link", "loose"] {
            assert_eq!(to_read(&path(name)).unwrap_err().to_string(), "it is a symbolic link");
        }
        for odd in [path("fifo"), dir.path().to_owned()] {
            assert_eq!(to_read(&odd).unwrap_err().to_string(), NOT_REGULAR);
        }
        assert_eq!(to_read(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
