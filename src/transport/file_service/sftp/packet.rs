//! What an SFTP client asks, from bytes.
//!
//! ```text
//!   u32 length | u8 type | u32 id | fields: u32, u64, string (u32 length, bytes), attributes
//! ```
//!
//! As in `draft-ietf-secsh-filexfer-02`, section 3. Lengths are checked before anything is taken; bytes that follow the last known field are ignored, as OpenSSH does.

use bytes::{Buf, Bytes, BytesMut};

use super::super::operation::{Attributes, OpenFlags};

/// The largest packet, without its length field, either side may send: OpenSSH's own limit. The draft (section 3) asks for
/// 34,000 bytes at least.
pub const LARGEST_PACKET: usize = 256 * 1024;
/// The longest read and write: OpenSSH's own, a packet less 1 KiB.
pub const LARGEST_DATA: u32 = 255 * 1024;

/// One packet from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `SSH_FXP_INIT`: the version the client speaks, then extensions, which none does.
    Init {
        /// At least 3 from everyone in use.
        version: u32,
    },
    /// Everything else.
    Request {
        /// Comes back in the reply.
        id: u32,
        /// What is asked.
        request: Request,
    },
}

/// What a client asks for; named as in the draft, section 6, and in OpenSSH's `PROTOCOL`, section 4.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as in the draft")]
pub enum Request {
    Open {
        path: Vec<u8>,
        flags: OpenFlags,
        attributes: Attributes,
    },
    Close {
        handle: Bytes,
    },
    Read {
        handle: Bytes,
        offset: u64,
        length: u32,
    },
    Write {
        handle: Bytes,
        offset: u64,
        data: Bytes,
    },
    Lstat {
        path: Vec<u8>,
    },
    Fstat {
        handle: Bytes,
    },
    SetStat {
        path: Vec<u8>,
        attributes: Attributes,
    },
    FsetStat {
        handle: Bytes,
        attributes: Attributes,
    },
    OpenDir {
        path: Vec<u8>,
    },
    ReadDir {
        handle: Bytes,
    },
    Remove {
        path: Vec<u8>,
    },
    MakeDir {
        path: Vec<u8>,
        attributes: Attributes,
    },
    RemoveDir {
        path: Vec<u8>,
    },
    RealPath {
        path: Vec<u8>,
    },
    Stat {
        path: Vec<u8>,
    },
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    ReadLink {
        path: Vec<u8>,
    },
    /// The target comes first: OpenSSH's order (its `PROTOCOL`, section 4.1), which everyone follows, and not the draft's.
    Symlink {
        target: Vec<u8>,
        path: Vec<u8>,
    },
    PosixRename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    StatVfs {
        path: Vec<u8>,
    },
    FstatVfs {
        handle: Bytes,
    },
    HardLink {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Fsync {
        handle: Bytes,
    },
    LsetStat {
        path: Vec<u8>,
        attributes: Attributes,
    },
    Limits,
    ExpandPath {
        path: Vec<u8>,
    },
    /// `copy-data`: `length` 0 is to the end of the file.
    CopyData {
        from: Bytes,
        offset: u64,
        length: u64,
        to: Bytes,
        to_offset: u64,
    },
    HomeDirectory {
        user: Vec<u8>,
    },
    NamesOf {
        users: Vec<u32>,
        groups: Vec<u32>,
    },
    /// A type or an extension this server has not heard of.
    Unknown,
}

/// Bytes that are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The request's id, where that could be read: it can be answered.
    pub id: Option<u32>,
    /// What is wrong.
    pub what: &'static str,
}

/// Takes the next packet, without its length field, off the front of what has been received; `None` if it is not all
/// there yet.
pub fn next_frame(received: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
    let Some(length) = received.first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length == 0 || length > LARGEST_PACKET {
        return Err(Malformed { id: None, what: "a packet length beyond 1 to 262144" });
    }
    if received.len() < 4 + length {
        received.reserve(4 + length - received.len());
        return Ok(None);
    }
    received.advance(4);
    Ok(Some(received.split_to(length).freeze()))
}

