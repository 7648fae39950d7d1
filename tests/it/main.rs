//! The integration tests: one binary, so that it is linked once.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands, helpers included")]

mod alerts;
mod bad_input;
mod bed;
mod brake;
mod chaos;
mod cli;
mod conflicts;
mod create_only;
mod cursors;
mod customers;
mod daemon;
mod databases;
mod deletes;
mod disk_errors;
mod fault_matrix;
mod fault_points;
mod faults;
mod header_changes;
mod history;
mod interrupts;
mod ledger_flips;
mod ledger_full;
mod ledger_opening;
mod ledger_restored;
mod links;
mod listener;
mod malformed;
mod manual;
mod network;
mod orders;
mod outbox;
mod process;
mod proxy;
mod races;
mod real_data;
mod rebind;
mod retries;
mod scene;
mod silence;
mod simulator;
mod source;
mod timeout;
mod tls;
mod waiting;
