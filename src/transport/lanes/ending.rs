//! The end of a channel: what is still said, to whom, and what is closed.

use std::time::{Duration, Instant};

use super::Lanes;
use crate::backend::lanes::Lane;
use crate::config::Rung;
use crate::data_channel::ChannelEvent;
use crate::model::plain_text_up_to;
use crate::transport::channel::{Client, Delivery, say_last};
use crate::transport::helper::link::Link;

impl Lanes {
    /// Whether this kind of lane may be the reason that no helper answered: it said nothing at all, not even why. Where
    /// something was heard, the command may be running, and another rung would run it a second time. And what somebody or a
    /// limit has ended stays ended, also while the service is still being asked whether that is so.
    pub(super) fn rung_is_to_blame(&self, now: Instant) -> bool {
        !self.heard
            && self.hello.is_none()
            && self.stray.is_empty()
            && self.exit_code.is_none()
            && self.resumed.is_none()
            && self.inquest.is_none()
            && !self.killed
            && self.clock.over(now).is_none()
    }

    /// Ends these lanes, for the same channel to begin again on others. Nothing was sent yet, so nothing is lost; and before
    /// the first word no lane is on its way.
    pub(super) async fn give_up(self) -> (Link, Client) {
        let Self { link, client, out, inward, .. } = self;
        close(out, inward, Duration::ZERO).await;
        (link, client)
    }

    /// Ends the channel: with an error, unless the command has ended or nobody listens any more.
    pub(super) async fn end(mut self, error: Option<String>) {
        if let Some(error) = error {
            say_last(self.client.deliveries.clone(), vec![Delivery::failed(error)]);
            self.hang_up().await;
        }
        let Self { client, out, inward, parting, .. } = self;
        // the client has its end now and does not wait for the lanes'
        drop(client);
        // the helper ends its lanes by itself, which is kinder to the node than the service's kill, so it gets a moment
        close(out, inward, if parting { GOODBYE } else { Duration::ZERO }).await;
    }

    /// Everything has arrived: tells the helper so, that it need not linger.
    pub(super) async fn say_goodbye(&mut self) {
        self.parting = self.flush_in().await || self.inward.is_none();
    }

    /// The client has gone: the command is hung up as sshd would.
    pub(super) async fn hang_up(&mut self) {
        self.link.hang_up();
        self.parting = self.flush_in().await;
    }

    /// Sends what the link still has to say; whether there was a way.
    async fn flush_in(&mut self) -> bool {
        let lane = if self.context.rung == Rung::OneLane { self.out.as_ref() } else { self.inward.as_ref() };
        let Some(lane) = lane.filter(|_| self.link.in_lane_ready()) else { return false };
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

    pub(super) fn why_ended(&self, text: &str) -> String {
        let silently = self.killed && self.said().is_empty();
        match (self.hello.is_none(), silently, text.is_empty()) {
            (true, true, true) => "the session was ended before the node started the command".to_owned(),
            (true, ..) => format!("the command could not be started on the node{}", self.said_or(text)),
            (false, _, true) => format!("the session was ended{}", self.said()),
            (false, _, false) => format!("{text}{}", self.said()),
        }
    }

    /// What the node said beside the records, as the tail of a sentence.
    pub(super) fn said(&self) -> String {
        self.said_or("")
    }

    pub(super) fn said_or(&self, text: &str) -> String {
        let stray = String::from_utf8_lossy(&self.stray);
        let words = plain_text_up_to(300, &stray);
        match (words.is_empty(), text.is_empty(), self.exit_code) {
            (false, ..) => format!(": {words}"),
            (true, false, _) => format!(": {text}"),
            (true, true, Some(code)) => format!(": its exit code was {code}"),
            (true, true, None) => String::new(),
        }
    }
}

/// Ends the sessions that are left, after they had this long to end by themselves.
async fn close(out: Option<Lane>, inward: Option<Lane>, grace: Duration) {
    let mut lanes: Vec<_> = [out, inward].into_iter().flatten().collect();
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

/// How long the last words may take.
const GOODBYE: Duration = Duration::from_secs(3);
