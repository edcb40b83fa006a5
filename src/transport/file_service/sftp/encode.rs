//! What an SFTP client asks, to bytes.

use bytes::{BufMut, BytesMut};

use super::packet::*;
use super::reply::{put_attributes, put_string};

/// Appends a packet.
pub fn put(packet: &Packet, out: &mut BytesMut) {
    let start = out.len();
    // the length, which is known at the end
    out.put_u32(0);
    match packet {
        Packet::Init { version } => {
            out.put_u8(INIT);
            out.put_u32(*version);
        }
        Packet::Request { id, request } => put_request(out, *id, request),
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A packet alone.
pub fn encode(packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    put(packet, &mut out);
    out
}

fn put_request(out: &mut BytesMut, id: u32, request: &Request) {
    let mut start = |kind: u8, extension: &str, strings: &[&[u8]]| {
        out.put_u8(kind);
        out.put_u32(id);
        if kind == EXTENDED {
            put_string(out, extension.as_bytes());
        }
        for string in strings {
            put_string(out, string);
        }
    };
    match request {
        Request::Open { path, flags, attributes } => {
            start(OPEN, "", &[path]);
            let bit = |set, bit| if set { bit } else { 0 };
            out.put_u32(
                bit(flags.read, FXF_READ)
                    | bit(flags.write, FXF_WRITE)
                    | bit(flags.append, FXF_APPEND)
                    | bit(flags.create, FXF_CREAT)
                    | bit(flags.truncate, FXF_TRUNC)
                    | bit(flags.exclusive, FXF_EXCL),
            );
            put_attributes(out, attributes);
        }
        Request::Close { handle } => start(CLOSE, "", &[handle]),
        Request::Read { handle, offset, length } => {
            start(READ, "", &[handle]);
            out.put_u64(*offset);
            out.put_u32(*length);
        }
        Request::Write { handle, offset, data } => {
            start(WRITE, "", &[handle]);
            out.put_u64(*offset);
            put_string(out, data);
        }
        Request::Lstat { path } => start(LSTAT, "", &[path]),
        Request::Fstat { handle } => start(FSTAT, "", &[handle]),
        Request::SetStat { path, attributes } => {
            start(SETSTAT, "", &[path]);
            put_attributes(out, attributes);
        }
        Request::FsetStat { handle, attributes } => {
            start(FSETSTAT, "", &[handle]);
            put_attributes(out, attributes);
        }
        Request::OpenDir { path } => start(OPENDIR, "", &[path]),
        Request::ReadDir { handle } => start(READDIR, "", &[handle]),
        Request::Remove { path } => start(REMOVE, "", &[path]),
        Request::MakeDir { path, attributes } => {
            start(MKDIR, "", &[path]);
            put_attributes(out, attributes);
        }
        Request::RemoveDir { path } => start(RMDIR, "", &[path]),
        Request::RealPath { path } => start(REALPATH, "", &[path]),
        Request::Stat { path } => start(STAT, "", &[path]),
        Request::Rename { from, to } => start(RENAME, "", &[from, to]),
        Request::ReadLink { path } => start(READLINK, "", &[path]),
        Request::Symlink { target, path } => start(SYMLINK, "", &[target, path]),
        Request::PosixRename { from, to } => start(EXTENDED, "posix-rename@openssh.com", &[from, to]),
        Request::StatVfs { path } => start(EXTENDED, "statvfs@openssh.com", &[path]),
        Request::FstatVfs { handle } => start(EXTENDED, "fstatvfs@openssh.com", &[handle]),
        Request::HardLink { from, to } => start(EXTENDED, "hardlink@openssh.com", &[from, to]),
        Request::Fsync { handle } => start(EXTENDED, "fsync@openssh.com", &[handle]),
        Request::LsetStat { path, attributes } => {
            start(EXTENDED, "lsetstat@openssh.com", &[path]);
            put_attributes(out, attributes);
        }
        Request::Limits => start(EXTENDED, "limits@openssh.com", &[]),
        Request::ExpandPath { path } => start(EXTENDED, "expand-path@openssh.com", &[path]),
        Request::CopyData { from, offset, length, to, to_offset } => {
            start(EXTENDED, "copy-data", &[from]);
            out.put_u64(*offset);
            out.put_u64(*length);
            put_string(out, to);
            out.put_u64(*to_offset);
        }
        Request::HomeDirectory { user } => start(EXTENDED, "home-directory", &[user]),
        Request::NamesOf { users, groups } => {
            let [users, groups] =
                [users, groups].map(|list| list.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>());
            start(EXTENDED, "users-groups-by-id@openssh.com", &[&users, &groups]);
        }
        Request::Unknown => start(EXTENDED, "unheard-of@example.com", &[b"argument"]),
    }
}
