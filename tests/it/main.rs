//! All integration tests: one binary, so that the dependencies are linked once.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands, helpers included")]

mod simulator;
