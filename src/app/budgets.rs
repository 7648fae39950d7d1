//! The request budgets: one for each app registration, since BC counts requests by it, whoever sends them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config;
use crate::http::Budget;

/// The budgets of all app registrations, for the life of the process.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets(Arc<Mutex<HashMap<String, Budget>>>);

impl Budgets {
    /// The budget of the app registration that `target` signs in with; targets that share one share its budget.
    pub(super) fn of(&self, target: &config::Target) -> Budget {
        let limits = &target.limits;
        let (concurrency, requests) = (limits.concurrency as usize, limits.requests_per_5_minutes);
        let registration = [target.base_url.as_str(), &target.tenant.value, &target.environment.value];
        let key = format!("{} {} {concurrency} {requests}", registration.join(" "), target.client_id.value);
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.entry(key).or_insert_with(|| Budget::new(concurrency, requests)).clone()
    }
}
