//! Talking HTTP: one client, one send, the token, the budget and the delays.
//!
//! [`HttpClient`] makes exactly one attempt and tells, when no complete answer came back, whether bytes of the request
//! may have left: what a write did is open from then on. [`Session`] adds what Business Central (BC) asks of its
//! callers: a token that only goes to the configured origin, and a place in the [`Budget`] of the app registration.
//! Reads are repeated here; writes never are.
//!
//! This module knows nothing of BC's entities, error codes or batches.

mod assertion;
mod auth_error;
mod budget;
mod client;
mod credential;
mod entra_errors;
mod failure;
mod oauth;
mod origin;
mod request;
mod response;
mod retry;
mod session;
mod token;

pub use assertion::CertificateError;
pub use auth_error::{AuthError, AuthErrorKind, Trouble};
pub use budget::{Budget, BudgetStatus, Permit};
pub use client::{BuildError, ClientOptions, HttpClient};
pub use credential::Credential;
pub use failure::{NotSentCause, SendError};
pub use oauth::{AppRegistration, TokenSource};
pub use origin::{Origin, Refusal};
pub use request::{Effect, Request};
pub use response::Response;
pub use retry::Delays;
pub use session::{ReadError, ReadyError, Session, Slot};
pub use token::{Claims, Token};

#[cfg(test)]
mod loopback;
