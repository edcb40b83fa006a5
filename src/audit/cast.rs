//! Reading a recording, event by event, also while it grows.

use std::io::{self, Read as _};

use portcullis_folder::{Contents, Plain};
use portcullis_index::cast_line;
use serde::Deserialize;

/// The longest line that is read; a recording with a longer one is broken.
const LINE: usize = 8 << 20;

/// What a recording begins with (asciicast v2).
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) width: u16,
    pub(super) height: u16,
}

/// An event: `o` is output, `r` a resize, `m` a marker.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// Seconds since the recording began; never less than of the one before.
    pub(super) at: f64,
    pub(super) kind: String,
    pub(super) data: String,
}

/// A recording that is read.
#[derive(Debug)]
pub(super) struct Cast {
    from: Plain,
    /// Read, and not used yet.
    buffer: Vec<u8>,
    used: usize,
    at: f64,
    line: u64,
}

impl Cast {
    /// Opens it: a file, and no link to one. None where there is none.
    pub(super) fn open(contents: &Contents) -> io::Result<Option<Self>> {
        let from = match contents.file(portcullis_folder::File::Terminal) {
            Ok(from) => from,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self { from, buffer: Vec::new(), used: 0, at: 0.0, line: 0 }))
    }

    /// The header, which is the first line; none where it is not there yet.
    pub(super) fn header(&mut self) -> io::Result<Option<Header>> {
        let Some(line) = self.line()? else { return Ok(None) };
        let header: Header = serde_json::from_str(&line)
            .map_err(|_| io::Error::other("it does not begin with an asciicast's header"))?;
        if header.version != 2 {
            return Err(io::Error::other(format!(
                "it is an asciicast of version {}, and is to be of 2",
                header.version
            )));
        }
        Ok(Some(header))
    }

    /// The next event, after the header; none where there is none that is whole yet.
    pub(super) fn event(&mut self) -> io::Result<Option<Event>> {
        let Some(line) = self.line()? else { return Ok(None) };
        let (at, kind, data) =
            cast_line(&line).map_err(|why| io::Error::other(format!("line {} of the recording: {why}", self.line)))?;
        // a clock that goes back must keep nobody waiting
        self.at = self.at.max(at);
        Ok(Some(Event { at: self.at, kind, data }))
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut looked = 0;
        loop {
            let fresh = self.buffer.get(self.used + looked..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', fresh) {
                let (from, to) = (self.used, self.used + looked + end);
                let line = String::from_utf8(self.buffer.get(from..to).unwrap_or_default().to_vec());
                self.used = to + 1;
                self.line += 1;
                return line
                    .map(Some)
                    .map_err(|_| io::Error::other(format!("line {} of the recording is no UTF-8", self.line)));
            }
            looked += fresh.len();
            if looked > LINE {
                return Err(io::Error::other(format!("line {} of the recording is too long", self.line + 1)));
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            let before = self.buffer.len();
            (&mut self.from).take(64 << 10).read_to_end(&mut self.buffer)?;
            if self.buffer.len() == before {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::path::Path;

    use portcullis_folder::NoKeyring;
    use proptest::prelude::*;

    use super::*;

    fn cast(folder: &Path) -> io::Result<Option<Cast>> {
        Cast::open(&Contents::open(folder, &NoKeyring).unwrap())
    }

    #[test]
    fn it_is_read_as_it_grows_and_only_whole_lines_are() {
        let dir = tempfile::tempdir().unwrap();
        assert!(super::tests::cast(dir.path()).unwrap().is_none());
        let path = dir.path().join("terminal.cast");
        let mut file = File::create(&path).unwrap();
        let mut cast = super::tests::cast(dir.path()).unwrap().unwrap();
        assert!(cast.header().unwrap().is_none());
        file.write_all(b"{\"version\": 2, \"width\": 80, \"height\": 24, \"env\": {}}\n[1.5, \"o\", \"a").unwrap();
        assert_eq!(cast.header().unwrap().unwrap().width, 80);
        assert_eq!(cast.event().unwrap(), None);
        file.write_all(b"b\"]\n[0.5, \"o\", \"c\"]\n").unwrap();
        let event = |at, data: &str| Event { at, kind: "o".to_owned(), data: data.to_owned() };
        assert_eq!(cast.event().unwrap(), Some(event(1.5, "ab")));
        assert_eq!(cast.event().unwrap(), Some(event(1.5, "c")));
        assert_eq!(cast.event().unwrap(), None);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("terminal.cast")).unwrap();
        assert!(super::tests::cast(dir.path()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_events_or_a_sentence(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("terminal.cast"), bytes).unwrap();
            let mut cast = super::tests::cast(dir.path()).unwrap().unwrap();
            let _ = cast.header();
            while let Ok(Some(event)) = cast.event() {
                prop_assert!(event.at >= 0.0);
            }
        }
    }
}
