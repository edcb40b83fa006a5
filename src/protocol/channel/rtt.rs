//! The round trip: a smoothed estimate, its variation, its minimum, and the patience that follows from them.
//!
//! The formulas are those of agent and client (agent/session/datachannel/datachannel.go and
//! src/datachannel/streaming.go, CalculateRetransmissionTimeout) and of RFC 6298, section 2, including their
//! granularity of 10 ms and their cap of a second; the first measurement replaces the initial guess at once, as section
//! 2.2 has it, where they would approach it in steps of an eighth. By Karn's rule (section 3) only frames that were
//! sent once are measured; agent and client measure all.

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
            // RFC 6298, section 2.2
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            // section 2.3: the variation first, because it takes the old estimate
            Some(smoothed) => {
                let deviation = smoothed.abs_diff(sample);
                self.variation = self.variation * (BETA - 1) / BETA + deviation / BETA;
                self.smoothed = Some(smoothed * (ALPHA - 1) / ALPHA + sample / ALPHA);
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
            // RFC 6298, section 2.3
            Some(smoothed) => smoothed + (self.variation * VARIATIONS).max(GRANULARITY),
        };
        patience.max(self.rto_min).min(self.rto_max)
    }

    /// The wait after `probes` unanswered ones: the first few come at the plain pace, because a peer that is not ready
    /// yet refuses frames silently and is ready soon; then it doubles, as RFC 6298, section 5.5, would have it from the
    /// first on. Agent and client never slow down.
    pub(crate) fn rto_after(&self, probes: u32) -> Duration {
        let doublings = probes.saturating_sub(PATIENT_PROBES).min(DOUBLINGS_MAX);
        (self.rto() * (1 << doublings)).min(self.rto_max.max(self.rto()))
    }

    /// How long a frame may be overtaken by later ones before it counts as lost: nine eighths of a round trip, the
    /// kTimeThreshold of RFC 9002, section 6.1.2.
    pub(crate) fn overtaking(&self) -> Duration {
        let round_trip = self.smoothed.unwrap_or(self.rto_initial);
        (round_trip * 9 / 8).max(GRANULARITY).min(self.rto_max)
    }

    /// The same for a frame that has been lost before: doubled each time.
    pub(crate) fn overtaking_after(&self, losses: u32) -> Duration {
        (self.overtaking() * (1 << losses.min(DOUBLINGS_MAX))).min(self.rto_max)
    }

    /// How much later than a frame another must have been sent for its acknowledgement to count as overtaking: a
    /// quarter of a round trip, as in RFC 8985, section 6.2, step 4, but of the smoothed one and not of the least.
    pub(crate) fn reordering(&self) -> Duration {
        (self.smoothed.unwrap_or(self.rto_initial) / REORDERING_SHARE).max(REORDERING_MIN)
    }
}

/// A measurement's share in the estimate, as a divisor: alpha of RFC 6298, section 2.3, RTTConstant in
/// agent/session/config/config.go.
const ALPHA: u32 = 8;
/// A deviation's share in the variation, as a divisor: beta of the same, RTTVConstant.
const BETA: u32 = 4;
/// So many variations are waited for on top of the estimate: K of RFC 6298, section 2.
const VARIATIONS: u32 = 4;
/// G of RFC 6298, section 2: ClockGranularity in agent/session/config/config.go.
const GRANULARITY: Duration = Duration::from_millis(10);
/// A round trip over the number of its parts by which frames may change places.
const REORDERING_SHARE: u32 = 4;
/// Less than a millisecond says nothing about order.
const REORDERING_MIN: Duration = Duration::from_millis(1);
/// How long a minimum counts: a windowed filter, as RFC 8985, section 6.2, step 1, asks for without saying how long.
const EPOCH: Duration = Duration::from_secs(300);
/// So many probes come at the plain pace.
const PATIENT_PROBES: u32 = 4;
/// More doublings than the greatest wait allows for; they must not overflow.
const DOUBLINGS_MAX: u32 = 10;

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
