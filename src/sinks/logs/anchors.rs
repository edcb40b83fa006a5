//! Anchors back from their stream.

use aws_sdk_cloudwatchlogs::Client;

use crate::anchors::{Collected, LONGEST_NOTE, Range};
use crate::error::{Failure, of_aws};

/// Every note of a gateway in a range of time, in the order of their times.
pub(crate) async fn fetch_anchors(
    client: &Client,
    group: &str,
    gateway: &str,
    range: Range,
    into: &mut Collected,
) -> Result<(), Failure> {
    let milliseconds =
        |time: time::OffsetDateTime| i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let stream = crate::names::anchor_stream(gateway);
    let on = format!("the group {group} of CloudWatch Logs (stream {stream})");
    let mut token: Option<String> = None;
    loop {
        let page = client.get_log_events().log_group_name(group).log_stream_name(&stream).start_from_head(true);
        let page = page.start_time(milliseconds(range.from)).end_time(milliseconds(range.until));
        let page = page.set_next_token(token.clone()).send().await;
        let page = page.map_err(|error| of_aws(&error, "logs:GetLogEvents", &on))?;
        for note in page.events().iter().filter_map(|event| event.message()) {
            if note.len() > LONGEST_NOTE {
                return Err(Failure::Poisoned(format!("{on} has an event that is longer than a note")));
            }
            into.add(note)?;
        }
        // the end is told by the same token again
        let next = page.next_forward_token().map(str::to_owned);
        if next.is_none() || next == token {
            return Ok(());
        }
        token = next;
    }
}
