//! Faults on demand: rules that say what goes wrong, with which requests, and how often.
//!
//! This file decides which fault strikes; the server and the engine carry it out. Decisions come from a seeded generator,
//! so a run with the same seed and the same requests meets the same faults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::Object;

/// The set under which requests to the token endpoint are matched.
pub(super) const TOKENS: &str = "token";

/// A rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// With which requests or operations; all of them when left out.
    #[serde(default, rename = "match")]
    pub matching: FaultMatch,
    /// How often it may strike; left out: once, or without end when `probability` or `every` is given.
    #[serde(default)]
    pub times: Option<u32>,
    /// Chance with which it strikes a match, from 0 to 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Strike every n-th match only.
    #[serde(default)]
    pub every: Option<u32>,
}

impl Fault {
    /// A fault that strikes the next matching request or operation, once.
    #[must_use]
    pub fn once(kind: FaultKind, matching: FaultMatch) -> Self {
        Self { kind, matching, times: Some(1), probability: None, every: None }
    }

    /// A fault that strikes with a chance, for ever.
    #[must_use]
    pub fn with_probability(kind: FaultKind, matching: FaultMatch, probability: f64) -> Self {
        Self { kind, matching, times: None, probability: Some(probability), every: None }
    }
}

/// What a fault strikes. A `$batch` matches when one of its operations does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultMatch {
    /// HTTP verb of the operation.
    pub method: Option<String>,
    /// Set of the operation, `companies` included; `token` for the token endpoint, which is struck by `status`, `drop`,
    /// `hang` and `latency` only, and only when it is named.
    pub set: Option<String>,
    /// Only what is (`true`) or is not (`false`) inside a `$batch`.
    pub batch: Option<bool>,
    /// A property that the operation's body must have with `value`.
    pub property: Option<String>,
    /// See `property`; text without quotes.
    pub value: Option<String>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// An answer from the gateway, such as 429, 502, 503 or 504.
    Status {
        /// HTTP status.
        status: u16,
        /// Seconds of a `Retry-After` header.
        #[serde(default)]
        retry_after: Option<u64>,
        /// Whether the request takes effect all the same.
        #[serde(default)]
        committed: bool,
    },
    /// The connection is closed without an answer.
    Drop {
        /// Whether the request takes effect; a `$batch` counts as one.
        #[serde(default)]
        committed: bool,
        /// For a `$batch` without `committed`: how many of its operations take effect. None of a snapshot's ever do.
        #[serde(default)]
        after_operations: usize,
    },
    /// The request takes effect later, when its client has long been told otherwise.
    LateCommit {
        /// Shortest delay in milliseconds.
        min_ms: u64,
        /// Longest delay in milliseconds.
        max_ms: u64,
        /// HTTP status of the answer, such as 504; without it the connection is dropped.
        #[serde(default)]
        answer: Option<u16>,
        /// Whether there is neither, and the client waits until it gives up.
        #[serde(default)]
        silent: bool,
    },
    /// The request takes effect, but no answer ever comes.
    Hang,
    /// The request takes effect; its answer stops in the middle.
    CutBody,
    /// The request takes effect; its answer is no JSON.
    MalformedJson,
    /// The `$batch` takes effect; its answer lacks the last entry.
    MissingEntry,
    /// The request takes longer.
    Latency {
        /// Milliseconds on top of the settings.
        ms: u64,
    },
    /// Every token is revoked, and the request refused with 401.
    RevokeTokens,
    /// The operation is refused.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Value of `error.code`.
        code: String,
        /// Value of `error.message`.
        message: String,
    },
    /// The operation is the victim of a deadlock.
    Deadlock,
    /// The operation meets a lock.
    Lock,
    /// A person changes the row right before the operation looks at it.
    PersonEdit {
        /// New values by property.
        changes: serde_json::Map<String, serde_json::Value>,
    },
}

