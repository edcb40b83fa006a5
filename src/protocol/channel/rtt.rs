//! The round trip: a smoothed estimate, its variation, its minimum, and the patience that follows from them.
//!
//! The formulas are those of agent and client (and of RFC 6298), including their granularity of 10 ms and their cap of
//! a second; the first measurement replaces the initial guess at once, as RFC 6298 has it, where they would approach it
//! in steps of an eighth. By Karn's rule only frames that were sent once are measured.

use core::time::Duration;

use crate::Time;

use super::config::Limits;

#[derive(Debug)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    /// Minima of the current and of the previous epoch, so that a path that became longer is noticed in the end.
    minima: [Option<Duration>; 2],
    epoch: Time,
    rto_initial: Duration,
    rto_min: Duration,
    rto_max: Duration,
}

impl Rtt {
    pub(crate) fn new(limits: &Limits, now: Time) -> Self {
        Self {
            smoothed: None,
            variation: Duration::ZERO,
            minima: [None; 2],
            epoch: now,
            rto_initial: limits.rto_initial,
            rto_min: limits.rto_min,
            rto_max: limits.rto_max,
        }
    }

    pub(crate) fn sample(&mut self, now: Time, sample: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = self.variation * 3 / 4 + smoothed.abs_diff(sample) / 4;
                self.smoothed = Some(smoothed * 7 / 8 + sample / 8);
            }
        }
        if now.saturating_sub(self.epoch) > EPOCH {
            self.minima = [None, self.minima[0]];
            self.epoch = now;
        }
        self.minima[0] = Some(self.minima[0].map_or(sample, |least| least.min(sample)));
    }

    /// The path may be another one now.
    pub(crate) fn reconnected(&mut self, now: Time) {
        self.minima = [None; 2];
        self.epoch = now;
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    pub(crate) fn minimum(&self) -> Option<Duration> {
        self.minima.iter().flatten().min().copied()
    }

    /// How long to wait for an acknowledgement.
    pub(crate) fn rto(&self) -> Duration {
        let patience = match self.smoothed {
            None => self.rto_initial,
            Some(smoothed) => smoothed + (self.variation * 4).max(GRANULARITY),
        };
        patience.max(self.rto_min).min(self.rto_max)
    }

    /// The wait after `probes` unanswered ones: the first few come at the plain pace, because a peer that is not ready
    /// yet refuses frames silently and is ready soon; then it doubles.
    pub(crate) fn rto_after(&self, probes: u32) -> Duration {
        let doublings = probes.saturating_sub(PATIENT_PROBES).min(10);
        (self.rto() * (1 << doublings)).min(self.rto_max.max(self.rto()))
    }

    /// How long a frame may be overtaken by later ones before it counts as lost.
    pub(crate) fn overtaking(&self) -> Duration {
        let round_trip = self.smoothed.unwrap_or(self.rto_initial);
        (round_trip * 9 / 8).max(GRANULARITY).min(self.rto_max)
    }

    /// The same for a frame that has been lost before: doubled each time.
    pub(crate) fn overtaking_after(&self, losses: u32) -> Duration {
        (self.overtaking() * (1 << losses.min(10))).min(self.rto_max)
    }

    /// How much later than a frame another must have been sent for its acknowledgement to count as overtaking.
    pub(crate) fn reordering(&self) -> Duration {
        (self.smoothed.unwrap_or(self.rto_initial) / 4).max(Duration::from_millis(1))
    }
}

const GRANULARITY: Duration = Duration::from_millis(10);
const EPOCH: Duration = Duration::from_secs(300);
const PATIENT_PROBES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_000_000);

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn follows_the_formulas() {
        let mut rtt = Rtt::new(&Limits::default(), NOW);
        assert_eq!(rtt.rto(), ms(200));
        rtt.sample(NOW, ms(80));
        assert_eq!((rtt.smoothed(), rtt.rto()), (Some(ms(80)), ms(240)));
        rtt.sample(NOW, ms(160));
        // variation 40·¾ + 80·¼ = 50, smoothed 80·⅞ + 160·⅛ = 90
        assert_eq!((rtt.smoothed(), rtt.rto()), (Some(ms(90)), ms(290)));
        assert_eq!(rtt.minimum(), Some(ms(80)));
        for _ in 0..100 {
            rtt.sample(NOW, ms(90));
        }
        assert_eq!(rtt.rto(), ms(100));
        rtt.sample(NOW, Duration::from_secs(100));
        assert_eq!(rtt.rto(), ms(1000));
    }

    #[test]
    fn patience_doubles_after_a_few_probes() {
        let rtt = Rtt::new(&Limits::default(), NOW);
        let waits: Vec<_> = (0..8).map(|probes| rtt.rto_after(probes).as_millis()).collect();
        assert_eq!(waits, [200, 200, 200, 200, 200, 400, 800, 1000]);
    }

    #[test]
    fn an_old_minimum_is_forgotten() {
        let mut rtt = Rtt::new(&Limits::default(), NOW);
        rtt.sample(NOW, ms(1));
        rtt.sample(NOW + ms(301_000), ms(50));
        assert_eq!(rtt.minimum(), Some(ms(1)));
        rtt.sample(NOW + ms(602_000), ms(60));
        assert_eq!(rtt.minimum(), Some(ms(50)));
        rtt.reconnected(NOW + ms(602_000));
        assert_eq!(rtt.minimum(), None);
    }
}