/// Decodes one packet, given without its length field.
pub fn decode(mut packet: Bytes) -> Result<Packet, Malformed> {
    let kind = packet.try_get_u8().map_err(|_| Malformed { id: None, what: "an empty packet" })?;
    let number = packet.try_get_u32().map_err(|_| Malformed { id: None, what: "a packet without an id" })?;
    if kind == INIT {
        return Ok(Packet::Init { version: number });
    }
    let request = Fields(packet).request(kind).map_err(|what| Malformed { id: Some(number), what })?;
    Ok(Packet::Request { id: number, request })
}

/// The fields of a packet, one after the other.
pub(super) struct Fields(pub(super) Bytes);

impl Fields {
    fn request(&mut self, kind: u8) -> Result<Request, &'static str> {
        Ok(match kind {
            OPEN => Request::Open { path: self.path()?, flags: self.open_flags()?, attributes: self.attributes()? },
            CLOSE => Request::Close { handle: self.string()? },
            READ => Request::Read { handle: self.string()?, offset: self.u64()?, length: self.u32()? },
            WRITE => Request::Write { handle: self.string()?, offset: self.u64()?, data: self.string()? },
            LSTAT => Request::Lstat { path: self.path()? },
            FSTAT => Request::Fstat { handle: self.string()? },
            SETSTAT => Request::SetStat { path: self.path()?, attributes: self.attributes()? },
            FSETSTAT => Request::FsetStat { handle: self.string()?, attributes: self.attributes()? },
            OPENDIR => Request::OpenDir { path: self.path()? },
            READDIR => Request::ReadDir { handle: self.string()? },
            REMOVE => Request::Remove { path: self.path()? },
            MKDIR => Request::MakeDir { path: self.path()?, attributes: self.attributes()? },
            RMDIR => Request::RemoveDir { path: self.path()? },
            REALPATH => Request::RealPath { path: self.path()? },
            STAT => Request::Stat { path: self.path()? },
            RENAME => Request::Rename { from: self.path()?, to: self.path()? },
            READLINK => Request::ReadLink { path: self.path()? },
            SYMLINK => Request::Symlink { target: self.path()?, path: self.path()? },
            EXTENDED => self.extended()?,
            _ => Request::Unknown,
        })
    }

    fn extended(&mut self) -> Result<Request, &'static str> {
        let name = self.string()?;
        Ok(match &name[..] {
            b"posix-rename@openssh.com" => Request::PosixRename { from: self.path()?, to: self.path()? },
            b"statvfs@openssh.com" => Request::StatVfs { path: self.path()? },
            b"fstatvfs@openssh.com" => Request::FstatVfs { handle: self.string()? },
            b"hardlink@openssh.com" => Request::HardLink { from: self.path()?, to: self.path()? },
            b"fsync@openssh.com" => Request::Fsync { handle: self.string()? },
            b"lsetstat@openssh.com" => Request::LsetStat { path: self.path()?, attributes: self.attributes()? },
            b"limits@openssh.com" => Request::Limits,
            b"expand-path@openssh.com" => Request::ExpandPath { path: self.path()? },
            b"copy-data" => Request::CopyData {
                from: self.string()?,
                offset: self.u64()?,
                length: self.u64()?,
                to: self.string()?,
                to_offset: self.u64()?,
            },
            b"home-directory" => Request::HomeDirectory { user: self.path()? },
            b"users-groups-by-id@openssh.com" => Request::NamesOf { users: self.numbers()?, groups: self.numbers()? },
            _ => Request::Unknown,
        })
    }

    pub(super) fn u32(&mut self) -> Result<u32, &'static str> {
        self.0.try_get_u32().map_err(|_| "a packet that ends within a number")
    }

    pub(super) fn u64(&mut self) -> Result<u64, &'static str> {
        self.0.try_get_u64().map_err(|_| "a packet that ends within a number")
    }

    pub(super) fn string(&mut self) -> Result<Bytes, &'static str> {
        let length = self.u32()? as usize;
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err("a string that is longer than its packet"),
        }
    }

    pub(super) fn path(&mut self) -> Result<Vec<u8>, &'static str> {
        Ok(self.string()?.to_vec())
    }

    fn numbers(&mut self) -> Result<Vec<u32>, &'static str> {
        let mut inner = Fields(self.string()?);
        let mut numbers = Vec::with_capacity(inner.0.len() / 4);
        while !inner.0.is_empty() {
            numbers.push(inner.u32()?);
        }
        Ok(numbers)
    }

    fn open_flags(&mut self) -> Result<OpenFlags, &'static str> {
        let bits = self.u32()?;
        let has = |bit| bits & bit != 0;
        Ok(OpenFlags {
            read: has(FXF_READ),
            write: has(FXF_WRITE),
            append: has(FXF_APPEND),
            create: has(FXF_CREAT),
            truncate: has(FXF_TRUNC),
            exclusive: has(FXF_EXCL),
        })
    }

    pub(super) fn attributes(&mut self) -> Result<Attributes, &'static str> {
        let flags = self.u32()?;
        let has = |bit| flags & bit != 0;
        let attributes = Attributes {
            size: has(ATTR_SIZE).then(|| self.u64()).transpose()?,
            owner: has(ATTR_UIDGID).then(|| Ok::<_, &str>((self.u32()?, self.u32()?))).transpose()?,
            mode: has(ATTR_PERMISSIONS).then(|| self.u32()).transpose()?,
            times: has(ATTR_ACMODTIME)
                .then(|| Ok::<_, &str>((u64::from(self.u32()?), u64::from(self.u32()?))))
                .transpose()?,
        };
        if has(ATTR_EXTENDED) {
            // each pair takes at least eight bytes, so the packet's end stops a huge count
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attributes)
    }
}

