//! Names for frames: UUIDs of version 4 (RFC 9562, section 5.4) from a small generator with a seed.
//!
//! Message ids need to differ, not to be secret: nobody compares them (see [`crate::payload::Acknowledge`]). The
//! generator is SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014),
//! which is a counter and a mixing function, so that two seeds never fall into step.

use uuid::{Builder, Uuid};

#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(MIX_FIRST);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(MIX_SECOND);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        let random = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        Builder::from_random_bytes(random.to_be_bytes()).into_uuid()
    }
}

/// How far the counter goes at each step: 2⁶⁴ over the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
/// The mixing function is variant 13 of Stafford's, like its two shifts and the last one.
const MIX_FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const MIX_SECOND: u64 = 0x94d0_49bb_1331_11eb;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_version_4_and_differ() {
        let mut rng = Rng::new(7);
        let (first, second) = (rng.uuid(), rng.uuid());
        assert_eq!(first.get_version_num(), 4);
        assert_ne!(first, second);
        assert_eq!(Rng::new(7).uuid(), first);
    }
}
