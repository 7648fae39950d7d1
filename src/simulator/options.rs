//! How a simulator is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rust_decimal::Decimal;

use crate::clock::{SharedClock, SystemClock};

use super::settings::Settings;

/// What a simulator is and where it listens. The default answers to the credentials that it names.
#[derive(Debug, Clone)]
pub struct Options {
    /// Loopback address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Tenant, as it stands in the URLs.
    pub tenant: String,
    /// Client id of the one app registration.
    pub client_id: String,
    /// Its client secret.
    pub client_secret: String,
    /// Its certificate, when it may sign in with assertions.
    pub certificate_pem: Option<String>,
    /// Name of the environment.
    pub environment: String,
    /// Names of the companies, at least one.
    pub companies: Vec<String>,
    /// File that rows are read from at the start and written to when the simulator stops or is asked to.
    pub data_file: Option<PathBuf>,
    /// Whether customers, contacts and items may bring their own numbers.
    pub manual_numbers: bool,
    /// Code of the local currency.
    pub local_currency: String,
    /// Tax on every document line, in percent.
    pub tax_percent: Decimal,
    /// Seed of the generator that draws faults.
    pub seed: u64,
    /// Switches at the start.
    pub settings: Settings,
    /// Wall time for stamps, tokens and the `Date` header.
    pub clock: SharedClock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tenant: "contoso.onmicrosoft.com".to_owned(),
            client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
            client_secret: "simulator-secret".to_owned(),
            certificate_pem: None,
            environment: "production".to_owned(),
            companies: vec!["CRONUS USA, Inc.".to_owned()],
            data_file: None,
            manual_numbers: true,
            local_currency: "USD".to_owned(),
            tax_percent: Decimal::ZERO,
            seed: 1,
            settings: Settings::default(),
            clock: Arc::new(SystemClock),
        }
    }
}
