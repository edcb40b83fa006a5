//! What the server sends, to bytes; and what a refusal is called in SFTP.

use bytes::{BufMut, Bytes, BytesMut};

use super::packet::{ATTR_ACMODTIME, ATTR_PERMISSIONS, ATTR_SIZE, ATTR_UIDGID};
use crate::files::access::Refusal;
use crate::files::errno::{EACCES, EBADF, EFAULT, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOSYS, ENOTDIR, EPERM};
use crate::transport::file_service::{Attributes, FileSystem};

/// One packet to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Version,
    /// The version, where nothing is offered.
    RefusingVersion,
    Status(Status),
    Handle(u32),
    Data(Bytes),
    Names(Vec<Name>),
    Attributes(Attributes),
    FileSystem(FileSystem),
    Limits {
        /// How many files can be open.
        open: u32,
    },
    /// Names of users, names of groups.
    NamesOf(Vec<Vec<u8>>, Vec<Vec<u8>>),
}

/// A name in a directory, or the one name that answers `REALPATH` and `READLINK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: Vec<u8>,
    pub(super) long_name: Vec<u8>,
    pub(super) attributes: Attributes,
}

/// A status code (the draft's section 7) and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: String,
}

/// The longest read and write the server takes: OpenSSH's own, a packet less 1 KiB.
pub(super) const LARGEST_DATA: u32 = 255 * 1024;
/// How many files a client may have open where its node can, which it learns by `limits@openssh.com`. Each is a descriptor on
/// the node, for the `sh` helper a process, and here its paths and what is counted of it: a few kilobytes, and what is read
/// ahead has one room for all of them.
pub(super) const MOST_HANDLES: u32 = 4096;

impl Reply {
    /// Appends the packet that answers request `id`.
    pub(super) fn put(&self, id: u32, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32(0);
        match self {
            Self::Version => {
                out.put_u8(VERSION);
                out.put_u32(PROTOCOL_VERSION);
                for (name, value) in EXTENSIONS {
                    put_string(out, name);
                    put_string(out, value);
                }
            }
            Self::RefusingVersion => {
                out.put_u8(VERSION);
                out.put_u32(PROTOCOL_VERSION);
            }
            Self::Status(status) => {
                out.put_u8(STATUS);
                out.put_u32(id);
                out.put_u32(status.code);
                put_string(out, status.message.as_bytes());
                put_string(out, b"");
            }
            Self::Handle(handle) => {
                out.put_u8(HANDLE);
                out.put_u32(id);
                put_string(out, &handle.to_be_bytes());
            }
            Self::Data(data) => {
                out.put_u8(DATA);
                out.put_u32(id);
                put_string(out, data);
            }
            Self::Names(names) => {
                out.put_u8(NAME);
                out.put_u32(id);
                out.put_u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
                for name in names {
                    put_string(out, &name.name);
                    put_string(out, &name.long_name);
                    put_attributes(out, &name.attributes);
                }
            }
            Self::Attributes(attributes) => {
                out.put_u8(ATTRS);
                out.put_u32(id);
                put_attributes(out, attributes);
            }
            Self::FileSystem(figures) => {
                out.put_u8(EXTENDED_REPLY);
                out.put_u32(id);
                for field in figures.fields {
                    out.put_u64(field);
                }
            }
            Self::Limits { open } => {
                out.put_u8(EXTENDED_REPLY);
                out.put_u32(id);
                out.put_u64(super::packet::LARGEST_PACKET as u64);
                out.put_u64(u64::from(LARGEST_DATA));
                out.put_u64(u64::from(LARGEST_DATA));
                out.put_u64(u64::from(*open));
            }
            Self::NamesOf(users, groups) => {
                out.put_u8(EXTENDED_REPLY);
                out.put_u32(id);
                for names in [users, groups] {
                    let mut list = BytesMut::new();
                    names.iter().for_each(|name| put_string(&mut list, name));
                    put_string(out, &list);
                }
            }
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// An answer of one path.
    pub(super) fn path(path: Vec<u8>) -> Self {
        Self::Names(vec![Name { long_name: path.clone(), name: path, attributes: Attributes::default() }])
    }
}

impl Status {
    pub(super) fn ok() -> Self {
        Self { code: OK, message: "Success".to_owned() }
    }

    pub(super) fn end_of_file() -> Self {
        Self { code: EOF, message: "End of file".to_owned() }
    }

    pub(super) fn denied(message: &str) -> Self {
        Self { code: PERMISSION_DENIED, message: message.to_owned() }
    }

    pub(super) fn no_such_file(message: &str) -> Self {
        Self { code: NO_SUCH_FILE, message: message.to_owned() }
    }

    pub(super) fn failure(message: &str) -> Self {
        Self { code: FAILURE, message: message.to_owned() }
    }

    pub(super) fn bad_message(message: &str) -> Self {
        Self { code: BAD_MESSAGE, message: message.to_owned() }
    }

    pub(super) fn unsupported() -> Self {
        Self { code: OP_UNSUPPORTED, message: "Operation unsupported".to_owned() }
    }
}

impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        let (code, message) = match refusal {
            Refusal::Denied(denial) => (PERMISSION_DENIED, format!("Permission denied: {}", denial.text)),
            // errno as in OpenSSH's sftp-server, so that clients react as they do there
            Refusal::Node { errno, message } => match *errno {
                ENOENT | ENOTDIR | EBADF | ELOOP => (NO_SUCH_FILE, message.clone()),
                EPERM | EACCES | EFAULT => (PERMISSION_DENIED, message.clone()),
                ENAMETOOLONG | EINVAL => (BAD_MESSAGE, message.clone()),
                ENOSYS => (OP_UNSUPPORTED, message.clone()),
                _ => (FAILURE, message.clone()),
            },
            Refusal::NodeGone(why) => (FAILURE, format!("the connection to the node's file service was lost: {why}")),
            Refusal::Evidence(why) => (FAILURE, format!("this can't be recorded, so it is not done: {why}")),
        };
        Self { code, message }
    }
}

