//! From `[alerts]` to what tells people.

use chrono::NaiveDate;
use tracing::warn;

use super::App;
use super::connect::told;
use crate::alert::{Endpoint, SecretExpiry, Settings};
use crate::config::{Located, SecretRef};

impl App<'_> {
    /// Who is told, and about what. An address that cannot be used is warned of and left out: that nobody can be told is
    /// no reason to do nothing.
    pub(super) fn alerts(&self) -> Settings {
        let alerts = &self.config.alerts;
        let endpoint = |key: &str, address: &Option<Located<SecretRef>>| {
            let address = address.as_ref()?;
            let found = address.value.resolve(self.environment).map_err(|cause| told(&cause));
            match found.and_then(|address| Endpoint::new(&address).map_err(|cause| cause.to_string())) {
                Ok(endpoint) => Some(endpoint),
                Err(cause) => {
                    warn!("nobody is told by `{key}` of [alerts]: {cause}");
                    None
                }
            }
        };
        Settings {
            command: alerts.command.clone(),
            webhook: endpoint("webhook", &alerts.webhook),
            heartbeat: endpoint("heartbeat", &alerts.heartbeat),
            jobs: self.config.jobs.iter().filter(|job| job.enabled).map(|job| job.name.value.clone()).collect(),
            secrets: self.dated_secrets(),
        }
    }

    /// The secrets that expire soon, or have, of targets that are in use.
    #[must_use]
    pub fn expiring_secrets(&self) -> Vec<SecretExpiry> {
        let (secrets, now) = (self.dated_secrets(), self.clock.now());
        secrets.iter().filter_map(|(target, on)| SecretExpiry::near(target, *on, now)).collect()
    }

    /// When the secrets of the targets that are in use expire, as far as the configuration says.
    fn dated_secrets(&self) -> Vec<(String, NaiveDate)> {
        let is_used = |name: &str| self.config.jobs.iter().any(|job| job.enabled && job.target == name);
        let targets = self.config.targets.iter().filter(|target| is_used(&target.name.value));
        targets.filter_map(|target| Some((target.name.value.clone(), target.secret_expires?))).collect()
    }
}
