//! What an SFTP server answers, from bytes.
//!
//! As requests are read: lengths are checked before anything is taken, and what follows the last known field is ignored. What
//! an extension answers says nothing of its form, so whoever asked says what it was.

use bytes::{Buf as _, Bytes};

use super::super::operation::FileSystem;
use super::packet::{Fields, Malformed};
use super::reply::{ATTRS, DATA, EXTENDED_REPLY, HANDLE, Limits, NAME, Name, Reply, STATUS, Status, VERSION};

/// Which extension was asked, of those that have an answer of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// `statvfs@openssh.com` and `fstatvfs@openssh.com`.
    FileSystem,
    /// `limits@openssh.com`.
    Limits,
    /// `users-groups-by-id@openssh.com`.
    NamesOf,
}

/// Decodes one answer, given without its length field; `asked` says of an id which extension it was. A version has no id: 0.
pub fn decode_reply(mut packet: Bytes, asked: impl FnOnce(u32) -> Option<Extended>) -> Result<(u32, Reply), Malformed> {
    let kind = packet.try_get_u8().map_err(|_| Malformed { id: None, what: "an empty packet" })?;
    let number = packet.try_get_u32().map_err(|_| Malformed { id: None, what: "a packet without an id" })?;
    let mut fields = Fields(packet);
    if kind == VERSION {
        let extensions = fields.pairs().map_err(|what| Malformed { id: None, what })?;
        return Ok((0, Reply::Version { version: number, extensions }));
    }
    let reply = fields.reply(kind, || asked(number)).map_err(|what| Malformed { id: Some(number), what })?;
    Ok((number, reply))
}

impl Fields {
    fn reply(&mut self, kind: u8, asked: impl FnOnce() -> Option<Extended>) -> Result<Reply, &'static str> {
        Ok(match kind {
            STATUS => Reply::Status(self.status()?),
            HANDLE => Reply::Handle(self.string()?),
            DATA => Reply::Data(self.string()?),
            NAME => Reply::Names(self.names()?),
            ATTRS => Reply::Attributes(self.attributes()?),
            EXTENDED_REPLY => match asked() {
                Some(Extended::FileSystem) => {
                    let mut fields = [0; 11];
                    for field in &mut fields {
                        *field = self.u64()?;
                    }
                    Reply::FileSystem(FileSystem { fields })
                }
                Some(Extended::Limits) => Reply::Limits(Limits {
                    packet: self.u64()?,
                    read: self.u64()?,
                    write: self.u64()?,
                    open: self.u64()?,
                }),
                Some(Extended::NamesOf) => Reply::NamesOf(self.texts()?, self.texts()?),
                None => return Err("an extension's answer to what was none"),
            },
            _ => return Err("a packet that is no answer"),
        })
    }

    /// Servers older than the draft send the code alone.
    fn status(&mut self) -> Result<Status, &'static str> {
        let code = self.u32()?;
        let message = if self.0.is_empty() { Bytes::new() } else { self.string()? };
        Ok(Status { code, message: String::from_utf8_lossy(message.get(..MOST_SAID).unwrap_or(&message)).into_owned() })
    }

    fn names(&mut self) -> Result<Vec<Name>, &'static str> {
        let count = self.u32()?;
        if count > MOST_NAMES {
            return Err("more names than one answer can have");
        }
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(Name { name: self.path()?, long_name: self.path()?, attributes: self.attributes()? });
        }
        Ok(names)
    }

    fn texts(&mut self) -> Result<Vec<Vec<u8>>, &'static str> {
        let mut inner = Self(self.string()?);
        let mut texts = Vec::new();
        while !inner.0.is_empty() {
            if texts.len() >= MOST_NAMES as usize {
                return Err("more names than one answer can have");
            }
            texts.push(inner.path()?);
        }
        Ok(texts)
    }

    /// Names and values up to the packet's end.
    fn pairs(&mut self) -> Result<Vec<(Bytes, Bytes)>, &'static str> {
        let mut pairs = Vec::new();
        while !self.0.is_empty() {
            if pairs.len() >= MOST_EXTENSIONS {
                return Err("more extensions than a server can have");
            }
            pairs.push((self.string()?, self.string()?));
        }
        Ok(pairs)
    }
}

