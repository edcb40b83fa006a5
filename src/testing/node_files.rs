//! A node's file service on the local file system.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::policy::{Action, Grant};
use crate::transport::file_service::{
    Answer, Attributes, Call, Entry, FileError, FileService, FileSystem, Handle, Opened, Operation,
};

/// The operations that a local service has carried out.
pub(crate) type OperationLog = Arc<Mutex<Vec<Operation>>>;

/// Carries out operations on this machine; relative paths start at `home`. Names that contain `forbidden` are refused.
pub(crate) fn local_service(home: &Path) -> (FileService, OperationLog) {
    local_service_under(Grant::for_test("web-1", Action::Files), home)
}

/// The same under a grant of the test's own.
pub(crate) fn local_service_under(grant: Grant, home: &Path) -> (FileService, OperationLog) {
    let (operations, mut calls) = mpsc::channel::<Call>(32);
    let log = OperationLog::default();
    let mut local = Local { home: home.to_owned(), open: HashMap::new(), last: 0 };
    let seen = Arc::clone(&log);
    tokio::task::spawn_blocking(move || {
        while let Some((operation, answer)) = calls.blocking_recv() {
            // contents would only take memory
            seen.lock().unwrap().push(match &operation {
                Operation::Write { handle, offset, .. } => {
                    Operation::Write { handle: *handle, offset: *offset, bytes: Default::default() }
                }
                other => other.clone(),
            });
            let result = local.carry_out(operation).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(5);
                let message = io::Error::from_raw_os_error(errno).to_string();
                let message = message.split(" (os error").next().unwrap().to_owned();
                FileError::Node { errno, message }
            });
            let _ = answer.send(result);
        }
    });
    (FileService::under(grant, operations), log)
}

struct Local {
    home: PathBuf,
    open: HashMap<u32, Open>,
    last: u32,
}

enum Open {
    File(File, bool),
    Directory(PathBuf, Vec<Entry>),
}

