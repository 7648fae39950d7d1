//! How large an envelope is, by how long BC takes.
//!
//! An envelope is one request to BC, which cancels it at eight minutes with an unknown outcome. Large ones save round
//! trips; 20 to 60 seconds keep that limit, and the cost of one that fails, far away.

use std::time::Duration;

/// How long an envelope is meant to take.
const AIM: Duration = Duration::from_secs(40);

/// What is assumed of BC before anything was measured.
const FIRST_GUESS: Duration = Duration::from_millis(400);

/// How much the newest measurement counts.
const WEIGHT: f64 = 0.3;

/// The measured pace of BC.
#[derive(Debug)]
pub(super) struct Pace {
    seconds_per_row: f64,
    largest: usize,
}

impl Pace {
    /// No measurement yet; `largest` operations at most.
    pub(super) fn new(largest: usize) -> Self {
        Self { seconds_per_row: FIRST_GUESS.as_secs_f64(), largest: largest.max(1) }
    }

    /// Notes that an envelope in which `rows` rows were written took `elapsed`.
    pub(super) fn measured(&mut self, rows: usize, elapsed: Duration) {
        if rows > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
            let newest = elapsed.as_secs_f64() / rows as f64;
            self.seconds_per_row += WEIGHT * (newest - self.seconds_per_row);
        }
    }

    /// BC found an envelope too big: half of it from now on.
    pub(super) fn halve(&mut self) {
        self.largest = (self.largest / 2).max(1);
    }

    /// How many operations an envelope may hold.
    pub(super) fn operations(&self) -> usize {
        self.largest
    }

    /// How many rows an envelope may write.
    pub(super) fn rows(&self) -> usize {
        let rows = AIM.as_secs_f64() / self.seconds_per_row.max(0.000_1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^32")]
        let rows = rows as usize;
        rows.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_server_gets_full_envelopes_and_a_slow_one_small_ones() {
        let mut pace = Pace::new(100);
        assert_eq!((pace.operations(), pace.rows()), (100, 100));
        for _ in 0..20 {
            pace.measured(100, Duration::from_millis(500));
        }
        assert!(pace.rows() > 5_000);
        for _ in 0..20 {
            pace.measured(10, Duration::from_secs(40));
        }
        assert_eq!(pace.rows(), 10);
    }

    #[test]
    fn too_big_halves_down_to_one() {
        let mut pace = Pace::new(3);
        pace.halve();
        assert_eq!(pace.operations(), 1);
        pace.halve();
        assert_eq!(pace.operations(), 1);
    }
}
