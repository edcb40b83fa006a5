//! Frames that were sent and are not yet acknowledged.
//!
//! ```text
//!   slots         17     18     19     20     21         by sequence number, from the oldest unacknowledged
//!               flying acked   lost  flying flying
//!   transmissions  #40:17  #42:20  #43:21  #44:…         by time of sending; entries go stale and are skipped
//!   lost           19                                    to be sent again, before anything new
//! ```
//!
//! Acknowledgements are selective, so a gap shows at once. A frame counts as lost when one that was sent later (three
//! transmissions later, or a quarter of a round trip) has been acknowledged and it has itself been on its way for a
//! round trip: RFC 8985, section 6.2, calls this RACK. If nothing at all comes back, the oldest frame is sent again as
//! a probe (the oldest, as in RFC 6298, section 5.4, and not the newest, as in RFC 8985, section 7.3: this one the
//! receiver waits for); as soon as it is acknowledged, the rule above finds everything that was lost with it. Agent and
//! client of AWS send again only the oldest frame, once per 100 ms, however many are lost
//! (ResendStreamDataMessageScheduler in agent/session/datachannel/datachannel.go and src/datachannel/streaming.go).
//!
//! A frame that is lost again and again is sent ever more rarely: its receiver refuses it for now (an agent that is not
//! ready), or has it and will not say so (a client, which does not acknowledge duplicates).

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::Time;

use super::rtt::Rtt;

#[derive(Debug, Default)]
pub(crate) struct Flight {
    slots: VecDeque<Slot>,
    /// The sequence number of the first slot.
    base: i64,
    transmissions: VecDeque<Transmission>,
    lost: VecDeque<i64>,
    /// Lost too often to be sent again at once: when they may be, and of which transmission they are.
    late: BTreeSet<(Time, u64, i64)>,
    /// The highest acknowledged sequence number.
    highest: i64,
    /// The number of the next transmission.
    next: u64,
    /// The latest transmission known to have arrived.
    arrived: Option<Arrived>,
    in_flight: usize,
    span: usize,
    outstanding: usize,
    /// When the patience for an acknowledgement began.
    waiting_since: Time,
    /// Acknowledgements of frames sent before may have waited to be read, and measure nothing.
    listens_since: Time,
    /// Probes since the last acknowledgement.
    probes: u32,
}

#[derive(Debug)]
struct Slot {
    frame: Bytes,
    /// Kept when the frame itself is gone.
    length: usize,
    state: State,
    sent_at: Time,
    transmission: u64,
    sends: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Acked,
    Flying,
    Lost,
}

#[derive(Debug)]
struct Transmission {
    sequence: i64,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    number: u64,
    sent_at: Time,
}

/// A frame that has just been acknowledged for the first time.
#[derive(Debug)]
pub(crate) struct Acked {
    pub(crate) length: usize,
    /// The round trip, if the frame was sent only once and its acknowledgement was read at once.
    pub(crate) sample: Option<Duration>,
    pub(crate) transmission: u64,
}

impl Flight {
    /// Bytes on their way, neither acknowledged nor given up.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes from the oldest unacknowledged frame on, acknowledged ones in between included: what a receiver may have to
    /// hold back.
    pub(crate) fn span(&self) -> usize {
        self.span
    }

