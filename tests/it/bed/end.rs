//! What must hold when a story is over: nothing left to write, nothing unresolved, every row known, no secret anywhere.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::company::id;
use super::pass::{COUNTERS, Pass};
use super::{SECRET, TestBed};
use crate::process::in_time;

impl TestBed {
    pub(super) async fn finish(mut self) {
        self.simulator.clear_faults();
        let pass = self.run_quietly().await;
        if pass.count("customers", "waiting") + pass.count("orders", "waiting") > 0 {
            self.run_quietly().await;
        }
        if !self.folder.path().join("ledger.db").exists() {
            return;
        }
        assert_eq!(self.ledger("SELECT job_id, key, kind FROM intent").await, [""; 0], "open intents");
        assert_eq!(self.ledger("SELECT * FROM run WHERE result = 'running'").await, [""; 0], "unfinished runs");
        assert_eq!(self.ledger("PRAGMA integrity_check").await, ["ok"]);
        assert_eq!(self.ledger("PRAGMA foreign_key_check").await, [""; 0]);
        self.compare_rows().await;
        self.look_for_secrets();
        in_time("closing the source", self.crm.close()).await;
        in_time("stopping the simulator", self.simulator.stop()).await.unwrap();
    }

    /// A pass that must have nothing to do.
    async fn run_quietly(&mut self) -> Pass {
        self.simulator.reset_stats();
        let pass = self.run().await;
        let failed: u64 = pass.jobs.values().filter_map(|report| report["failed"].as_u64()).sum();
        let pass = pass.exits(i32::from(failed > 0));
        let stats = self.simulator.stats();
        assert_eq!(stats.writes(), 0, "the last pass wrote: {:#?}\n{}", stats.sets, pass.details());
        for job in pass.jobs.keys() {
            for counter in COUNTERS {
                let quiet = matches!(counter, "unchanged" | "filtered" | "queued" | "waiting" | "locked");
                assert!(quiet || pass.count(job, counter) == 0, "the last pass of {job}: {}", pass.details());
            }
            if pass.count(job, "taken") == 0 {
                let set = if job == "orders" { "salesOrders" } else { "customers" };
                assert_eq!(stats.set(set).reads, 0, "unchanged records of {job} were asked for");
            }
        }
        pass
    }

    /// Every linked record is a row, every row is linked or foreign, and no row is there twice.
    async fn compare_rows(&self) {
        for (set, unique) in [("customers", "number"), ("salesOrders", "externalDocumentNumber")] {
            let rows: BTreeSet<_> = self.rows(set).iter().map(id).collect();
            let linked = format!("SELECT bc_id FROM links WHERE entity = '{set}' AND state = 'linked'");
            let linked: BTreeSet<_> = self.ledger(&linked).await.into_iter().collect();
            let nowhere: Vec<_> = linked.difference(&rows).collect();
            assert!(nowhere.is_empty(), "{set}: linked, but not in Business Central: {nowhere:?}");
            let known = format!("SELECT bc_id FROM links WHERE entity = '{set}'");
            let known: BTreeSet<_> = self.ledger(&known).await.into_iter().collect();
            let unknown: Vec<_> = rows.difference(&known).filter(|id| !self.foreign.contains(*id)).collect();
            assert!(unknown.is_empty(), "{set}: in Business Central, but not linked: {unknown:?}");
            let twice = self.simulator.duplicates(set, unique).unwrap();
            assert!(twice.is_empty() || !self.foreign.is_empty(), "{set}: twice in Business Central: {twice:?}");
        }
    }

    /// Neither the client secret nor a token may be in anything that was put out or stored.
    fn look_for_secrets(&self) {
        let token = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT""#);
        let mut places = vec![("the output".to_owned(), self.said.clone())];
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            places.push((path.display().to_string(), fs::read(path).unwrap()));
        }
        for (place, bytes) in places {
            for secret in [SECRET, token.trim_end_matches('=')] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "a secret is in {place}");
            }
        }
    }
}
