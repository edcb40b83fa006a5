//! Where a folder's files are read from.

use std::collections::BTreeMap;
use std::fs::File as DiskFile;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

/// A folder, wherever it is.
pub trait Files {
    /// The names of what is in it.
    ///
    /// # Errors
    /// It can't be listed, or has more than [`MAX_ENTRIES`].
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file of it.
    ///
    /// # Errors
    /// It is not there ([`io::ErrorKind::NotFound`]), no regular file ([`io::ErrorKind::InvalidInput`]), or can't be opened.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// One on the disk. It is opened once, and files by their names in it: nobody can put another folder in its place meanwhile.
#[derive(Debug)]
pub struct Directory(OwnedFd);

/// One in memory: as a test makes it, or as it comes out of an archive.
#[derive(Clone, Debug, Default)]
pub struct InMemory(pub BTreeMap<String, Vec<u8>>);

impl Directory {
    /// Opens a folder, which must be none that a link leads to.
    ///
    /// # Errors
    /// It is not there, no folder, a link, or can't be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        // of `name/` the link `name` would be followed
        let path = path.components().as_path();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).map(Self).map_err(|error| match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => io::Error::other("it is a symbolic link"),
            _ => error.into(),
        })
    }

    /// Opens a regular file in it.
    pub(crate) fn file(&self, name: &str, flags: OFlags) -> io::Result<DiskFile> {
        // a FIFO would keep us waiting for a writer; to a file it makes no difference
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| {
            match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => not_regular(),
                _ => error.into(),
            }
        })?;
        let file = DiskFile::from(file);
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
    }

    /// Removes a file of it.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Gives its list of names to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

impl Files for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." {
                continue;
            }
            if names.len() == MAX_ENTRIES {
                return Err(io::Error::other(format!("it has more than {MAX_ENTRIES} files")));
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.file(name, OFlags::RDONLY)?))
    }
}

impl Files for InMemory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        let bytes = self.0.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(bytes.as_slice()))
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

/// A session's folder has ten files; more than this is none.
pub const MAX_ENTRIES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_fifos_are_refused_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("folder")).unwrap();
        std::fs::write(path("folder/a"), "x").unwrap();
        std::os::unix::fs::symlink("a", path("folder/b")).unwrap();
        rustix::fs::mkfifoat(CWD, path("folder/c"), Mode::RWXU).unwrap();
        std::fs::create_dir(path("folder/d")).unwrap();
        let folder = Directory::open(&path("folder")).unwrap();
        assert_eq!(folder.names().unwrap(), ["a", "b", "c", "d"]);
        assert!(Files::open(&folder, "a").is_ok());
        for name in ["b", "c", "d"] {
            assert_eq!(Files::open(&folder, name).err().unwrap().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(Files::open(&folder, "e").err().unwrap().kind(), io::ErrorKind::NotFound);
        std::os::unix::fs::symlink("folder", path("link")).unwrap();
        for link in ["link", "link/"] {
            assert!(Directory::open(&path(link)).unwrap_err().to_string().contains("symbolic link"));
        }
        assert!(Directory::open(&path("folder/a")).is_err());
        for n in 0..MAX_ENTRIES {
            std::fs::write(path(&format!("folder/{n}")), "").unwrap();
        }
        assert!(Directory::open(&path("folder")).unwrap().names().is_err());
    }
}