/// A name in memory takes ten times what its packet needs at least. OpenSSH's server lists a hundred at a time.
const MOST_NAMES: u32 = 4096;
const MOST_EXTENSIONS: usize = 256;
/// Bytes of a status that are looked at.
const MOST_SAID: usize = 1024;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::packet::next_frame;
    use super::super::packet::tests::attributes;
    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..64).prop_map(Bytes::from)
    }

    fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        vec(vec(any::<u8>(), 0..20), 0..9)
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let name = (vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..20), attributes())
            .prop_map(|(name, long_name, attributes)| Name { name, long_name, attributes });
        prop_oneof![
            vec((bytes(), bytes()), 0..9).prop_map(|extensions| Reply::Version { version: 3, extensions }),
            (any::<u32>(), "[a-z ]{0,20}").prop_map(|(code, message)| Reply::Status(Status { code, message })),
            bytes().prop_map(Reply::Handle),
            bytes().prop_map(Reply::Data),
            vec(name, 0..9).prop_map(Reply::Names),
            attributes().prop_map(Reply::Attributes),
            any::<[u64; 11]>().prop_map(|fields| Reply::FileSystem(FileSystem { fields })),
            any::<[u64; 4]>().prop_map(|[packet, read, write, open]| Reply::Limits(Limits {
                packet,
                read,
                write,
                open
            })),
            (texts(), texts()).prop_map(|(users, groups)| Reply::NamesOf(users, groups)),
        ]
    }

    fn kind_of(reply: &Reply) -> Option<Extended> {
        match reply {
            Reply::FileSystem(_) => Some(Extended::FileSystem),
            Reply::Limits(_) => Some(Extended::Limits),
            Reply::NamesOf(..) => Some(Extended::NamesOf),
            _ => None,
        }
    }

    fn frame(id: u32, reply: &Reply) -> Bytes {
        let mut out = BytesMut::new();
        reply.put(id, &mut out);
        let frame = next_frame(&mut out).unwrap().unwrap();
        assert!(out.is_empty());
        frame
    }

    proptest! {
        #[test]
        fn every_answer_survives_its_encoding(id: u32, reply in reply()) {
            let id = if matches!(reply, Reply::Version { .. }) { 0 } else { id };
            prop_assert_eq!(decode_reply(frame(id, &reply), |_| kind_of(&reply)).unwrap(), (id, reply));
        }

        #[test]
        fn no_bytes_make_it_panic(kind in prop_oneof![Just(2_u8), 101..=105_u8, Just(201), any::<u8>()], rest: Vec<u8>, which in 0..4) {
            let asked = [None, Some(Extended::FileSystem), Some(Extended::Limits), Some(Extended::NamesOf)];
            let _ = decode_reply(std::iter::once(kind).chain(rest).collect(), |_| asked[which as usize]);
        }

        #[test]
        fn an_answer_cut_short_is_malformed_or_means_less(id: u32, reply in reply(), cut: prop::sample::Index) {
            let whole = frame(id, &reply);
            let cut = whole.slice(..cut.index(whole.len()));
            if let Ok((_, less)) = decode_reply(cut, |_| kind_of(&reply)) {
                // what has no end of its own: a list up to the packet's end, and a status without its words
                prop_assert!(matches!(less, Reply::Version { .. } | Reply::Status(_)), "{:?}", less);
            }
        }
    }

    #[test]
    fn counts_are_no_reason_to_take_memory() {
        let packet = Bytes::from_static(&[NAME, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decode_reply(packet, |_| None).unwrap_err().id, Some(9));
    }
}
