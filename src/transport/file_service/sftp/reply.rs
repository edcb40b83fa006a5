//! What an SFTP server answers, to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::operation::{Attributes, FileSystem};
use super::packet::{ATTR_ACMODTIME, ATTR_PERMISSIONS, ATTR_SIZE, ATTR_UIDGID};

/// One packet to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are named as in the draft")]
pub enum Reply {
    /// `SSH_FXP_VERSION`: the version, and extensions with their versions.
    Version {
        version: u32,
        extensions: Vec<(Bytes, Bytes)>,
    },
    Status(Status),
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<Name>),
    Attributes(Attributes),
    FileSystem(FileSystem),
    Limits(Limits),
    /// Names of users, names of groups.
    NamesOf(Vec<Vec<u8>>, Vec<Vec<u8>>),
}

/// The answer to `limits@openssh.com` (OpenSSH's `PROTOCOL`, section 4.8); 0 is no statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The longest packet, in bytes, as the next two.
    pub packet: u64,
    /// The longest read.
    pub read: u64,
    /// The longest write.
    pub write: u64,
    /// How many files can be open.
    pub open: u64,
}

/// A name in a directory, or the one name that answers `REALPATH` and `READLINK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its bytes.
    pub name: Vec<u8>,
    /// A line as `ls -l` prints it.
    pub long_name: Vec<u8>,
    /// As `lstat` sees it.
    pub attributes: Attributes,
}

/// A status code (the draft's section 7) and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// One of the constants below.
    pub code: u32,
    /// In words.
    pub message: String,
}

impl Reply {
    /// The version that is spoken, with all extensions.
    pub fn version() -> Self {
        let extensions =
            EXTENSIONS.iter().map(|(name, value)| (Bytes::from_static(name), Bytes::from_static(value))).collect();
        Self::Version { version: PROTOCOL_VERSION, extensions }
    }

    /// The version, where nothing is offered.
    pub fn version_alone() -> Self {
        Self::Version { version: PROTOCOL_VERSION, extensions: Vec::new() }
    }

    /// Appends the packet that answers request `id`.
    pub fn put(&self, id: u32, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32(0);
        match self {
            Self::Version { version, extensions } => {
                out.put_u8(VERSION);
                out.put_u32(*version);
                for (name, value) in extensions {
                    put_string(out, name);
                    put_string(out, value);
                }
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
                put_string(out, handle);
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
            Self::Limits(limits) => {
                out.put_u8(EXTENDED_REPLY);
                out.put_u32(id);
                for number in [limits.packet, limits.read, limits.write, limits.open] {
                    out.put_u64(number);
                }
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
    pub fn path(path: Vec<u8>) -> Self {
        Self::Names(vec![Name { long_name: path.clone(), name: path, attributes: Attributes::default() }])
    }
}

impl Status {
    /// Done.
    pub fn ok() -> Self {
        Self { code: OK, message: "Success".to_owned() }
    }

    /// There is no more.
    pub fn end_of_file() -> Self {
        Self { code: EOF, message: "End of file".to_owned() }
    }

    /// Permission denied.
    pub fn denied(message: &str) -> Self {
        Self { code: PERMISSION_DENIED, message: message.to_owned() }
    }

    /// There is no such file.
    pub fn no_such_file(message: &str) -> Self {
        Self { code: NO_SUCH_FILE, message: message.to_owned() }
    }

    /// It has failed.
    pub fn failure(message: &str) -> Self {
        Self { code: FAILURE, message: message.to_owned() }
    }

    /// It is malformed.
    pub fn bad_message(message: &str) -> Self {
        Self { code: BAD_MESSAGE, message: message.to_owned() }
    }

    /// There is no such operation.
    pub fn unsupported() -> Self {
        Self { code: OP_UNSUPPORTED, message: "Operation unsupported".to_owned() }
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

pub(super) fn put_string(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

/// The extensions that are spoken, with the versions OpenSSH gives (its `PROTOCOL`, sections 4.2 to 4.12).
pub const EXTENSIONS: [(&[u8], &[u8]); 11] = [
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
pub const PROTOCOL_VERSION: u32 = 3;

// the types of replies (the draft, sections 3 and 7)
pub(super) const VERSION: u8 = 2;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED_REPLY: u8 = 201;

// status codes (the draft, section 7)
/// Done.
pub const OK: u32 = 0;
/// The end of the file or directory.
pub const EOF: u32 = 1;
/// No such file.
pub const NO_SUCH_FILE: u32 = 2;
/// Permission denied.
pub const PERMISSION_DENIED: u32 = 3;
/// Any other failure.
pub const FAILURE: u32 = 4;
/// A malformed request.
pub const BAD_MESSAGE: u32 = 5;
/// No such operation.
pub const OP_UNSUPPORTED: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_packet_is_what_openssh_expects() {
        let mut out = BytesMut::new();
        Reply::version().put(0, &mut out);
        assert_eq!(u32::from_be_bytes(out[..4].try_into().unwrap()) as usize, out.len() - 4);
        assert_eq!(&out[4..9], [2, 0, 0, 0, 3]);
        assert_eq!(&out[9..37], b"\0\0\0\x18posix-rename@openssh.com");
    }
}
