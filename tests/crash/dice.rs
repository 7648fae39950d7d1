//! Chance that can be repeated: everything random in a test follows from one seed.

/// `SplitMix64`, as small as a generator can be.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `sides - 1`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// A number from 1 to `last`.
    pub(crate) fn one_of(&mut self, last: i64) -> i64 {
        1 + i64::try_from(self.roll(last.unsigned_abs())).unwrap()
    }

    /// A number between 0 and 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.roll(1 << 32)).unwrap()) / f64::from(u32::MAX)
    }
}
