//! From a configured target to a connected one: token, company, binding in the ledger.
//!
//! A connection outlives its passes: they share its token and what it knows of BC's clock.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, ConnectError};
use crate::apply::Outlet;
use crate::bc::{Api, Connection, Reader, Writer};
use crate::config::{self, REQUEST_TIMEOUT, SecretError, SignIn};
use crate::http::{AppRegistration, ClientOptions, Credential, HttpClient, Origin, Session, TokenSource};
use crate::ledger::{Binding, Ledger, TargetId};
use crate::model::RetryPolicy;
use crate::sync::Target;

/// A company that was found, and the connection to it.
pub(super) struct Reached {
    connection: Arc<Connection>,
    policy: RetryPolicy,
    binding: Binding,
    pub(super) id: TargetId,
    lanes: usize,
    settle_window: Duration,
    batch_size: usize,
}

impl Reached {
    /// The target as one pass sees it, which `cancel` asks to stop.
    pub(super) fn target(&self, cancel: &CancellationToken) -> Target {
        let reader = Reader::new(self.connection.clone(), self.policy, cancel.clone());
        let writer = Writer::new(self.connection.clone(), cancel.clone());
        Target {
            id: self.id,
            name: self.binding.name.clone(),
            company: self.binding.company_id.clone(),
            local_currency: self.binding.local_currency.clone(),
            outlet: Outlet { reader, writer, lanes: self.lanes },
            settle_window: self.settle_window,
            batch_size: self.batch_size,
        }
    }
}

/// A company that was found, whatever the ledger is bound to.
pub(super) struct Reach {
    pub(super) connection: Arc<Connection>,
    pub(super) policy: RetryPolicy,
    pub(super) binding: Binding,
}

impl App<'_> {
    /// Signs in, finds the company and checks that the ledger is bound to it.
    pub(super) async fn connect(
        &self,
        target: &config::Target,
        ledger: &Ledger,
        cancel: &CancellationToken,
    ) -> Result<Reached, ConnectError> {
        let Reach { connection, policy, binding } = self.reach(target, ledger, cancel).await?;
        let id = ledger.bind(&binding).await?;
        Ok(Reached {
            connection,
            policy,
            binding,
            id,
            // While one envelope is being settled, the next one can already be with Business Central.
            lanes: target.limits.concurrency as usize * 2,
            settle_window: target.settle_window,
            batch_size: target.limits.batch_size as usize,
        })
    }

    /// Signs in and finds the company.
    pub(super) async fn reach(
        &self,
        target: &config::Target,
        ledger: &Ledger,
        cancel: &CancellationToken,
    ) -> Result<Reach, ConnectError> {
        let connection = Arc::new(self.connection(target)?);
        let policy = policy(&self.config.retry);
        let reader = Reader::new(connection.clone(), policy, cancel.clone());
        let company = reader.company(&target.company.value).await?;
        let known = ledger.binding(&target.name.value).await?.filter(|binding| binding.company_id == company.id);
        let local_currency = match known {
            Some(binding) => binding.local_currency,
            None => reader.local_currency(&company.id).await?,
        };
        let binding = Binding {
            name: target.name.value.clone(),
            tenant: target.tenant.value.clone(),
            environment: target.environment.value.clone(),
            company_id: company.id,
            company_name: company.name,
            local_currency,
        };
        Ok(Reach { connection, policy, binding })
    }

    fn connection(&self, target: &config::Target) -> Result<Connection, ConnectError> {
        let name = || target.name.value.clone();
        let file = |path: &std::path::Path| {
            std::fs::read(path).map_err(|cause| ConnectError::File { target: name(), path: path.to_owned(), cause })
        };
        let secret = |secret: &config::SecretRef| {
            secret
                .resolve(self.environment)
                .map_err(|cause| ConnectError::Secret { target: name(), cause: told(&cause) })
        };
        let credential = match &target.sign_in {
            SignIn::Secret(reference) => Credential::Secret(secret(&reference.value)?),
            SignIn::Certificate(certificate) => {
                let pem = String::from_utf8_lossy(&file(&certificate.value.file)?).into_owned();
                let key = secret(&certificate.value.key.value)?;
                Credential::certificate(&pem, &key)
                    .map_err(|cause| ConnectError::Certificate { target: name(), cause })?
            }
        };
        let client = HttpClient::new(&ClientOptions {
            extra_ca_pem: target.extra_ca.as_ref().map(|path| file(&path.value)).transpose()?,
            plain_only: [&target.login_url, &target.base_url].iter().all(|url| url.scheme() == "http"),
            proxy: target.proxy.clone(),
            ..ClientOptions::default()
        })?;
        let registration = AppRegistration {
            login_url: target.login_url.clone(),
            tenant: target.tenant.value.clone(),
            client_id: target.client_id.value.clone(),
            scope: target.scope.clone(),
            credential,
        };
        let tokens = Arc::new(
            TokenSource::new(client.clone(), registration, self.clock.clone())?.with_retry(policy(&self.config.retry)),
        );
        let budget = self.budgets.of(target);
        let session = Session::new(client, Origin::of(&target.base_url)?, tokens, budget, self.clock.clone());
        let api = Api::new(target.base_url.clone(), &target.tenant.value, &target.environment.value);
        Ok(Connection::new(session, api, self.clock.clone(), target.limits.batch_cost, REQUEST_TIMEOUT))
    }
}

/// Why a secret cannot be had, with what to do about it.
pub(super) fn told(cause: &SecretError) -> String {
    cause.hint().map_or_else(|| cause.to_string(), |hint| format!("{cause}; {hint}"))
}

/// How patiently to repeat, as configured.
pub(super) fn policy(retry: &config::Retry) -> RetryPolicy {
    RetryPolicy { attempts: retry.attempts, initial: retry.initial, max: retry.max, ..RetryPolicy::default() }
}