impl Local {
    fn carry_out(&mut self, operation: Operation) -> io::Result<Answer> {
        match operation {
            Operation::Open { path, flags, mode } => {
                let mut how = OpenOptions::new();
                how.read(flags.read).write(flags.write).append(flags.append).mode(mode.unwrap_or(0o666));
                // the standard library takes care of combinations that open(2) allows
                let mut bits = 0o4000;
                for (set, bit) in [(flags.create, 0o100), (flags.exclusive, 0o200), (flags.truncate, 0o1000)] {
                    bits |= if set { bit } else { 0 };
                }
                let file = how.custom_flags(bits).open(self.path(&path)?)?;
                self.opened(Open::File(file, flags.append))
            }
            Operation::OpenDir { path } => {
                let path = fs::canonicalize(self.path(&path)?)?;
                let entries = entries(&path)?;
                self.opened(Open::Directory(path, entries))
            }
            Operation::ReadDir { handle, again } => match self.open.get_mut(&handle.0) {
                Some(Open::Directory(path, names)) => {
                    if again {
                        *names = entries(path)?;
                    }
                    Ok(Answer::Entries(names.drain(..names.len().min(100)).collect()))
                }
                _ => Err(io::Error::from_raw_os_error(9)),
            },
            Operation::Read { handle, offset, length } => {
                let mut bytes = vec![0; length as usize];
                let mut file = self.file(handle)?;
                let mut got = 0;
                while got < bytes.len() {
                    match file.read_at(&mut bytes[got..], offset + got as u64) {
                        Ok(0) => break,
                        Ok(more) => got += more,
                        Err(error) if error.raw_os_error() == Some(29) => {
                            got += file.read(&mut bytes[got..])?;
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
                bytes.truncate(got);
                Ok(Answer::Bytes(bytes.into()))
            }
            Operation::Write { handle, offset, bytes } => {
                let append = matches!(self.open.get(&handle.0), Some(Open::File(_, true)));
                let mut file = self.file(handle)?;
                if append {
                    file.seek(io::SeekFrom::End(0))?;
                    file.write_all(&bytes)?;
                } else {
                    file.write_all_at(&bytes, offset)?;
                }
                Ok(Answer::Done)
            }
            Operation::Close { handle } => {
                self.open.remove(&handle.0).map(|_| Answer::Done).ok_or(io::Error::from_raw_os_error(9))
            }
            Operation::Stat { path } => Ok(Answer::Attributes(attributes(&fs::metadata(self.path(&path)?)?))),
            Operation::Lstat { path } => Ok(Answer::Attributes(attributes(&fs::symlink_metadata(self.path(&path)?)?))),
            Operation::Fstat { handle } => match self.open.get(&handle.0) {
                Some(Open::File(file, _)) => Ok(Answer::Attributes(attributes(&file.metadata()?))),
                Some(Open::Directory(path, _)) => Ok(Answer::Attributes(attributes(&fs::metadata(path)?))),
                None => Err(io::Error::from_raw_os_error(9)),
            },
            Operation::SetStat { path, attributes } => change(&self.path(&path)?, &attributes, true),
            Operation::LsetStat { path, attributes } => change(&self.path(&path)?, &attributes, false),
            Operation::FsetStat { handle, attributes } => {
                let file = self.file(handle)?;
                if let Some(size) = attributes.size {
                    file.set_len(size)?;
                }
                let rest = Attributes { size: None, ..attributes };
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
                change(Path::new(&path), &rest, true)
            }
            Operation::Remove { path } => fs::remove_file(self.path(&path)?).map(|()| Answer::Done),
            Operation::MakeDir { path, mode } => {
                fs::DirBuilder::new().mode(mode).create(self.path(&path)?).map(|()| Answer::Done)
            }
            Operation::RemoveDir { path } => fs::remove_dir(self.path(&path)?).map(|()| Answer::Done),
            Operation::RealPath { path } => self.real_path(&path),
            Operation::ExpandPath { path } => match path.strip_prefix(b"~") {
                None => self.real_path(&path),
                Some(rest) if rest.is_empty() || rest[0] == b'/' => {
                    let mut expanded = self.home.as_os_str().as_bytes().to_vec();
                    expanded.extend(rest);
                    self.real_path(&expanded)
                }
                Some(_) => Err(io::Error::from_raw_os_error(2)),
            },
            Operation::Rename { from, to, replace } => {
                let to = self.path(&to)?;
                if !replace && to.symlink_metadata().is_ok() {
                    return Err(io::Error::from_raw_os_error(17));
                }
                fs::rename(self.path(&from)?, to).map(|()| Answer::Done)
            }
            Operation::ReadLink { path } => {
                Ok(Answer::Path(fs::read_link(self.path(&path)?)?.into_os_string().into_vec()))
            }
            Operation::Symlink { target, path } => {
                std::os::unix::fs::symlink(OsStr::from_bytes(&target), self.path(&path)?).map(|()| Answer::Done)
            }
            Operation::Link { from, to } => fs::hard_link(self.path(&from)?, self.path(&to)?).map(|()| Answer::Done),
            Operation::Fsync { handle } => self.file(handle)?.sync_all().map(|()| Answer::Done),
            Operation::FileSystem { path } => figures(rustix::fs::statvfs(&self.path(&path)?)?),
            Operation::Copy { handle, offset, length, to, to_offset } => {
                let mut bytes = vec![0; usize::try_from(length).unwrap()];
                let copied = self.file(handle)?.read_at(&mut bytes, offset)?;
                self.file(to)?.write_all_at(&bytes[..copied], to_offset)?;
                Ok(Answer::Copied(copied as u64))
            }
            Operation::HomeDirectory { user } => match &user[..] {
                b"ada" => Ok(Answer::Path(self.home.as_os_str().as_bytes().to_vec())),
                _ => Err(io::Error::from_raw_os_error(2)),
            },
            Operation::NamesOf { users, groups } => {
                let name = |letter: char| move |number: &u32| format!("{letter}{number}").into_bytes();
                Ok(Answer::Names(users.iter().map(name('u')).chain(groups.iter().map(name('g'))).collect()))
            }
            Operation::MostOpen { wanted } => Ok(Answer::MostOpen(wanted)),
            Operation::FileSystemOf { handle } => figures(rustix::fs::fstatvfs(self.file(handle)?)?),
        }
    }

    fn path(&self, path: &[u8]) -> io::Result<PathBuf> {
        if path.is_empty() {
            return Err(io::Error::from_raw_os_error(2));
        }
        if path.windows(9).any(|part| part == b"forbidden") {
            return Err(io::Error::from_raw_os_error(13));
        }
        Ok(self.home.join(OsStr::from_bytes(path)))
    }

    fn real_path(&self, path: &[u8]) -> io::Result<Answer> {
        let path = self.path(path)?;
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(_) => {
                let name = path.file_name().ok_or(io::Error::from_raw_os_error(2))?;
                path.parent().ok_or(io::Error::from_raw_os_error(2))?.canonicalize()?.join(name)
            }
        };
        Ok(Answer::Path(real.into_os_string().into_vec()))
    }

    fn opened(&mut self, open: Open) -> io::Result<Answer> {
        let real_path = match &open {
            Open::File(file, _) => {
                fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)))?.into_os_string()
            }
            Open::Directory(path, _) => path.clone().into_os_string(),
        };
        self.last += 1;
        self.open.insert(self.last, open);
        Ok(Answer::Opened(Opened { handle: Handle(self.last), real_path: real_path.into_vec() }))
    }

    fn file(&self, handle: Handle) -> io::Result<&File> {
        match self.open.get(&handle.0) {
            Some(Open::File(file, _)) => Ok(file),
            _ => Err(io::Error::from_raw_os_error(9)),
        }
    }
}