impl FaultKind {
    /// Whether it strikes single operations rather than whole requests.
    fn strikes_operations(&self) -> bool {
        matches!(self, Self::Refuse { .. } | Self::Deadlock | Self::Lock | Self::PersonEdit { .. })
    }

    /// Its name in JSON; of an answer of the gateway the status.
    fn name(&self) -> String {
        match (self, serde_json::to_value(self)) {
            (Self::Status { status, .. }, _) => status.to_string(),
            (_, Ok(Value::String(name))) => name,
            (_, Ok(Value::Object(kind))) => kind.into_iter().map(|(name, _)| name).collect(),
            _ => String::new(),
        }
    }
}

/// What a rule is matched against.
#[derive(Debug, Clone)]
pub(super) struct Subject<'a> {
    /// HTTP verb.
    pub(super) method: &'a str,
    /// Name of the set.
    pub(super) set: String,
    /// Whether it is inside a `$batch`.
    pub(super) in_batch: bool,
    /// JSON text of the body.
    pub(super) body: &'a str,
}

impl FaultMatch {
    fn accepts(&self, subject: &Subject) -> bool {
        // The token endpoint must be named: a fault meant for the API would else be spent on signing in.
        let named = self.set.as_ref().map_or(subject.set != TOKENS, |set| *set == subject.set);
        named
            && self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(subject.method))
            && self.batch.is_none_or(|batch| batch == subject.in_batch)
            && self.property.as_ref().is_none_or(|property| has_value(subject.body, property, self.value.as_deref()))
    }
}

fn has_value(body: &str, property: &str, value: Option<&str>) -> bool {
    let Ok(object) = serde_json::from_str::<Object>(body) else { return false };
    object.0.iter().any(|(name, raw)| {
        let text: String = serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
        name == property && value.is_none_or(|value| value == text)
    })
}

/// The rules in force.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Vec<Rule>,
    generator: Generator,
    struck: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    matched: u32,
    left: Option<u32>,
}

impl Faults {
    /// No rules; decisions follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), generator: Generator(seed), struck: BTreeMap::new() }
    }

    /// Puts a rule into force, behind the others.
    pub(super) fn add(&mut self, fault: Fault) {
        let endless = fault.probability.is_some() || fault.every.is_some();
        let left = fault.times.or(if endless { None } else { Some(1) });
        self.rules.push(Rule { fault, matched: 0, left });
    }

    /// Removes all rules and, with a seed, starts the generator anew.
    pub(super) fn clear(&mut self, seed: Option<u64>) {
        self.rules.clear();
        if let Some(seed) = seed {
            self.generator = Generator(seed);
        }
    }

    /// The rules that can still strike.
    pub(super) fn list(&self) -> Vec<Fault> {
        let armed = self.rules.iter().filter(|rule| rule.left != Some(0));
        armed.map(|rule| Fault { times: rule.left, ..rule.fault.clone() }).collect()
    }

    /// Whether any rule can still strike.
    pub(super) fn is_armed(&self) -> bool {
        self.rules.iter().any(|rule| rule.left != Some(0))
    }

    /// How many faults have struck, by kind.
    pub(super) fn struck(&self) -> &BTreeMap<String, u64> {
        &self.struck
    }

    /// The fault that strikes a request with these operations.
    pub(super) fn for_request(&mut self, subjects: &[Subject]) -> Option<FaultKind> {
        self.draw(false, subjects)
    }

    /// The fault that strikes one operation.
    pub(super) fn for_operation(&mut self, subject: &Subject) -> Option<FaultKind> {
        self.draw(true, std::slice::from_ref(subject))
    }

    /// A number between `min` and `max`, both included.
    pub(super) fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.generator.next() % (max.saturating_sub(min) + 1)
    }

    fn draw(&mut self, operations: bool, subjects: &[Subject]) -> Option<FaultKind> {
        for rule in &mut self.rules {
            let fault = &rule.fault;
            let concerned = fault.kind.strikes_operations() == operations
                && rule.left != Some(0)
                && subjects.iter().any(|subject| fault.matching.accepts(subject));
            if !concerned {
                continue;
            }
            rule.matched += 1;
            let in_turn = fault.every.is_none_or(|every| rule.matched.is_multiple_of(every.max(1)));
            if in_turn && fault.probability.is_none_or(|probability| self.generator.chance(probability)) {
                rule.left = rule.left.map(|left| left - 1);
                *self.struck.entry(fault.kind.name()).or_default() += 1;
                return Some(fault.kind.clone());
            }
        }
        None
    }
}

