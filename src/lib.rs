//! Keeps Microsoft Dynamics 365 Business Central (BC) in step with a CRM, shop or database.
//!
//! ```text
//! source ──read──▶ record ──map──▶ draft ──match──▶ ──diff──▶ action
//!                     │ stage                                    │ plan
//!                     ▼                                          ▼
//!                   ledger: outbox + cursor          apply: intent, $batch, settle ──▶ ledger: link + change
//! ```
//!
//! Data flows one way; `tests/layering.rs` holds the table of which module may import which. The promises, in the order
//! in which they settle every question: never wrong in the ERP, never silent, explainable, cheap.

pub mod clock;
pub mod fault;

pub mod model;
pub mod schema;

pub mod config;
pub mod http;

pub mod source;

pub mod mapping;

pub mod diff;

pub mod bc;
pub mod ledger;

pub mod apply;
pub mod ops;
pub mod sync;

pub mod alert;
pub mod daemon;

pub mod app;
pub mod cli;

pub mod simulator;
