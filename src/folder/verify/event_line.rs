//! One line of `events.jsonl`: what it says of its place in the chain, if it is what it should be.

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::fault::shown;
use crate::event_chain::{fingerprint, split_fingerprint, split_prev_event};
use crate::hash::Hash;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) sequence: u64,
    pub(crate) time: i64,
    pub(crate) previous: Option<Hash>,
    pub(crate) own: Hash,
}

/// What is wrong with a line, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is no event.
    Malformed(String),
    /// It is no more what it was.
    Edited(String),
    /// It is another chain's.
    Spliced(String),
}

/// Of an event what its place needs.
#[derive(Deserialize)]
struct Event {
    time: i64,
    metadata: Metadata,
    // a second one is refused: readers would differ in which of them they take
    #[serde(rename = "attestation")]
    _attestation: IgnoredAny,
}

#[derive(Deserialize)]
struct Metadata {
    sequence: u64,
}

/// An attestation that is not the one that was expected.
#[derive(Deserialize)]
struct Foreign {
    attestation: Attestation,
}

#[derive(Deserialize)]
struct Attestation {
    authority_uid: String,
    chain_uid: String,
}

/// Reads a line, without its newline. `openings` are how an attestation of this session begins
/// ([`crate::event_chain::opening`]); none where that is not known.
pub(crate) fn parse(line: &[u8], openings: &[String], session: Option<Uuid>) -> Result<Parsed, Wrong> {
    let Some((before, own)) = split_fingerprint(line) else {
        let json = serde_json::from_slice::<IgnoredAny>(line);
        return Err(Wrong::Malformed(match json {
            Ok(IgnoredAny) => "it does not end with its fingerprint".to_owned(),
            Err(error) => format!("it is no event: {error}"),
        }));
    };
    if fingerprint(before) != own {
        return Err(Wrong::Edited("its fingerprint is not that of what it says".to_owned()));
    }
    let (rest, previous) = split_prev_event(before);
    if !openings.is_empty() && !openings.iter().any(|opening| rest.ends_with(opening.as_bytes())) {
        return Err(foreign(line, session));
    }
    let event: Event =
        serde_json::from_slice(line).map_err(|error| Wrong::Malformed(format!("it is no event: {error}")))?;
    Ok(Parsed { sequence: event.metadata.sequence, time: event.time, previous, own })
}

fn foreign(line: &[u8], session: Option<Uuid>) -> Wrong {
    let Ok(Foreign { attestation }) = serde_json::from_slice(line) else {
        return Wrong::Malformed("it has no attestation that could be read".to_owned());
    };
    let Attestation { authority_uid, chain_uid } = attestation;
    match session {
        Some(session) if session.hyphenated().to_string() != chain_uid => {
            Wrong::Spliced(format!("it is an event of another session, {}", shown(&chain_uid)))
        }
        _ => Wrong::Spliced(format!("it is an event of another gateway, {}", shown(&authority_uid))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event_chain::{EventChain, opening};

    const SESSION: Uuid = Uuid::from_u128(7);

    fn line(text: &str) -> Vec<u8> {
        let mut line = text.as_bytes().to_vec();
        EventChain::new("gate", SESSION).attest(&mut line).unwrap();
        line
    }

    fn read(line: &[u8]) -> Result<Parsed, Wrong> {
        parse(line, &[opening("gate", SESSION)], Some(SESSION))
    }

    #[test]
    fn an_event_says_its_place() {
        let parsed = read(&line(r#"{"time":5,"metadata":{"sequence":1,"version":"1.8.0"},"x":[1]}"#)).unwrap();
        assert_eq!((parsed.time, parsed.sequence, parsed.previous), (5, 1, None));
    }

    #[test]
    fn a_line_that_is_none_is_told_why() {
        let good = r#"{"time":5,"metadata":{"sequence":1}}"#;
        let is = |line: &[u8]| read(line).unwrap_err();
        assert!(matches!(is(b"{"), Wrong::Malformed(why) if why.contains("EOF")));
        assert!(matches!(is(good.as_bytes()), Wrong::Malformed(why) if why.contains("fingerprint")));
        let edited = String::from_utf8(line(good)).unwrap().replace(":5,", ":6,");
        assert!(matches!(is(edited.as_bytes()), Wrong::Edited(_)));
        for bad in [
            "{\"time\":5.5,\"metadata\":{\"sequence\":1}}",
            "{\"metadata\":{\"sequence\":1}}",
            "{\"time\":5}",
            "{\"time\":x}",
        ] {
            assert!(matches!(is(&line(bad)), Wrong::Malformed(_)), "{bad}");
        }
        // two attestations, or two times
        let twice = line(&String::from_utf8(line(good)).unwrap());
        assert!(matches!(is(&twice), Wrong::Malformed(why) if why.contains("duplicate")));
        let mut other = good.as_bytes().to_vec();
        EventChain::new("gate", Uuid::from_u128(8)).attest(&mut other).unwrap();
        assert!(matches!(is(&other), Wrong::Spliced(why) if why.contains("another session")));
        let mut other = good.as_bytes().to_vec();
        EventChain::new("gate\u{7f}\u{1b}", SESSION).attest(&mut other).unwrap();
        assert!(matches!(is(&other), Wrong::Spliced(why) if why.contains(r"\u{1b}")));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in r#"[{}":a-z,0-9]{0,300}"#) {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
            let _ = read(&[text.as_bytes(), br#","fingerprint":{"algorithm_id":3,"value":"0000000000000000000000000000000000000000000000000000000000000000"}}}"#].concat());
        }
    }
}