/// `SplitMix64`: small, seedable, good enough to draw faults.
#[derive(Debug)]
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn chance(&mut self, probability: f64) -> bool {
        let drawn = u32::try_from(self.next() >> 32).unwrap_or_default();
        f64::from(drawn) / f64::from(u32::MAX) < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(body: &str) -> Subject<'_> {
        Subject { method: "POST", set: "customers".to_owned(), in_batch: true, body }
    }

    #[test]
    fn a_rule_strikes_what_it_matches_and_no_more_often_than_it_may() {
        let mut faults = Faults::new(1);
        let matching = FaultMatch {
            method: Some("post".to_owned()),
            property: Some("number".to_owned()),
            value: Some("C1".to_owned()),
            ..FaultMatch::default()
        };
        faults.add(Fault::once(FaultKind::Deadlock, matching));
        assert_eq!(faults.for_operation(&post(r#"{"number":"C2"}"#)), None);
        assert_eq!(faults.for_request(&[post(r#"{"number":"C1"}"#)]), None);
        assert_eq!(faults.for_operation(&post(r#"{"number":"C1"}"#)), Some(FaultKind::Deadlock));
        assert_eq!(faults.for_operation(&post(r#"{"number":"C1"}"#)), None);
        assert!(faults.list().is_empty());
        faults.add(Fault::once(
            FaultKind::Status { status: 503, retry_after: None, committed: true },
            FaultMatch::default(),
        ));
        faults.add(Fault::once(FaultKind::CutBody, FaultMatch::default()));
        let late = FaultKind::LateCommit { min_ms: 1, max_ms: 2, answer: Some(504), silent: false };
        faults.add(Fault::once(late, FaultMatch::default()));
        for _ in 0..4 {
            faults.for_request(&[post("{}")]);
        }
        let struck: Vec<_> = faults.struck().iter().map(|(name, times)| format!("{name} {times}")).collect();
        assert_eq!(struck, ["503 1", "cut_body 1", "deadlock 1", "late_commit 1"]);
    }

    #[test]
    fn every_nth_and_chance() {
        let mut faults = Faults::new(1);
        faults.add(Fault { every: Some(3), times: None, ..Fault::once(FaultKind::Lock, FaultMatch::default()) });
        let struck: Vec<_> = (0..6).map(|_| faults.for_operation(&post("{}")).is_some()).collect();
        assert_eq!(struck, [false, false, true, false, false, true]);

        let draws = |seed| {
            let mut faults = Faults::new(seed);
            faults.add(Fault::with_probability(FaultKind::CutBody, FaultMatch::default(), 0.3));
            (0..1_000).map(|_| faults.for_request(&[post("{}")]).is_some()).collect::<Vec<_>>()
        };
        let hits = draws(7).iter().filter(|hit| **hit).count();
        assert!((250..350).contains(&hits), "{hits}");
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn rules_are_json() {
        let json = r#"{"kind":{"status":{"status":503,"retry_after":2}},"match":{"set":"items"},"every":2}"#;
        let fault: Fault = serde_json::from_str(json).unwrap();
        assert_eq!(fault.kind, FaultKind::Status { status: 503, retry_after: Some(2), committed: false });
        assert!(serde_json::from_str::<Fault>(r#"{"kind":"explode"}"#).is_err());
    }
}
