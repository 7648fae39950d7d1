//! What the simulator was asked for: counts by kind and by set, and the processor time that it took itself.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// HTTP requests to the API, envelopes included, refused ones too.
    pub requests: u64,
    /// Requests to the token endpoint.
    pub tokens: u64,
    /// `$batch` envelopes.
    pub batches: u64,
    /// Operations inside envelopes.
    pub batched: u64,
    /// Requests refused with 429 by the limits.
    pub throttled: u64,
    /// Requests refused with 401.
    pub unauthorized: u64,
    /// Reads of `$metadata`.
    pub metadata: u64,
    /// Faults that have struck.
    pub faults: u64,
    /// The same by kind; answers of the gateway by their status.
    pub struck: BTreeMap<String, u64>,
    /// Rows that were created late, by requests whose client had been told otherwise.
    pub late_creates: u64,
    /// Operations that were refused because somebody else had changed the row.
    pub stale: u64,
    /// Operations, alone or in envelopes, by set.
    pub sets: BTreeMap<String, Operations>,
    /// Most requests that ran at the same time.
    pub most_running: usize,
}

/// Operations on one set.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Operations {
    /// Lists and look-ups.
    pub reads: u64,
    /// Rows created.
    pub creates: u64,
    /// Changes of a row.
    pub updates: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// Bound actions that ran.
    pub actions: u64,
    /// Operations that were refused.
    pub refused: u64,
}

impl Stats {
    /// Operations on `set`; zeros when there were none.
    #[must_use]
    pub fn set(&self, set: &str) -> Operations {
        self.sets.get(set).cloned().unwrap_or_default()
    }

    /// Operations that changed something, over all sets.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.sets.values().map(|set| set.creates + set.updates + set.deletes + set.actions).sum()
    }

    /// Counts one operation with the verb `method`; `action` says whether it is a bound one.
    pub(super) fn count(&mut self, set: &str, method: &str, action: bool, refused: bool) {
        let operations = self.sets.entry(set.to_owned()).or_default();
        *match method {
            _ if refused => &mut operations.refused,
            "GET" => &mut operations.reads,
            "POST" if action => &mut operations.actions,
            "POST" => &mut operations.creates,
            "DELETE" => &mut operations.deletes,
            _ => &mut operations.updates,
        } += 1;
    }
}

/// Seconds of processor time that this process has used; 0 where `/proc` does not tell.
pub(super) fn cpu_seconds() -> f64 {
    // Fields 14 and 15 in clock ticks, of which Linux shows 100 a second on every architecture.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok());
    f64::from(ticks.sum::<u32>()) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_by_what_they_did() {
        let mut stats = Stats::default();
        stats.count("customers", "POST", false, false);
        stats.count("customers", "POST", false, true);
        stats.count("customers", "PATCH", false, false);
        stats.count("salesOrders", "POST", true, false);
        stats.count("salesOrders", "GET", false, false);
        assert_eq!(stats.set("customers"), Operations { creates: 1, refused: 1, updates: 1, ..Operations::default() });
        assert_eq!((stats.writes(), stats.set("items")), (3, Operations::default()));
    }
}
