//! How many bytes may be on their way.
//!
//! The protocol has no window of its own: agent and client of AWS send as fast as the websocket takes it
//! (agent/session/datachannel/datachannel.go, SendStreamDataMessage; src/datachannel/streaming.go,
//! SendInputDataMessage), and what finds no room in their buffers is never sent again. This one grows from its minimum
//! by as much as is acknowledged (so it doubles every round trip: slow start, RFC 5681, section 3.1) while the path
//! does not queue, which shows in the round trip: once that is well above its minimum, more on the way would only wait
//! somewhere. So it settles at about twice the product of bandwidth and delay, and keystrokes behind a bulk transfer
//! stay quick.
//!
//! ```text
//!   round trip   ≤ 1½·min + 10 ms   ≤ 2·min + 20 ms    …       > 3·min + 100 ms
//!   window       doubles            grows by 1/16      stays   shrinks by 1/8        per round trip
//! ```
//!
//! A lost frame takes a quarter off, at most once per round trip: the websocket below is reliable, so a loss is a
//! reconnection somewhere or an overrun service, and not the everyday signal that it is to TCP. The numbers
//! are a choice of this crate; RFC 5681, section 3.1, halves.

use core::time::Duration;

use super::config::Limits;
use super::flight::Acked;
use super::rtt::Rtt;

#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    min: usize,
    max: usize,
    /// Above this size it grows by a sixteenth and not by all of what is acknowledged.
    threshold: usize,
    /// The round trip under way ends with the acknowledgement of this transmission.
    round_end: u64,
    round_rtt: Option<Duration>,
    /// Losses among transmissions before this one are of the same event.
    recovery_end: u64,
}

impl Window {
    pub(crate) fn new(limits: &Limits) -> Self {
        let min = limits.window_min.max(1);
        Self {
            size: min,
            min,
            max: limits.window_max.max(min),
            threshold: usize::MAX,
            round_end: 0,
            round_rtt: None,
            recovery_end: 0,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// A frame was acknowledged. `used` tells whether the window was what held back more; `next` is the number of the
    /// next transmission.
    pub(crate) fn acknowledged(&mut self, acked: &Acked, rtt: &Rtt, used: bool, next: u64) {
        if let Some(sample) = acked.sample {
            self.round_rtt = Some(self.round_rtt.map_or(sample, |least| least.min(sample)));
        }
        if acked.transmission >= self.round_end {
            self.end_round(rtt);
            self.round_end = next;
        }
        let step = match Queue::of(rtt) {
            Queue::Short if self.size < self.threshold => acked.length,
            Queue::Short | Queue::Growing => acked.length / SLOW_GROWTH,
            Queue::Long => 0,
        };
        if used {
            self.size = (self.size + step).min(self.max);
        }
    }

    /// A frame was lost in this transmission. What else was on its way then is of the same event (RFC 9002, section
    /// 7.3.2).
    pub(crate) fn lost(&mut self, transmission: u64, next: u64) {
        if transmission < self.recovery_end {
            return;
        }
        self.recovery_end = next;
        self.size = (self.size - self.size / LOSS_SHARE).max(self.min);
        self.threshold = self.size;
    }

    fn end_round(&mut self, rtt: &Rtt) {
        let (Some(round), Some(least)) = (self.round_rtt.take(), rtt.minimum()) else { return };
        if round > least * 3 + LONG_SLACK {
            self.size = (self.size - self.size / QUEUE_SHARE).max(self.min);
        }
    }
}

/// How much waits somewhere on the way.
enum Queue {
    Short,
    Growing,
    Long,
}

impl Queue {
    /// The smoothed round trip tells within a few frames; but what it tells is a round trip old, in which the window may
    /// have doubled. Hence the step in the middle.
    fn of(rtt: &Rtt) -> Self {
        let (Some(smoothed), Some(least)) = (rtt.smoothed(), rtt.minimum()) else { return Self::Short };
        if smoothed <= least * 3 / 2 + SHORT_SLACK {
            Self::Short
        } else if smoothed <= least * 2 + GROWING_SLACK {
            Self::Growing
        } else {
            Self::Long
        }
    }
}

/// By what part of the acknowledged bytes it grows after the first loss, or while a queue begins: the picture's 1/16.
const SLOW_GROWTH: usize = 16;
/// What part a lost frame takes off.
const LOSS_SHARE: usize = 4;
/// What part a long queue takes off, once per round trip: the picture's 1/8.
const QUEUE_SHARE: usize = 8;
// Slack for short paths, where a scheduler's few milliseconds are many round trips; in the order of the picture.
const SHORT_SLACK: Duration = Duration::from_millis(10);
const GROWING_SLACK: Duration = Duration::from_millis(20);
const LONG_SLACK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    const NOW: Time = Time::from_secs(1_000_000);

    /// Rounds of full windows over a path with this bandwidth (bytes/s) and delay; the window at the end.
    fn settle(bandwidth: u64, delay: Duration, rounds: u64) -> usize {
        let limits = Limits::default();
        let (mut window, mut rtt) = (Window::new(&limits), Rtt::new(&limits, NOW));
        let mut transmission = 0;
        for _ in 0..rounds {
            let frames = (window.size() / 1024) as u64;
            let serial = Duration::from_nanos(frames * 1024 * 1_000_000_000 / bandwidth);
            let sample = delay.max(serial);
            for _ in 0..frames {
                rtt.sample(NOW, sample);
                let acked = Acked { length: 1024, sample: Some(sample), transmission };
                transmission += 1;
                window.acknowledged(&acked, &rtt, true, transmission + frames);
            }
        }
        window.size()
    }

    #[test]
    fn grows_to_what_the_path_holds_and_not_much_further() {
        // 20 MB/s over 80 ms hold 1.6 MB
        let long = settle(20_000_000, Duration::from_millis(80), 50);
        assert!((1_600_000..6_400_000).contains(&long), "{long}");
        // 10 MB/s over 1 ms hold 10 kB: the minimum does
        let short = settle(10_000_000, Duration::from_millis(1), 50);
        assert!((64 << 10..1 << 20).contains(&short), "{short}");
        assert_eq!(settle(10_000_000_000, Duration::from_millis(100), 50), 8 << 20);
    }

    #[test]
    fn a_loss_counts_once_per_round_trip() {
        let limits = Limits { window_min: 1000, ..Limits::default() };
        let mut window = Window::new(&limits);
        window.size = 8000;
        window.lost(5, 20);
        window.lost(6, 21);
        assert_eq!(window.size(), 6000);
        for transmission in 1..100 {
            window.lost(transmission * 100, transmission * 100 + 1);
        }
        assert_eq!(window.size(), 1000);
    }
}