// the types of packets (the draft, section 3)
pub(super) const INIT: u8 = 1;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const EXTENDED: u8 = 200;

// how a file is opened (the draft, section 6.3)
pub(super) const FXF_READ: u32 = 0x01;
pub(super) const FXF_WRITE: u32 = 0x02;
pub(super) const FXF_APPEND: u32 = 0x04;
pub(super) const FXF_CREAT: u32 = 0x08;
pub(super) const FXF_TRUNC: u32 = 0x10;
pub(super) const FXF_EXCL: u32 = 0x20;

// which attributes follow (the draft, section 5)
pub(super) const ATTR_SIZE: u32 = 0x01;
pub(super) const ATTR_UIDGID: u32 = 0x02;
pub(super) const ATTR_PERMISSIONS: u32 = 0x04;
pub(super) const ATTR_ACMODTIME: u32 = 0x08;
const ATTR_EXTENDED: u32 = 0x8000_0000;

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::super::encode::encode;
    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..64).prop_map(Bytes::from)
    }

    fn path() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..64)
    }

    pub(in super::super) fn attributes() -> impl Strategy<Value = Attributes> {
        let time = || any::<u32>().prop_map(u64::from);
        (
            option::of(any::<u64>()),
            option::of(any::<(u32, u32)>()),
            option::of(any::<u32>()),
            option::of((time(), time())),
        )
            .prop_map(|(size, owner, mode, times)| Attributes { size, owner, mode, times })
    }

    fn flags() -> impl Strategy<Value = OpenFlags> {
        any::<[bool; 6]>().prop_map(|[read, write, append, create, truncate, exclusive]| OpenFlags {
            read,
            write,
            append,
            create,
            truncate,
            exclusive,
        })
    }

    fn request() -> impl Strategy<Value = Request> {
        let on_path = (path(), attributes(), 0..11_u8).prop_map(|(path, attributes, which)| match which {
            0 => Request::Lstat { path },
            1 => Request::SetStat { path, attributes },
            2 => Request::OpenDir { path },
            3 => Request::Remove { path },
            4 => Request::MakeDir { path, attributes },
            5 => Request::RemoveDir { path },
            6 => Request::RealPath { path },
            7 => Request::Stat { path },
            8 => Request::ReadLink { path },
            9 => Request::LsetStat { path, attributes },
            _ => Request::ExpandPath { path },
        });
        let on_handle = (bytes(), attributes(), 0..6_u8).prop_map(|(handle, attributes, which)| match which {
            0 => Request::Close { handle },
            1 => Request::Fstat { handle },
            2 => Request::FsetStat { handle, attributes },
            3 => Request::ReadDir { handle },
            4 => Request::FstatVfs { handle },
            _ => Request::Fsync { handle },
        });
        let on_two = (path(), path(), 0..5_u8).prop_map(|(from, to, which)| match which {
            0 => Request::Rename { from, to },
            1 => Request::Symlink { target: from, path: to },
            2 => Request::PosixRename { from, to },
            3 => Request::HardLink { from, to },
            _ => Request::StatVfs { path: from },
        });
        prop_oneof![
            on_path,
            on_handle,
            on_two,
            (path(), flags(), attributes()).prop_map(|(path, flags, attributes)| Request::Open {
                path,
                flags,
                attributes
            }),
            (bytes(), any::<u64>(), any::<u32>()).prop_map(|(handle, offset, length)| Request::Read {
                handle,
                offset,
                length
            }),
            (bytes(), any::<u64>(), bytes()).prop_map(|(handle, offset, data)| Request::Write { handle, offset, data }),
            (bytes(), any::<[u64; 3]>(), bytes()).prop_map(|(from, [offset, length, to_offset], to)| {
                Request::CopyData { from, offset, length, to, to_offset }
            }),
            path().prop_map(|user| Request::HomeDirectory { user }),
            (vec(any::<u32>(), 0..9), vec(any::<u32>(), 0..9))
                .prop_map(|(users, groups)| Request::NamesOf { users, groups }),
            Just(Request::Limits),
            Just(Request::Unknown),
        ]
    }

    proptest! {
        #[test]
        fn every_request_survives_its_encoding(id: u32, request in request()) {
            let packet = Packet::Request { id, request };
            let mut encoded = encode(&packet);
            let frame = next_frame(&mut encoded).unwrap().unwrap();
            prop_assert!(encoded.is_empty());
            prop_assert_eq!(decode(frame).unwrap(), packet);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(kind in prop_oneof![0..=20_u8, Just(200), any::<u8>()], rest: Vec<u8>) {
            let packet: Bytes = std::iter::once(kind).chain(rest).collect();
            let _ = decode(packet);
        }

        #[test]
        fn a_request_cut_short_is_malformed_or_means_less(id: u32, request in request(), cut: prop::sample::Index) {
            let mut encoded = encode(&Packet::Request { id, request });
            let frame = next_frame(&mut encoded).unwrap().unwrap();
            let _ = decode(frame.slice(..cut.index(frame.len())));
        }
    }

    #[test]
    fn frames_come_whole_or_not_at_all() {
        let packet = Packet::Request { id: 7, request: Request::Stat { path: b"/etc".to_vec() } };
        let whole = encode(&packet);
        for cut in 0..whole.len() {
            assert_eq!(next_frame(&mut BytesMut::from(&whole[..cut])), Ok(None));
        }
        for length in [0, u32::try_from(LARGEST_PACKET).unwrap() + 1, u32::MAX] {
            assert!(next_frame(&mut BytesMut::from(&length.to_be_bytes()[..])).is_err());
        }
    }

    #[test]
    fn a_string_longer_than_its_packet_names_the_request_it_spoils() {
        let packet = Bytes::from_static(&[STAT, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, b'x']);
        assert_eq!(decode(packet).unwrap_err().id, Some(9));
    }
}
