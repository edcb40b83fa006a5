//! Events into a stream, which is made where it isn't there.

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use super::batch::{Batches, Event};
use crate::error::{Failure, of_aws};

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) client: Client,
    pub(crate) name: String,
    /// Whether it is made where it isn't there.
    pub(crate) create: bool,
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many the service took no more, or not yet, by their time: it answers with success.
    pub(crate) rejected: u64,
}

impl Group {
    fn on(&self, stream: &str) -> String {
        format!("the group {} of CloudWatch Logs (stream {stream})", self.name)
    }

    /// Puts all there, in order.
    pub(crate) async fn put(&self, stream: &str, events: Vec<Event>) -> Result<Taken, Failure> {
        let mut taken = Taken::default();
        for batch in Batches::of(events) {
            taken.rejected += self.put_batch(stream, &batch).await?;
        }
        Ok(taken)
    }

    async fn put_batch(&self, stream: &str, batch: &[Event]) -> Result<u64, Failure> {
        let mut made = false;
        loop {
            let mut put = self.client.put_log_events().log_group_name(&self.name).log_stream_name(stream);
            for event in batch {
                let event = InputLogEvent::builder().timestamp(event.time).message(&event.message).build();
                put = put.log_events(event.map_err(|error| Failure::Poisoned(error.to_string()))?);
            }
            let error = match put.send().await {
                Ok(done) => return Ok(done.rejected_log_events_info().map_or(0, |info| rejected(info, batch.len()))),
                Err(error) => error,
            };
            match error.code() {
                // it has them: an answer was lost
                Some("DataAlreadyAcceptedException") => return Ok(0),
                Some("ResourceNotFoundException") if !made => {
                    self.make(stream).await?;
                    made = true;
                }
                _ => return Err(of_aws(&error, "logs:PutLogEvents", &self.on(stream))),
            }
        }
    }

    async fn make(&self, stream: &str) -> Result<(), Failure> {
        match self.make_stream(stream).await {
            Err(error) if error.code() == Some("ResourceNotFoundException") && self.create => {
                let made = self.client.create_log_group().log_group_name(&self.name).send().await;
                match made {
                    Err(error) if error.code() != Some("ResourceAlreadyExistsException") => {
                        return Err(of_aws(&error, "logs:CreateLogGroup", &self.on(stream)));
                    }
                    _ => {}
                }
                self.make_stream(stream).await
            }
            made => made,
        }
        .map_err(|error| of_aws(&error, "logs:CreateLogStream", &self.on(stream)))
    }

    async fn make_stream(
        &self,
        stream: &str,
    ) -> Result<
        (),
        aws_sdk_cloudwatchlogs::error::SdkError<
            aws_sdk_cloudwatchlogs::operation::create_log_stream::CreateLogStreamError,
        >,
    > {
        let make = self.client.create_log_stream().log_group_name(&self.name).log_stream_name(stream);
        match make.send().await {
            // somebody was faster: we, before a restart
            Err(error) if error.code() == Some("ResourceAlreadyExistsException") => Ok(()),
            made => made.map(drop),
        }
    }
}

/// Events older than 14 days or the group's retention, or more than two hours ahead: how many of the batch. An answer that names any
/// index says that one at least is not there.
fn rejected(info: &aws_sdk_cloudwatchlogs::types::RejectedLogEventsInfo, all: usize) -> u64 {
    let old = info.too_old_log_event_end_index().max(info.expired_log_event_end_index()).unwrap_or(0);
    let all = i32::try_from(all).unwrap_or(i32::MAX);
    let new = info.too_new_log_event_start_index().map_or(0, |start| all.saturating_sub(start));
    let ends = [info.too_old_log_event_end_index(), info.expired_log_event_end_index()];
    let least = u64::from(ends.iter().any(Option::is_some) || info.too_new_log_event_start_index().is_some());
    u64::try_from(old.saturating_add(new)).unwrap_or(0).max(least)
}
