//! Batches within the service's limits
//! (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>): at most 1,048,576 bytes, where
//! each event counts its UTF-8 bytes and 26; at most 10,000 events; in chronological order; 24 hours from the first to the last; and
//! an event of at most 256 KiB with those 26.

use aws_lc_rs::digest::{SHA256, digest};

/// What each event counts besides its bytes.
pub(crate) const OVERHEAD: usize = 26;

/// The most bytes of an event's message.
pub(crate) const LONGEST_EVENT: usize = (256 << 10) - OVERHEAD;

const BATCH_BYTES: usize = 1 << 20;
const BATCH_EVENTS: usize = 10_000;
// a second less than the service allows, since "within 24 hours" says not whether its ends are in it
const BATCH_SPAN: i64 = 86_399_000;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Milliseconds since 1970.
    pub time: i64,
    /// At most [`LONGEST_EVENT`] bytes, and not empty.
    pub message: String,
}

/// A message as events. One that is too long becomes several: `part 2/3 of <16 hex digits of the SHA-256 of all>: …`, which put behind
/// one another without that are the message. An empty one is a space, since the service takes no event without a byte.
pub(crate) fn split(time: i64, message: &str) -> Vec<Event> {
    if message.len() <= LONGEST_EVENT {
        let message = if message.is_empty() { " " } else { message };
        return vec![Event { time, message: message.to_owned() }];
    }
    let hash = hex::encode(digest(&SHA256, message.as_bytes()));
    let hash = hash.get(..16).unwrap_or_default();
    let pieces = pieces(message, LONGEST_EVENT - 64);
    let all = pieces.len();
    let numbered = pieces.into_iter().zip(1..);
    numbered.map(|(piece, n)| Event { time, message: format!("part {n}/{all} of {hash}: {piece}") }).collect()
}

/// A text in pieces of at most so many bytes, none of which ends inside a character.
pub(crate) fn pieces(mut text: &str, longest: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while text.len() > longest {
        let mut at = longest;
        while at > 0 && !text.is_char_boundary(at) {
            at -= 1;
        }
        // no character is longer than four bytes; a bound below that would never get on
        let (piece, rest) = if at == 0 { (text, "") } else { text.split_at(at) };
        pieces.push(piece);
        text = rest;
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(text);
    }
    pieces
}

/// Events as batches, each of which is one request. What came at the same time stays in its order.
#[derive(Debug)]
pub(crate) struct Batches {
    events: std::iter::Peekable<std::vec::IntoIter<Event>>,
}

impl Batches {
    /// Of these.
    pub fn of(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| event.time);
        Self { events: events.into_iter().peekable() }
    }
}

impl Iterator for Batches {
    type Item = Vec<Event>;

    fn next(&mut self) -> Option<Vec<Event>> {
        let first = self.events.next()?;
        let (start, mut bytes) = (first.time, first.message.len() + OVERHEAD);
        let mut batch = vec![first];
        while batch.len() < BATCH_EVENTS {
            let fits = |event: &Event| {
                event.time.saturating_sub(start) <= BATCH_SPAN && bytes + event.message.len() + OVERHEAD <= BATCH_BYTES
            };
            let Some(event) = self.events.next_if(fits) else { break };
            bytes += event.message.len() + OVERHEAD;
            batch.push(event);
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(events: &[Event]) -> String {
        events.iter().map(|event| event.message.split_once(": ").unwrap().1).collect()
    }

    #[test]
    fn a_message_that_is_too_long_is_split_marked_and_whole_again() {
        let message = "é".repeat(LONGEST_EVENT);
        let parts = split(7, &message);
        assert!(parts.len() == 3 && parts[2].message.starts_with("part 3/3 of "));
        assert!(parts.iter().all(|part| part.message.len() <= LONGEST_EVENT));
        assert_eq!(joined(&parts), message);
        assert_eq!(split(7, &"x".repeat(LONGEST_EVENT)).len(), 1);
        assert_eq!(split(7, "")[0].message, " ");
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let size = prop_oneof![8 => 1_usize..50, 1 => 100_000_usize..LONGEST_EVENT];
        let time = prop_oneof![5 => 0_i64..1000, 1 => 0_i64..400_000_000];
        let event = (time, size).prop_map(|(time, size)| Event { time, message: "x".repeat(size) });
        proptest::collection::vec(event, 0..80)
    }

    proptest! {
        #[test]
        fn every_batch_is_within_the_service_s_limits_and_none_is_lost(events in events()) {
            let mut sorted = events.clone();
            sorted.sort_by_key(|event| event.time);
            let batches: Vec<_> = Batches::of(events).collect();
            for batch in &batches {
                let bytes: usize = batch.iter().map(|event| event.message.len() + 26).sum();
                prop_assert!(!batch.is_empty() && batch.len() <= 10_000 && bytes <= 1_048_576);
                prop_assert!(batch.windows(2).all(|pair| pair[0].time <= pair[1].time));
                prop_assert!(batch.last().unwrap().time - batch[0].time < 86_400_000);
            }
            prop_assert_eq!(batches.concat(), sorted);
        }
    }

    #[test]
    fn more_than_ten_thousand_events_are_two_batches() {
        let many = (0..10_001).map(|n| Event { time: n, message: "x".to_owned() }).collect();
        assert_eq!(Batches::of(many).map(|batch| batch.len()).collect::<Vec<_>>(), [10_000, 1]);
    }
}
