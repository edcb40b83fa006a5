//! What a channel waits for, but not for ever: what falls due, when, and what it means that it did not come.

use std::time::{Duration, Instant};

use super::Lanes;

/// What is waited for, but not for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The helper's first word.
    Hello,
    /// Anything at all, after a renewal.
    Deaf,
    /// The out lane's word after the in lane's end.
    LastWord,
    /// A sign of life from a lane that may be dead.
    Answer,
    /// The in lane, to be ready.
    InReady,
    /// The first word, or how the lane before this one ended; then a new lane is opened.
    Doubt,
}

impl Lanes {
    /// What falls due, and when. [`Self::check_time`] acts on just this and [`Self::next_deadline`] wakes up for it, so that
    /// the loop never waits for what is past already. None of it matters when the helper has said everything.
    fn due(&self) -> impl Iterator<Item = (Instant, Due)> {
        // while the service is asked how a lane ended, the first word is not missed, and no lane is opened
        let asking = self.inquest.is_some();
        let hello = (self.hello.is_none() && !asking).then(|| self.started + HELLO_WAIT);
        let last_word = self.in_gone.as_ref().map(|(at, _)| *at + LAST_WORD);
        let answer = self.verify.filter(|(asked, _)| !self.link.has_answered(*asked)).map(|(_, until)| until);
        let in_ready = (self.inward.is_some() && !self.link.in_lane_ready()).then(|| self.in_opened + HELLO_WAIT);
        let due = [
            (hello, Due::Hello),
            (self.link.deaf_at(), Due::Deaf),
            (last_word, Due::LastWord),
            (answer, Due::Answer),
            (in_ready, Due::InReady),
            (self.doubt.filter(|_| !asking), Due::Doubt),
        ];
        let waiting = !self.link.is_done();
        due.into_iter().filter_map(move |(at, what)| Some((at.filter(|_| waiting)?, what)))
    }

    /// When to wake up if nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // what the link has to say must wait while there is no way to say it
        let now = Instant::now();
        let link_can = if self.link.in_lane_ready() { self.pending.is_none() } else { self.may_open_in(now) };
        let link = (link_can && !self.link.is_done()).then(|| self.link.poll_timeout());
        let again = self.in_failed.map(|failed| failed.at).filter(|at| *at > now);
        self.due().map(|(at, _)| at).chain(link).chain(again).chain(self.clock.deadline()).min()
    }

    /// Acts on what is due: all but a doubt ends the channel.
    pub(super) fn check_time(&mut self, now: Instant) -> Result<(), String> {
        if let Some(why) = self.clock.over(now) {
            return Err(why);
        }
        let Some((_, due)) = self.due().find(|(at, _)| now >= *at) else { return Ok(()) };
        Err(match due {
            Due::Hello => {
                let seconds = HELLO_WAIT.as_secs();
                format!("the node did not start the command within {seconds} seconds{}", self.said())
            }
            Due::Deaf => "the node no longer answers; the command is being ended".to_owned(),
            Due::LastWord => {
                let text = self.in_gone.as_ref().map_or("", |(_, text)| text);
                format!("the way in to the command was ended{}", self.said_or(text))
            }
            Due::Answer => CANT_RESUME.to_owned(),
            Due::InReady => "the node did not take the way in; the command is being ended".to_owned(),
            Due::Doubt => {
                self.doubt = None;
                return self.reattach_out();
            }
        })
    }
}

/// How long a node may take from the start of a session to the helper's first word.
const HELLO_WAIT: Duration = Duration::from_secs(20);
/// How long the out lane may take to say that all is well after the in lane has ended.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How long a lane in doubt has to answer; opening an in lane is in it.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// How long a helper may take to start after a reconnection.
pub(super) const STARTING: Duration = Duration::from_secs(2);
pub(super) const CANT_RESUME: &str = "the connection to Session Manager broke, and output may be lost: the helper for sh \
     can't go on from there. With python3 on the node it could";