    /// The same in frames.
    pub(crate) fn span_frames(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub(crate) fn next_transmission(&self) -> u64 {
        self.next
    }

    /// The oldest unacknowledged frame and how often it was sent.
    pub(crate) fn oldest(&self) -> Option<(i64, u32)> {
        self.slots.front().map(|slot| (self.base, slot.sends))
    }

    /// A new frame is being sent. Frames come in order of their numbers, without gaps.
    pub(crate) fn push(&mut self, now: Time, sequence: i64, frame: Bytes) {
        if self.slots.is_empty() {
            self.base = sequence;
            self.restart(now);
        }
        let length = frame.len();
        self.span += length;
        self.outstanding += 1;
        self.slots.push_back(Slot { frame, length, state: State::Lost, sent_at: now, transmission: 0, sends: 0 });
        self.transmit(now, sequence);
    }

    /// The frame to be sent again next, and its length.
    pub(crate) fn next_lost(&mut self) -> Option<usize> {
        loop {
            let sequence = *self.lost.front()?;
            match self.slot(sequence) {
                Some(slot) if slot.state == State::Lost => return Some(slot.length),
                _ => self.lost.pop_front(),
            };
        }
    }

    /// Sends again what [`Self::next_lost`] has found.
    pub(crate) fn resend(&mut self, now: Time) -> Option<Bytes> {
        self.next_lost()?;
        let sequence = self.lost.pop_front()?;
        if self.in_flight == 0 {
            self.waiting_since = now;
        }
        Some(self.transmit(now, sequence))
    }

    /// An acknowledgement came. `None` if it says nothing new.
    pub(crate) fn acknowledge(&mut self, now: Time, sequence: i64, rtt: &Rtt) -> Option<Acked> {
        let slot = self.slot(sequence).filter(|slot| slot.state != State::Acked)?;
        let age = now.saturating_sub(slot.sent_at);
        let was_flying = slot.state == State::Flying;
        slot.state = State::Acked;
        slot.frame = Bytes::new();
        let (length, sends, transmission, sent_at) = (slot.length, slot.sends, slot.transmission, slot.sent_at);
        if was_flying {
            self.in_flight -= length;
        }
        self.outstanding -= 1;
        self.highest = self.highest.max(sequence);
        self.restart(now);
        // Quicker than any round trip: the acknowledgement is of an earlier transmission of the same frame (RFC 8985,
        // section 6.2, step 2).
        let of_earlier = sends > 1 && rtt.minimum().is_some_and(|least| age < least);
        if !of_earlier && self.arrived.is_none_or(|arrived| arrived.number < transmission) {
            self.arrived = Some(Arrived { number: transmission, sent_at });
        }
        self.shorten();
        // Karn's rule: RFC 6298, section 3
        let measures = sends == 1 && sent_at >= self.listens_since;
        Some(Acked { length, sample: measures.then_some(age), transmission })
    }

    /// Gives up frames so old that the receiver must have them, by the room it has to hold later ones back. This is no
    /// RFC's rule and neither program's: it follows from the bounded buffer of a client (see `outbound`).
    pub(crate) fn conclude(&mut self, receiver_holds: usize) {
        let known = self.highest.saturating_sub(i64::try_from(receiver_holds).unwrap_or(i64::MAX));
        let count = usize::try_from(known.saturating_sub(self.base)).unwrap_or(0).min(self.slots.len());
        for slot in self.slots.iter_mut().take(count).filter(|slot| slot.state != State::Acked) {
            if slot.state == State::Flying {
                self.in_flight -= slot.length;
            }
            slot.state = State::Acked;
            slot.frame = Bytes::new();
            self.outstanding -= 1;
        }
        if count > 0 {
            self.shorten();
        }
    }

    /// Finds frames that later ones have overtaken. Returns the latest transmission that is lost now, unless it is of a
    /// frame that is lost all the time.
    pub(crate) fn detect(&mut self, now: Time, rtt: &Rtt) -> Option<u64> {
        let mut latest = None;
        while let Some((overtaken, sent_at)) = self.front_overtaken(rtt) {
            if !overtaken || now < sent_at + rtt.overtaking() {
                break;
            }
            let Some(front) = self.transmissions.pop_front() else { break };
            self.lose(front.sequence);
            self.skip_stale();
            match self.slot(front.sequence).map_or(0, |slot| slot.sends) {
                0..=PATIENT_SENDS => {
                    latest = Some(front.number);
                    self.lost.push_back(front.sequence);
                }
                sends => {
                    let due = sent_at + rtt.overtaking_after(sends - PATIENT_SENDS);
                    self.late.insert((due, front.number, front.sequence));
                }
            }
        }
        while let Some((due, number, sequence)) = self.late.pop_first() {
            if due > now {
                self.late.insert((due, number, sequence));
                break;
            }
            if self.slot(sequence).is_some_and(|slot| slot.state == State::Lost && slot.transmission == number) {
                self.lost.push_back(sequence);
            }
        }
        latest
    }

    /// The patience for an acknowledgement may be over: then the oldest frame goes out again, as a probe.
    pub(crate) fn expire(&mut self, now: Time, rtt: &Rtt) -> Option<u64> {
        let due = self.in_flight > 0 && now >= self.waiting_since + rtt.rto_after(self.probes);
        if !due {
            return None;
        }
        // the timer starts anew, with a longer wait: RFC 6298, sections 5.5 and 5.6
        self.probes = self.probes.saturating_add(1);
        self.waiting_since = now;
        let oldest = self.slots.front()?;
        let (state, transmission, sequence, sends) = (oldest.state, oldest.transmission, self.base, oldest.sends);
        match state {
            State::Flying => self.lose(sequence),
            State::Acked | State::Lost => {}
        }
        // nothing is more urgent
        self.lost.retain(|lost| *lost != sequence);
        self.lost.push_front(sequence);
        self.skip_stale();
        (sends <= PATIENT_SENDS).then_some(transmission)
    }

    /// Whether the frame to be sent again next is a probe, which must not wait for the window (as RFC 9002, section
    /// 7.5, has it).
    pub(crate) fn is_probe(&self) -> bool {
        self.probes > 0 && self.lost.front() == Some(&self.base)
    }

    /// The websocket was lost, and whatever was on its way may be lost with it: everything is sent again, in order.
    pub(crate) fn lose_all(&mut self, now: Time) {
        self.transmissions.clear();
        self.lost.clear();
        self.late.clear();
        self.arrived = None;
        self.in_flight = 0;
        self.restart(now);
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if slot.state != State::Acked {
                slot.state = State::Lost;
                self.lost.push_back(self.base + place as i64);
            }
        }
    }

