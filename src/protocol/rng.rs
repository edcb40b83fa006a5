//! Names for frames: UUIDs of version 4 from a small generator with a seed.
//!
//! Message ids need to differ, not to be secret: nobody compares them. The generator is SplitMix64, which is a counter
//! and a mixing function, so that two seeds never fall into step.

use uuid::{Builder, Uuid};

#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        let random = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        Builder::from_random_bytes(random.to_be_bytes()).into_uuid()
    }
}

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
