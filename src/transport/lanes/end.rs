//! The end of a channel: what is still said, to whom, and what is closed. Whatever the reason, it is here.

use std::time::Duration;

use tokio::time::Instant;

use super::driver::Driver;
use super::slot::{Slot, next_event, opened};
use crate::backend::BackendError;
use crate::config::Rung;
use crate::data_channel::ChannelEvent;
use crate::transport::channel::{Client, Delivery, send_final};
use crate::transport::error::TransportError;
use crate::transport::helper::link::Link;
use crate::transport::limits::sleep_until;

/// How long the last words may take, and the lanes to end by themselves after them.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long a way in may take that is opened only for the last word.
const FAREWELL: Duration = Duration::from_secs(5);

/// How the lanes of a channel come to their end.
#[derive(Debug)]
pub(super) enum End {
    /// The helper has said everything, and the client has taken it.
    Complete,
    /// Nobody listens any more.
    ClientGone,
    /// The person is told so.
    Failed(TransportError),
    /// The same, and no other rung is tried: what the person is in AWS has ended.
    Lapsed(BackendError),
}

impl End {
    /// What the person is told, where something is.
    fn failure(self) -> Option<TransportError> {
        match self {
            Self::Complete | Self::ClientGone => None,
            Self::Failed(error) => Some(error),
            Self::Lapsed(why) => Some(why.into()),
        }
    }
}

impl Driver {
    /// Ends the channel.
    pub(super) async fn end(mut self, end: End) {
        let is_complete = matches!(end, End::Complete);
        if let Some(error) = end.failure() {
            send_final(self.client.deliveries.clone(), vec![Delivery::Failed(error)]);
        }
        let is_told = if is_complete { self.flush_final_ack().await } else { self.hang_up().await };
        let Self { client, out_slot, coming_slot, in_slot, .. } = self;
        drop(coming_slot);
        // the client has its end now and does not wait for the lanes'
        drop(client);
        // a helper that was told ends its lanes by itself, which is kinder to the node than the service's kill
        close(out_slot, in_slot, if is_told { GOODBYE } else { Duration::ZERO }).await;
    }

    /// Ends these lanes, for the same channel to begin again on others. Nothing was sent yet, so nothing is lost; and before
    /// the first word no lane is on its way.
    pub(super) async fn abandon_rung(self) -> (Link, Client) {
        let Self { link, client, out_slot, in_slot, .. } = self;
        close(out_slot, in_slot, Duration::ZERO).await;
        (link, client)
    }

    /// Everything has arrived: acknowledges it, so that the helper need not linger. Whether it knows; where there never was
    /// an in lane it expects none.
    async fn flush_final_ack(&mut self) -> bool {
        self.flush_in().await || self.in_slot.lane.is_none()
    }

    /// The command is hung up as sshd would; whether the helper knows. Where there is no way in, one is opened for that: a
    /// helper whose lanes just go waits for others, and the command with it.
    async fn hang_up(&mut self) -> bool {
        self.link.hang_up();
        self.link.in_lane_ready() && self.flush_in().await
            || matches!(tokio::time::timeout(FAREWELL, self.say_farewell()).await, Ok(true))
    }

    /// Opens an in lane and says goodbye on it, or on the one lane there is; nobody takes what the helper still says. One that
    /// was started and has not spoken yet would not know of a client that goes so soon.
    async fn say_farewell(&mut self) -> bool {
        self.in_lane.handle_farewell();
        while self.out_slot.lane.is_some() && self.out_lane.can_be_told() {
            while self.link.poll_event().is_some() {}
            if self.link.is_done() || self.link.in_lane_ready() {
                return self.flush_in().await;
            }
            let now = Instant::now();
            self.act(now);
            let Self { out_slot, coming_slot, in_slot, in_lane, .. } = self;
            let again = in_lane.poll_timeout(false, now);
            let taken = tokio::select! {
                event = next_event(&mut out_slot.lane) => self.handle_out(event),
                event = next_event(&mut coming_slot.lane) => self.handle_coming(event),
                event = next_event(&mut in_slot.lane) => {
                    self.handle_in(event);
                    Ok(())
                }
                lane = opened(&mut in_slot.opening) => self.handle_in_opened(lane),
                () = sleep_until(again) => self.handle_in_timeout(Instant::now()),
            };
            if taken.is_err() {
                return false;
            }
        }
        false
    }

    /// Sends what the link still has to say; whether there was a way.
    async fn flush_in(&mut self) -> bool {
        let carrier = if self.context.rung == Rung::OneLane { &self.out_slot } else { &self.in_slot };
        let Some(lane) = carrier.lane.as_ref().filter(|_| self.link.in_lane_ready()) else { return false };
        let link = &mut self.link;
        let pending = self.pending.take();
        let flush = async {
            if let Some(bytes) = pending {
                lane.writer.send(bytes).await.ok()?;
            }
            while let Some(bytes) = link.poll_transmit(Instant::now()) {
                lane.writer.send(bytes).await.ok()?;
            }
            Some(())
        };
        matches!(tokio::time::timeout(GOODBYE, flush).await, Ok(Some(())))
    }
}

/// Ends the sessions that are left, after they had this long to end by themselves.
async fn close(out_slot: Slot, in_slot: Slot, grace: Duration) {
    let mut lanes: Vec<_> = [out_slot.lane, in_slot.lane].into_iter().flatten().collect();
    let _ = tokio::time::timeout(grace, async {
        for lane in &mut lanes {
            while !matches!(lane.reader.next().await, None | Some(ChannelEvent::Closed(_) | ChannelEvent::Lost(_))) {}
        }
    })
    .await;
    for lane in lanes {
        lane.close().await;
    }
}