    /// Gives up the oldest frame if its last transmission is older than this, and nothing else: what AWS's agent does at each
    /// tick of its clock.
    pub(crate) fn lose_oldest(&mut self, now: Time, patience: Duration) {
        let Some(oldest) = self.slots.front() else { return };
        if oldest.state == State::Flying && now.saturating_sub(oldest.sent_at) > patience {
            self.lose(self.base);
            self.lost.push_front(self.base);
            self.skip_stale();
        }
    }

    /// Acknowledgements are read again, after they were not for a while.
    pub(crate) fn listens_again(&mut self, now: Time) {
        self.listens_since = now;
        self.restart(now);
    }

    /// When [`Self::detect`] or [`Self::expire`] will have something to say.
    pub(crate) fn deadline(&self, rtt: &Rtt) -> Option<Time> {
        let patience = (self.in_flight > 0).then(|| self.waiting_since + rtt.rto_after(self.probes));
        let overtaken = self.front_overtaken(rtt).filter(|(overtaken, _)| *overtaken);
        let overtaken = overtaken.map(|(_, sent_at)| sent_at + rtt.overtaking());
        let late = self.late.first().map(|(due, ..)| *due);
        [patience, overtaken, late].into_iter().flatten().min()
    }

    fn front_overtaken(&self, rtt: &Rtt) -> Option<(bool, Time)> {
        let front = self.transmissions.front()?;
        let sent_at = self.slots.get(self.place(front.sequence)?)?.sent_at;
        let overtaken = self.arrived.is_some_and(|arrived| {
            front.number + TRANSMISSIONS_LATER <= arrived.number || sent_at + rtt.reordering() <= arrived.sent_at
        });
        Some((overtaken, sent_at))
    }

    fn transmit(&mut self, now: Time, sequence: i64) -> Bytes {
        let number = self.next;
        let Some(slot) = self.slot(sequence) else { return Bytes::new() };
        slot.state = State::Flying;
        slot.sent_at = now;
        slot.transmission = number;
        slot.sends = slot.sends.saturating_add(1);
        let (frame, length) = (slot.frame.clone(), slot.length);
        self.next += 1;
        self.in_flight += length;
        self.transmissions.push_back(Transmission { sequence, number });
        frame
    }

    fn lose(&mut self, sequence: i64) {
        let Some(slot) = self.slot(sequence) else { return };
        slot.state = State::Lost;
        let length = slot.length;
        self.in_flight -= length;
    }

    /// Lets go of what is acknowledged at the front.
    fn shorten(&mut self) {
        while let Some(front) = self.slots.front().filter(|slot| slot.state == State::Acked) {
            self.span -= front.length;
            self.slots.pop_front();
            self.base += 1;
        }
        self.skip_stale();
    }

    fn restart(&mut self, now: Time) {
        self.waiting_since = now;
        self.probes = 0;
    }

    /// Keeps the first transmission one that is still on its way.
    fn skip_stale(&mut self) {
        while let Some(front) = self.transmissions.front() {
            let (sequence, number) = (front.sequence, front.number);
            match self.slot(sequence) {
                Some(slot) if slot.state == State::Flying && slot.transmission == number => return,
                _ => self.transmissions.pop_front(),
            };
        }
    }

    fn slot(&mut self, sequence: i64) -> Option<&mut Slot> {
        let place = self.place(sequence)?;
        self.slots.get_mut(place)
    }

    fn place(&self, sequence: i64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.base)?).ok()
    }
}

/// So many later transmissions must have arrived for a frame to be overtaken, unless time tells: DupThresh of RFC 5681,
/// section 3.2, kPacketThreshold of RFC 9002, section 6.1.1.
const TRANSMISSIONS_LATER: u64 = 3;
/// So often a frame is sent again as soon as it counts as lost.
const PATIENT_SENDS: u32 = 3;

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