/// Appends an `ATTRS` structure (the draft's section 5). Its times have 32 bits: of those before 1970 and after 2106 the lower
/// ones are told, as OpenSSH's server does.
pub(super) fn put_attributes(out: &mut BytesMut, attributes: &Attributes) {
    let bit = |set, bit| if set { bit } else { 0 };
    out.put_u32(
        bit(attributes.size.is_some(), ATTR_SIZE)
            | bit(attributes.owner.is_some(), ATTR_UIDGID)
            | bit(attributes.mode.is_some(), ATTR_PERMISSIONS)
            | bit(attributes.times.is_some(), ATTR_ACMODTIME),
    );
    if let Some(size) = attributes.size {
        out.put_u64(size);
    }
    if let Some((user, group)) = attributes.owner {
        out.put_u32(user);
        out.put_u32(group);
    }
    if let Some(mode) = attributes.mode {
        out.put_u32(mode);
    }
    if let Some((accessed, modified)) = attributes.times {
        for time in [accessed, modified] {
            out.put_slice(&time.to_be_bytes()[4..]);
        }
    }
}

fn put_string(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// What the server offers, with the versions OpenSSH gives (its `PROTOCOL`, sections 4.2 to 4.12).
const EXTENSIONS: [(&[u8], &[u8]); 11] = [
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"lsetstat@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"expand-path@openssh.com", b"1"),
    (b"copy-data", b"1"),
    (b"home-directory", b"1"),
    (b"users-groups-by-id@openssh.com", b"1"),
];

/// The version that is spoken (the draft, section 4).
const PROTOCOL_VERSION: u32 = 3;

// the types of replies (the draft, sections 3 and 7)
const VERSION: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

// status codes (the draft, section 7)
const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const OP_UNSUPPORTED: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_called_as_openssh_calls_them() {
        let code = |errno| Status::from(&Refusal::Node { errno, message: "in words".to_owned() }).code;
        assert_eq!(code(ENOENT), NO_SUCH_FILE);
        assert_eq!(code(EACCES), PERMISSION_DENIED);
        let full = Refusal::Node { errno: 28, message: "No space left on device".to_owned() };
        assert_eq!(Status::from(&full), Status::failure("No space left on device"));
        assert_eq!(code(EBADF), NO_SUCH_FILE);
        // EOPNOTSUPP, what a link has no mode by
        assert_eq!(code(95), FAILURE);
    }

    #[test]
    fn the_version_packet_is_what_openssh_expects() {
        let mut out = BytesMut::new();
        Reply::Version.put(0, &mut out);
        assert_eq!(u32::from_be_bytes(out[..4].try_into().unwrap()) as usize, out.len() - 4);
        assert_eq!(&out[4..9], [2, 0, 0, 0, 3]);
        assert_eq!(&out[9..37], b"\0\0\0\x18posix-rename@openssh.com");
    }
}