fn change(path: &Path, wanted: &Attributes, follow: bool) -> io::Result<Answer> {
    if let Some(size) = wanted.size {
        OpenOptions::new().write(true).open(path)?.set_len(size)?;
    }
    if let Some(mode) = wanted.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    if let Some((accessed, modified)) = wanted.times {
        let spec = |seconds: u64| rustix::fs::Timespec { tv_sec: i64::try_from(seconds).unwrap(), tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: spec(accessed), last_modification: spec(modified) };
        let flags = if follow { rustix::fs::AtFlags::empty() } else { rustix::fs::AtFlags::SYMLINK_NOFOLLOW };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags)?;
    }
    if let Some((user, group)) = wanted.owner {
        match follow {
            true => std::os::unix::fs::chown(path, Some(user), Some(group))?,
            false => std::os::unix::fs::lchown(path, Some(user), Some(group))?,
        }
    }
    Ok(Answer::Done)
}

fn entries(directory: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = vec![entry(b".", directory)?, entry(b"..", &directory.join(".."))?];
    for found in fs::read_dir(directory)? {
        let found = found?;
        entries.push(entry(found.file_name().as_bytes(), &found.path())?);
    }
    Ok(entries)
}

fn entry(name: &[u8], path: &Path) -> io::Result<Entry> {
    let found = fs::symlink_metadata(path)?;
    Ok(Entry {
        name: name.to_vec(),
        attributes: attributes(&found),
        links: u32::try_from(found.nlink()).unwrap(),
        owner_names: ("ada".to_owned(), "staff".to_owned()),
    })
}

fn attributes(found: &Metadata) -> Attributes {
    let seconds = |seconds: i64| u64::try_from(seconds).unwrap_or_default();
    Attributes {
        size: Some(found.len()),
        owner: Some((found.uid(), found.gid())),
        mode: Some(found.mode()),
        times: Some((seconds(found.atime()), seconds(found.mtime()))),
    }
}

fn figures(found: rustix::fs::StatVfs) -> io::Result<Answer> {
    let fields = [
        found.f_bsize,
        found.f_frsize,
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        found.f_favail,
        found.f_fsid,
        found.f_flag.bits(),
        found.f_namemax,
    ];
    Ok(Answer::FileSystem(FileSystem { fields }))
}
