//! One line as it stands on the disk: a JWE in its compact form, with just one way to write it.
//!
//! ```text
//!  base64url(header) . . base64url(iv, 12) . base64url(ciphertext) . base64url(tag, 16)
//! ```
//!
//! RFC 7516, section 7.1; the encrypted key is empty, since the key itself is agreed on (`dir`, RFC 7518, section 4.5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use uuid::Uuid;

use crate::layout::File;

/// The longest plain text of one line.
pub(crate) const MAX_PLAIN_BYTES: usize = 1 << 20;

/// The longest line, without its newline.
pub(crate) const MAX_LOCKED_BYTES: usize = MAX_PLAIN_BYTES / 3 * 4 + 1024;

pub(super) const IV: usize = 12;
pub(super) const TAG: usize = 16;

/// What a header says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    enc: &'a str,
    kid: &'a str,
    file: &'a str,
    line: u64,
}

/// A line, taken apart. Nothing of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    /// Whose key opens it.
    pub(crate) session: Uuid,
    /// In which file it belongs.
    pub(crate) file: &'static str,
    /// On which line of it, from 1.
    pub(crate) line: u64,
    /// The header, as it is part of what the tag is over.
    pub(super) aad: &'a [u8],
    pub(super) iv: [u8; IV],
    /// The ciphertext and its tag.
    pub(super) sealed: Vec<u8>,
}

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLine {
    /// It has not five parts, or its second has something in it.
    #[error("it is no JWE in the compact form")]
    Form,
    /// A part is not base64url, or not in the one way to write it.
    #[error("a part of it is not base64url")]
    Base64,
    /// Its header says something else than a header here does, or in another way.
    #[error("its header is not one of a line of evidence")]
    Header,
}

/// A place that is no file of a folder: what a manifest says inside, and what a journal's line does.
pub(super) const OTHERS: [&str; 2] = ["manifest.json", "journal"];

/// How the header of a line is written.
pub(super) fn header(session: Uuid, file: &str, line: u64) -> String {
    let session = session.hyphenated();
    let json = format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{session}","file":"{file}","line":{line}}}"#);
    BASE64URL.encode(json)
}

/// A line with its newline, of its header and what the cipher gave.
pub(super) fn write(header: &str, iv: &[u8; IV], ciphertext: &[u8], tag: &[u8]) -> Vec<u8> {
    let mut line = String::with_capacity(header.len() + ciphertext.len() / 3 * 4 + 64);
    line.push_str(header);
    line.push_str("..");
    BASE64URL.encode_string(iv, &mut line);
    line.push('.');
    BASE64URL.encode_string(ciphertext, &mut line);
    line.push('.');
    BASE64URL.encode_string(tag, &mut line);
    line.push('\n');
    line.into_bytes()
}

/// Takes a line apart, which stands there without its newline.
pub(crate) fn parse(line: &[u8]) -> Result<Parsed<'_>, NoLine> {
    let mut parts = line.split(|byte| *byte == b'.');
    let mut part = || parts.next().ok_or(NoLine::Form);
    let (aad, key, iv, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
    if !key.is_empty() || parts.next().is_some() {
        return Err(NoLine::Form);
    }
    let decoded = |part: &[u8]| BASE64URL.decode(part).map_err(|_| NoLine::Base64);
    let json = decoded(aad)?;
    let said: Header<'_> = serde_json::from_slice(&json).map_err(|_| NoLine::Header)?;
    let session = Uuid::parse_str(said.kid).map_err(|_| NoLine::Header)?;
    let files = File::ALL.into_iter().filter(|file| file.is_encrypted()).map(File::name);
    let file = files.chain(OTHERS).find(|file| *file == said.file).ok_or(NoLine::Header)?;
    // one way to write it: what says the same in another is none of ours
    if said.alg != "dir" || said.enc != "A256GCM" || header(session, file, said.line).as_bytes() != aad {
        return Err(NoLine::Header);
    }
    let iv = decoded(iv)?.try_into().map_err(|_| NoLine::Form)?;
    let (mut sealed, tag) = (decoded(ciphertext)?, decoded(tag)?);
    if tag.len() != TAG {
        return Err(NoLine::Form);
    }
    sealed.extend_from_slice(&tag);
    Ok(Parsed { session, file, line: said.line, aad, iv, sealed })
}

