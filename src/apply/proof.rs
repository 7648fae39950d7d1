//! The proof that BC has no such row, which every create needs: how long it lasts, and how it is renewed.
//!
//! It counts from the begin of the look-up. Where a look-up takes longer than its proof lasts, renewing it leads nowhere:
//! then the pass ends and says so, rather than read for ever. Nothing is created without one.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::Applier;
use super::error::ApplyError;
use super::matching::{Found, Sought};
use super::operation::{What, Write};
use super::round::{Again, Round, lock};
use crate::bc::Failure;

/// How old the proof that BC has no such row may be when its create leaves.
const PROOF_LASTS: Duration = Duration::from_mins(1);

/// How often the proofs of one envelope are renewed before it is given up.
const MOST_RENEWALS: u32 = 3;

/// Renewals of one envelope's proofs, as many as have led to nothing so far.
#[derive(Debug, Default)]
pub(super) struct Renewals(u32);

impl Renewals {
    /// Counts one that is about to be made; fails instead when so many have led to nothing.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.0 == MOST_RENEWALS {
            return Err(Failure::Unavailable {
                what: "making sure that Business Central has none of the rows that are to be made".to_owned(),
                cause: format!(
                    "looking for them and getting a permit to send took longer than {} s, {MOST_RENEWALS} times in a \
                     row, and the answer is too old then. Business Central is too slow, or too much is asked of it at \
                     once: see `[targets.NAME.limits]`",
                    PROOF_LASTS.as_secs()
                ),
            });
        }
        self.0 += 1;
        Ok(())
    }

    /// The proofs still held when the permit to send was there.
    pub(super) fn held(&mut self) {
        self.0 = 0;
    }
}

impl Applier<'_> {
    /// Looks again for the rows of creates whose proof of absence is too old; those that are there by now are taken up
    /// anew in the next round.
    pub(super) async fn renew_proofs(
        &self,
        round: &Mutex<Round>,
        writes: &mut Vec<Write>,
        renewals: &mut Renewals,
    ) -> Result<(), ApplyError> {
        let seek = |write: &Write| match &write.what {
            What::Create { matched, customer, .. } if is_stale(write) => {
                Some(Sought { key: write.key.clone(), matched: matched.clone(), customer: customer.clone() })
            }
            _ => None,
        };
        let sought: Vec<_> = writes.iter().filter_map(seek).collect();
        if sought.is_empty() {
            return Ok(());
        }
        renewals.begin()?;
        let found = self.look_up(&sought).await?;
        let now = Instant::now();
        writes.retain_mut(|write| match (found.get(&write.key), &mut write.what) {
            (Some(Found::Absent(begun)), What::Create { absent_since, .. }) => {
                *absent_since = (*begun).min(now);
                true
            }
            (Some(_), _) => {
                lock(round).again(&write.key, Again::Now);
                false
            }
            (None, _) => true,
        });
        Ok(())
    }
}

/// Whether the proof that BC has no such row is too old to create one.
pub(super) fn is_stale(write: &Write) -> bool {
    matches!(&write.what, What::Create { absent_since, .. } if absent_since.elapsed() > PROOF_LASTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_that_is_always_too_old_is_not_renewed_for_ever() {
        let mut renewals = Renewals::default();
        for _ in 0..2 {
            for _ in 0..3 {
                renewals.begin().unwrap();
            }
            // A throttled envelope is sent again, with a proof that held until then.
            renewals.held();
        }
        for _ in 0..3 {
            renewals.begin().unwrap();
        }
        let given_up = renewals.begin().unwrap_err();
        assert!(matches!(given_up, Failure::Unavailable { .. }), "{given_up}");
        assert!(given_up.to_string().contains("took longer than 60 s"), "{given_up}");
    }
}
