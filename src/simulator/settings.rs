//! What can be switched while the simulator runs: latency, limits, permissions and set-up.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Switches of a running simulator, as `/simulator/settings` shows and takes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Milliseconds that every API request takes.
    pub request_ms: u64,
    /// Milliseconds that every operation inside a `$batch` takes on top.
    pub operation_ms: u64,
    /// Limits of the principal.
    pub limits: Limits,
    /// Seconds for which a new token is valid.
    pub token_seconds: i64,
    /// Seconds by which the simulator's clock is ahead of the real one.
    pub clock_offset_seconds: i64,
    /// Whether the app is enabled on the page *Microsoft Entra applications*.
    pub app_enabled: bool,
    /// Whether the tenant has consented; without it tokens carry no roles.
    pub consent: bool,
    /// Sets for which the app has no permission.
    pub denied: BTreeSet<String>,
    /// Sets that the app may only read.
    pub read_only: BTreeSet<String>,
    /// Sets whose number series has *Manual Nos.*
    pub manual_numbers: BTreeSet<String>,
    /// Whether new customers and items get posting groups from a configuration template.
    pub template: bool,
    /// Scheme, host and port that next links show instead of the simulator's own.
    pub next_link_host: Option<String>,
}

/// Limits for one principal (BC documentation, operational limits).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Whether they are enforced.
    pub enforced: bool,
    /// Requests within the window.
    pub requests: usize,
    /// Length of the sliding window in seconds.
    pub window_seconds: u64,
    /// Requests that run at the same time.
    pub running: usize,
    /// Requests that wait for their turn.
    pub queued: usize,
    /// Seconds in the `Retry-After` header of a 429; without it the header is missing.
    pub retry_after: Option<u64>,
    /// Whether each operation of a `$batch` counts as a request.
    pub count_operations: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enforced: true,
            requests: 6_000,
            window_seconds: 300,
            running: 5,
            queued: 95,
            retry_after: None,
            count_operations: false,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_ms: 0,
            operation_ms: 0,
            limits: Limits::default(),
            token_seconds: 3_599,
            clock_offset_seconds: 0,
            app_enabled: true,
            consent: true,
            denied: BTreeSet::new(),
            read_only: BTreeSet::new(),
            manual_numbers: ["customers", "contacts", "items"].map(str::to_owned).into(),
            template: true,
            next_link_host: None,
        }
    }
}