/// What a fuzzer drives: no bytes make it panic, and what is taken apart is written again as it was.
#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::panic, reason = "a fuzzer wants to hear of it")]
pub fn fuzz(bytes: &[u8]) {
    let Ok(parsed) = parse(bytes) else { return };
    let (ciphertext, tag) = parsed.sealed.split_at(parsed.sealed.len() - TAG);
    let again = write(&header(parsed.session, parsed.file, parsed.line), &parsed.iv, ciphertext, tag);
    if again.strip_suffix(b"\n") != Some(bytes) {
        panic!("there are two ways to write a line");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line() -> String {
        let header = header(Uuid::from_u128(7), "events.jsonl", 12);
        let line = write(&header, &[1; IV], b"what it says", &[2; TAG]);
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_line_is_taken_apart_as_it_was_written() {
        let line = line();
        let parsed = parse(line.as_bytes()).unwrap();
        assert_eq!((parsed.session, parsed.file, parsed.line), (Uuid::from_u128(7), "events.jsonl", 12));
        assert_eq!((parsed.iv, parsed.sealed), ([1; IV], [b"what it says".as_slice(), &[2; TAG]].concat()));
        let header = BASE64URL.decode(parsed.aad).unwrap();
        let said = r#"{"alg":"dir","enc":"A256GCM","kid":"00000000-0000-0000-0000-000000000007","file":"events.jsonl","line":12}"#;
        assert_eq!(String::from_utf8(header).unwrap(), said);
    }

    #[test]
    fn what_says_the_same_in_another_way_is_none() {
        let line = line();
        let (_, rest) = line.split_once('.').unwrap();
        let with = |header: &str| parse(format!("{}.{rest}", BASE64URL.encode(header)).as_bytes()).map(|_| ());
        let kid = "00000000-0000-0000-0000-000000000007";
        let good = format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{kid}","file":"events.jsonl","line":12}}"#);
        assert_eq!(with(&good), Ok(()));
        for bad in [
            good.replace(',', ", "),
            good.replace("dir", "A256KW"),
            good.replace("A256GCM", "A128GCM"),
            good.replace("A256GCM", "A256GCM\",\"zip\":\"DEF"),
            good.replace("12", "012"),
            good.replace("12", "-1"),
            good.replace("events.jsonl", "../events.jsonl"),
            good.replace("events.jsonl", "checkpoints"),
            good.replace(kid, &kid.replace('-', "")),
            good.replace(kid, ""),
            "{}".to_owned(),
        ] {
            assert_eq!(with(&bad), Err(NoLine::Header), "{bad}");
        }
        let parts: Vec<&str> = line.split('.').collect();
        for (place, part) in [(1, "AA"), (2, "AAAA"), (2, ""), (4, ""), (4, "AAAA")] {
            let mut parts = parts.clone();
            parts[place] = part;
            assert_eq!(parse(parts.join(".").as_bytes()), Err(NoLine::Form), "{place} {part}");
        }
        assert_eq!(parse(format!("{line}.").as_bytes()), Err(NoLine::Form));
        for padded in [format!("{line}="), format!("{line}\r"), format!(" {line}")] {
            assert_eq!(parse(padded.as_bytes()), Err(NoLine::Base64), "{padded:?}");
        }
        assert_eq!(parse(b"{\"a\":1}"), Err(NoLine::Form));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_one_that_is_one_has_one_form(
            bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..400, byte: u8, text in "[A-Za-z0-9_.-]{0,300}",
        ) {
            fuzz(&bytes);
            fuzz(text.as_bytes());
            let mut line = line().into_bytes();
            let at = at % line.len();
            line[at] = byte;
            fuzz(&line);
        }
    }
}
