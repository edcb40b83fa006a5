//! A file that is there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Exit, Failure};

/// A file that is written under another name, beside its place.
#[derive(Debug)]
pub(super) struct ExportFile {
    to: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    force: bool,
}

impl ExportFile {
    /// Begins one; nothing stands at its place yet.
    pub(super) fn create(to: &Path, force: bool) -> Result<Self, Failure> {
        if !force && to.symlink_metadata().is_ok() {
            let text = format!("{} is there already; --force writes over it", to.display());
            return Err(Failure::new(Exit::Directory, text));
        }
        let mut name = to
            .file_name()
            .map(ToOwned::to_owned)
            .ok_or_else(|| Failure::new(Exit::Usage, format!("{} is no name of a file", to.display())))?;
        name.push(format!(".{}.part", std::process::id()));
        let beside = to.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let file = file.map_err(|error| Failure::new(Exit::Directory, format!("{}: {error}", beside.display())))?;
        Ok(Self { to: to.to_owned(), beside, file: BufWriter::new(file), force })
    }

    /// Puts it in its place.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        match self.force {
            true => fs::rename(&self.beside, &self.to),
            // somebody may have made one meanwhile: a link does not go over it
            false => fs::hard_link(&self.beside, &self.to),
        }
    }
}

impl Write for ExportFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for ExportFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_whole_or_not_at_all_and_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("a.cast");
        let mut file = ExportFile::create(&to, false).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut file = ExportFile::create(&to, false).unwrap();
        file.write_all(b"whole").unwrap();
        fs::write(&to, "somebody's").unwrap();
        assert!(file.finish().is_err());
        drop(file);
        assert!(ExportFile::create(&to, false).unwrap_err().text.contains("--force"));
        let mut file = ExportFile::create(&to, true).unwrap();
        file.write_all(b"whole").unwrap();
        file.finish().unwrap();
        drop(file);
        assert_eq!(fs::read(&to).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
