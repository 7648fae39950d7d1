//! Alerts: people are told when something changes, by a command and by a webhook, and a heartbeat is called.
//!
//! What is wrong is read from the ledger after every pass (`condition`) and compared with what people were told of
//! (`change`); only the difference is told. What was told is kept in the ledger, for each way of telling apart, so that
//! a restart tells nothing twice, and what could not be delivered is tried again after the next pass.
//!
//! All of this goes on beside the passes, and none of it can hold one up. Alerts hold names of jobs and targets, counts
//! and times; never a value of a record, nor what Business Central said, which may repeat one.

mod change;
mod command;
mod condition;
mod endpoint;
mod message;
mod teller;

pub use condition::SecretExpiry;
pub use endpoint::{Endpoint, EndpointError};
pub use teller::{Alerts, FAREWELL, Settings};
