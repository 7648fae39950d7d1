//! Whether everything that the configuration points to outside itself is there: secrets and files.
//!
//! Only what an enabled job needs is looked for, so that a job can be prepared before its secret exists.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use secrecy::ExposeSecret;
use url::Url;

use super::address;
use super::environment::Environment;
use super::job::Job;
use super::reader::Findings;
use super::secret::{SecretError, SecretRef};
use super::service::Alerts;
use super::source::{Source, SourceKind};
use super::target::{SignIn, Target};
use super::text::Located;

/// Looks for what the alerts and the enabled `jobs` need.
pub(super) fn check(
    targets: &[Target],
    sources: &[Source],
    jobs: &[Job],
    alerts: &Alerts,
    environment: &dyn Environment,
    findings: &Findings,
) {
    let places = Places { environment, findings };
    let enabled = || jobs.iter().filter(|job| job.enabled);
    let used_targets: HashSet<&str> = enabled().map(|job| job.target.as_str()).collect();
    let used_sources: HashSet<&str> = enabled().map(|job| job.source.value.as_str()).collect();
    for target in targets.iter().filter(|target| used_targets.contains(target.name.value.as_str())) {
        places.target(target);
    }
    for source in sources.iter().filter(|source| used_sources.contains(source.name.value.as_str())) {
        places.source(source);
    }
    for url in alerts.webhook.iter().chain(&alerts.heartbeat) {
        places.secret(url, |text| address::service(text).map(|_| ()).map_err(|_| address::SERVICE_ALLOWED));
    }
}

struct Places<'a> {
    environment: &'a dyn Environment,
    findings: &'a Findings,
}

/// What a secret must look like, if it is not what it should be.
type Shape = Result<(), &'static str>;

impl Places<'_> {
    fn target(&self, target: &Target) {
        match &target.sign_in {
            SignIn::Secret(secret) => self.secret(secret, |_| Ok(())),
            SignIn::Certificate(certificate) => {
                self.file(certificate, &certificate.value.file);
                self.secret(&certificate.value.key, |_| Ok(()));
            }
        }
        if let Some(extra_ca) = &target.extra_ca {
            self.file(extra_ca, &extra_ca.value);
        }
    }

    /// The file of a `SQLite` source is not looked for: like a server, it may come and go.
    fn source(&self, source: &Source) {
        match &source.kind {
            SourceKind::Postgres(url) => self.secret(url, |text| {
                has_scheme(text, &["postgres", "postgresql"], "postgres://user:password@host/database")
            }),
            SourceKind::Mysql(url) => {
                self.secret(url, |text| has_scheme(text, &["mysql", "mariadb"], "mysql://user:password@host/database"));
            }
            SourceKind::Sqlite(_) => {}
        }
    }

    /// Reports a secret that cannot be had, or that does not have its `shape`.
    fn secret(&self, secret: &Located<SecretRef>, shape: impl FnOnce(&str) -> Shape) {
        match secret.value.resolve(self.environment) {
            Err(error) => {
                let problem = secret.error(error.to_string()).maybe_hint(error.hint());
                // In a person's shell there are none; what has to sign in there finds out by itself.
                let elsewhere = matches!(error, SecretError::NoCredentialsDirectory(_));
                self.findings.push(if elsewhere { problem.as_warning() } else { problem });
            }
            Ok(found) => {
                if let Err(allowed) = shape(found.expose_secret()) {
                    self.findings.push(secret.error("the secret found here is not such an address").allowed(allowed));
                }
            }
        }
    }

    fn file<T>(&self, written: &Located<T>, path: &Path) {
        if let Err(error) = File::open(path) {
            self.findings.push(written.error(format!("the file {} cannot be read: {error}", path.display())));
        }
    }
}

fn has_scheme(text: &str, schemes: &[&str], example: &'static str) -> Shape {
    match Url::parse(text) {
        Ok(url) if schemes.contains(&url.scheme()) => Ok(()),
        _ => Err(example),
    }
}
