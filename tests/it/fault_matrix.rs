//! The faults that the program must survive, and where each of them is tried. Whatever the fault: no row twice, nothing
//! lost, no person's value overwritten against the policy, nothing left that nobody can explain.
//!
//! Every named test must exist and be one that runs, so that the table cannot rot. Those that have no place elsewhere are
//! in this file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bcsync::simulator::{Fault, FaultKind};
use syn::visit::{self, Visit};

use crate::bed::{TestBed, bed, writes};

/// One fault: how it is named, what it is, how often it is tried, and the tests that bring it about, by file. The result is
/// theirs: nothing is wrong after any of it, or they fail.
struct Row {
    fault: &'static str,
    what: &'static str,
    /// How often it is tried when the tests run, and when more is asked for.
    times: &'static str,
    tests: &'static [(&'static str, &'static [&'static str])],
    /// What of it is not tried.
    open: &'static str,
}

const KILLS: (&str, &[&str]) = ("tests/crash/kills.rs", &["killed_at_random_instants"]);
const PROPERTY: (&str, &[&str]) =
    ("tests/property/main.rs", &["nothing_is_doubled_lost_or_overwritten", "nor_is_it_when_only_changes_are_read"]);

#[rustfmt::skip]
const MATRIX: &[Row] = &[
    Row { fault: "F1", what: "killed at any instant", times: "500 kills of the process, 10,000 with BCSYNC_KILLS=10000; 256 histories with crashes", open: "",
          tests: &[KILLS, PROPERTY, ("tests/it/history.rs", &["a_pass_that_is_killed_is_told_and_completed"])] },
    Row { fault: "F2", what: "killed at a named point", times: "29 points and 4 on the wire, 20 deaths each", open: "200 deaths each, as are wanted at night; the first migration only, as long as there is no other", tests: &[
        ("tests/crash/points.rs", &["killed_at_every_point_twenty_times",
            "killed_from_the_other_end_of_the_wire_twenty_times",
            "killed_twenty_times_between_the_signal_to_stop_and_the_end",
            "killed_while_a_daemon_takes_over_another_configuration", "killed_while_the_ledger_is_copied"]),
        ("src/ledger/open.rs", &["a_file_whose_first_migration_was_never_made_is_begun"])] },
    Row { fault: "F3", what: "killed again while recovering", times: "40 pairs of deaths, as far as the second one comes; 256 histories", open: "second deaths at the points of recovery only", tests: &[
        ("tests/crash/points.rs", &["killed_again_while_recovering"]), PROPERTY] },
    Row { fault: "F4", what: "power cut", times: "60 cuts, half of them while rows are changed", open: "", tests: &[
        ("tests/crash/power.rs", &["nothing_that_was_sent_is_forgotten_in_a_power_cut"])] },
    Row { fault: "F5", what: "deterministic simulation", times: "256 histories", open: "real sockets and random histories instead",
          tests: &[PROPERTY] },
    Row { fault: "F6", what: "random histories against a model", times: "256 histories, 10,000 with PROPTEST_CASES=10000", open: "", tests: &[PROPERTY] },
    Row { fault: "F7", what: "429 with every kind of Retry-After", times: "8 kinds", open: "dates, a day and negative numbers in unit tests only", tests: &[
        ("tests/it/faults.rs", &["throttling_is_waited_out", "throttling_burns_no_attempt"]),
        ("src/http/response.rs", &["retry_after_is_read_in_seconds_and_as_a_date"]),
        ("src/http/retry.rs", &["what_the_server_asks_for_is_followed_within_bounds"]),
        ("src/http/budget.rs", &["pauses_grow_until_a_request_goes_through"])] },
    Row { fault: "F8", what: "500, 502, 503, 504, 408, before and after the commit", times: "5 statuses to 5 kinds of writes, done and not done", open: "each once", tests: &[
        ("tests/it/fault_matrix.rs", &["gateway_errors_to_every_kind_of_write", "gateway_errors_to_a_delete"]), PROPERTY] },
    Row { fault: "F9", what: "late commit", times: "5 % of the creates of the 500 kills and more; 3 stories; 256 histories", open: "delays of minutes are simulated", tests: &[
        ("tests/it/outbox.rs", &["an_order_that_arrives_late_is_made_once",
            "lost_orders_are_made_when_their_window_has_passed_and_not_before",
            "a_line_that_is_lost_and_then_changed_is_there_once_whichever_request_wins"]), PROPERTY] },
    Row { fault: "F10", what: "refused, reset and closed connections", times: "100 connections cut, and a Business Central that is not there", open: "each place once or twice; half-open connections and lost packets", tests: &[
        ("tests/it/network.rs", &["a_business_central_that_turns_connections_down_leaves_nothing_open",
            "a_name_that_leads_nowhere_is_told",
            "customers_whose_request_never_arrived_whole_are_made_once",
            "customers_whose_answer_broke_off_are_found_and_not_made_again", "changed_customers_survive_every_cut",
            "orders_whose_request_never_arrived_wait_for_the_window_and_are_made_once",
            "orders_whose_answer_broke_off_are_found_and_not_made_again",
            "an_order_that_is_changed_with_its_lines_survives_every_cut", "reads_that_break_off_are_repeated"])] },
    Row { fault: "F11", what: "silence, and bytes one by one", times: "15 writes, 3 kinds of reads", open: "the watchdog's pings meanwhile", tests: &[
        ("tests/it/silence.rs", &["a_write_into_silence_is_open_when_its_time_is_over",
            "a_read_into_silence_is_tried_again_and_ends"]),
        ("tests/it/network.rs", &["slow_connections_are_only_slow"])] },
    Row { fault: "F12", what: "batch answers that are not whole", times: "256 answers, and 2 stories", open: "", tests: &[
        ("tests/it/faults.rs", &["an_operation_without_an_answer_is_read_back",
            "a_refused_line_keeps_the_whole_order_as_it_was"]),
        ("src/bc/batch.rs", &["an_operation_gets_its_own_answer_or_none", "what_is_not_an_answer_to_us_is_refused"])] },
    Row { fault: "F13", what: "answers that are too large or too deep", times: "3 answers without end, and values that nest", open: "an answer may hold 512 MB; an answer of a million records", tests: &[
        ("tests/it/malformed.rs", &["answers_without_end_are_cut_and_told"]),
        ("src/model/value.rs", &["what_nests_too_deep_is_refused"])] },
    Row { fault: "F14", what: "malformed answers", times: "11 answers, and one in the midst of a batch", open: "no fuzzing", tests: &[
        ("tests/it/malformed.rs", &["answers_that_are_no_pages_are_told_and_not_believed"]),
        ("tests/it/faults.rs", &["an_answer_that_is_no_json_is_no_answer"])] },
    Row { fault: "F15", what: "pages that lead nowhere", times: "4 kinds of links", open: "rows that come twice, and changes between two pages", tests: &[
        ("tests/it/malformed.rs", &["pages_that_lead_nowhere_are_told"]),
        ("tests/it/faults.rs", &["a_next_page_elsewhere_never_sees_the_token"])] },
    Row { fault: "F16", what: "tokens that expire or are refused", times: "4 kinds of refusals", open: "each once; clocks that differ", tests: &[
        ("tests/it/faults.rs", &["a_token_that_expires_in_the_middle_is_replaced",
            "a_token_that_is_revoked_in_the_middle_is_replaced", "a_wrong_secret_ends_at_once_and_is_explained"]),
        ("tests/it/fault_matrix.rs", &["a_token_that_is_always_refused_is_not_asked_for_again_and_again"])] },
    Row { fault: "F17", what: "servers that prove nothing", times: "5 certificates, 3 that speak no TLS", open: "a certificate that changes during a run; old versions of TLS", tests: &[
        ("tests/it/tls.rs", &["an_authority_in_extra_ca_is_trusted_and_nobody_else"])] },
    Row { fault: "F18", what: "clocks that are set", times: "256 histories whose clocks are set, and a jump at each look of a pass at the clock", open: "a clock that is set back during a pass", tests: &[PROPERTY,
        ("tests/it/clock_jumps.rs", &["a_request_whose_note_is_old_before_it_leaves_is_noted_again"]),
        ("src/bc/their_clock.rs", &["it_never_falls_behind_when_ours_is_set_or_sleeps"])] },
    Row { fault: "F19", what: "a full disk", times: "50 fill levels, and a disk with little room", open: "a full disk under a copy or a log, or under a daemon; another error than that a file may not grow", tests: &[("tests/it/ledger_full.rs", &["nothing_is_sent_that_is_not_noted", "nothing_is_begun_where_there_is_little_room"])] },
    Row { fault: "F20", what: "a disk that fails", times: "20 passes of which up to all writes fail, and a daemon whose disk fails 4 times, twice in the midst of a pass", open: "errors of fsync alone, and writes that end early", tests: &[
        ("tests/it/disk_errors.rs", &["nothing_is_sent_that_could_not_be_noted",
            "a_daemon_goes_on_when_the_disk_is_well_again"])] },
    Row { fault: "F21", what: "a ledger that somebody else holds", times: "1 lock, waited for and given up", open: "each once", tests: &[
        ("tests/it/ledger_opening.rs", &["a_lock_of_another_program_is_waited_for_and_told_when_it_stays"])] },
    Row { fault: "F22", what: "a damaged ledger", times: "300 flipped bits, 2,000 with BCSYNC_FLIPS=2000, a fifth of them in each part; 9 changed values; cuts at each page and beside it; a log of another ledger", open: "a log of another ledger beside a file that was not copied by `backup`", tests: &[
        ("tests/it/ledger_flips.rs", &["a_flipped_bit_is_told_or_does_no_harm", "a_changed_value_is_told_or_does_no_harm"]),
        ("tests/it/ledger_opening.rs", &["a_part_of_a_ledger_is_refused_wherever_it_was_cut",
            "a_ledger_of_a_newer_version_is_left_as_it_is", "a_file_of_another_program_is_left_as_it_is",
            "a_file_that_was_replaced_is_not_written_any_more"]),
        ("tests/it/ledger_restored.rs", &["a_backup_in_the_place_of_a_ledger_that_was_killed_is_not_mixed_with_it"])] },
    Row { fault: "F23", what: "a ledger that is lost or old", times: "3 kinds of loss, and 2 requests that only the newer ledger knew of", open: "each once", tests: &[
        ("tests/it/ledger_restored.rs", &["an_old_ledger_makes_nothing_a_second_time",
            "a_lost_ledger_makes_nothing_a_second_time",
            "a_create_that_an_old_ledger_does_not_know_is_waited_for",
            "a_change_that_an_old_ledger_does_not_know_is_waited_for"]),
        ("tests/it/ledger_opening.rs", &["a_ledger_that_is_gone_or_empty_is_begun_anew_on_request_only"])] },
    Row { fault: "F24", what: "two processes", times: "6 pairs, two of them standing still for 3 s, longer than all time-outs with BCSYNC_STANDSTILL=300", open: "each once", tests: &[
        ("tests/it/ledger_opening.rs", &["a_process_that_was_overtaken_writes_nothing_more"]),
        ("tests/it/history.rs", &["a_second_process_does_not_write_and_may_look",
            "a_process_that_stands_still_keeps_the_ledger_and_goes_on",
            "a_process_that_stood_still_while_orders_were_made_makes_none_twice",
            "a_process_that_was_overtaken_while_it_stood_still_sends_nothing_more",
            "a_process_that_stood_still_past_its_time_outs_ends_and_the_next_one_goes_on"])] },
    Row { fault: "F25", what: "signals at any moment", times: "40 storms of one to three signals, 6 hanging reads, 2 long writes", open: "40 storms, where 200 are wanted; bad configurations once", tests: &[
        ("tests/it/interrupts.rs", &["storms_of_signals_leave_nothing_behind",
            "a_read_that_hangs_is_given_up_wherever_it_stands",
            "an_order_whose_total_could_not_be_read_any_more_is_settled_by_the_next_pass",
            "a_write_that_takes_long_is_seen_to_its_end_and_a_second_signal_ends_it"])] },
    Row { fault: "F26", what: "a source that changes meanwhile, equal stamps, swapped keys", times: "3 stories, 256 histories", open: "256 histories, where 5,000 are wanted", tests: &[PROPERTY,
        ("tests/it/source.rs", &["parents_and_lines_are_of_one_moment", "a_late_commit_within_the_overlap_is_found"]),
        ("tests/it/fault_matrix.rs", &["customers_that_swap_their_numbers_swap_nothing_else"])] },
    Row { fault: "F27", what: "a person between read and write", times: "5 stories, 256 histories", open: "256 histories, where 2,000 are wanted; edits between two passes mostly", tests: &[PROPERTY,
        ("tests/it/conflicts.rs", &["an_edit_in_the_last_moment_is_seen"]),
        ("tests/it/outbox.rs", &["a_person_is_asked_when_a_lost_adoption_may_lie_under_what_they_entered"]),
        ("tests/it/header_changes.rs", &["lines_are_ours_after_the_customer_was_changed_there_and_back",
            "a_person_is_asked_when_a_lost_change_may_lie_under_lines_that_they_had_made_anew"]),
        ("tests/it/races.rs", &["a_row_that_is_edited_all_the_time_is_written_in_a_later_pass"])] },
    Row { fault: "F28", what: "few files and little memory", times: "64 open files; 3 GB of addresses", open: "each once", tests: &[
        ("tests/it/fault_matrix.rs", &["sixty_four_open_files_are_enough"]),
        ("tests/it/malformed.rs", &["answers_without_end_are_cut_and_told"])] },
];

/// The names of the functions in a file that are run as tests.
#[derive(Default)]
struct Tests(BTreeSet<String>);

impl Visit<'_> for Tests {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        let last = |attribute: &syn::Attribute| attribute.path().segments.last().map(|last| last.ident.to_string());
        let has = |name: &str| function.attrs.iter().any(|attribute| last(attribute).as_deref() == Some(name));
        if has("test") && !has("ignore") {
            self.0.insert(function.sig.ident.to_string());
        }
    }

    /// In `proptest!` and `prop_state_machine!` each `fn` is a test; `on_every_engine!` makes one of each name.
    fn visit_macro(&mut self, called: &syn::Macro) {
        let tokens = called.tokens.to_string();
        let words: Vec<_> = tokens.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if ["proptest", "prop_state_machine"].iter().any(|name| called.path.is_ident(name)) {
            self.0.extend(words.windows(2).filter(|pair| pair[0] == "fn").map(|pair| pair[1].clone()));
        } else if called.path.is_ident("on_every_engine") {
            self.0.extend(words);
        }
    }
}

fn tests_of(text: &str) -> BTreeSet<String> {
    let mut tests = Tests::default();
    visit::visit_file(&mut tests, &syn::parse_file(text).unwrap());
    tests.0
}

#[test]
fn a_test_that_does_not_run_is_none() {
    let text = "
        #[test] fn plain() {}
        mod tests { #[tokio::test(flavor = \"multi_thread\")] async fn awaited() {} }
        prop_state_machine! { #[test] fn drawn(sequential 1..60 => Program); }
        on_every_engine!(one_of_a_list);
        // #[test] fn a_comment() {}
        /* #[test] fn another() {} */
        const TEXT: &str = \"#[test] fn a_text() {}\";
        fn nobody_calls() {}
        #[test] #[ignore] fn spared() {}";
    assert_eq!(tests_of(text), ["awaited", "drawn", "one_of_a_list", "plain"].map(str::to_owned).into());
}

#[test]
fn every_fault_has_its_tests_and_every_test_exists() {
    let mut faults = BTreeSet::new();
    for Row { fault, what, times, tests, open } in MATRIX {
        println!("{fault}, {what}: {times}");
        assert!(faults.insert(*fault), "{fault} is there twice");
        assert!(!tests.is_empty() || !open.is_empty(), "{fault}, {what}: neither tried nor told why not");
        for (file, names) in *tests {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            let there = tests_of(&text);
            for name in *names {
                assert!(there.contains(*name), "{fault}, {what}: {file} has no test {name}");
            }
        }
        if !open.is_empty() {
            println!("{fault}, {what}: not tried: {open}");
        }
    }
    assert_eq!(faults.len(), 28);
    let points = include_str!("../../src/fault.rs").lines().filter(|line| line.trim_start().starts_with("\"K")).count();
    let times = |fault| MATRIX.iter().find(|row| row.fault == fault).unwrap().times;
    let (values, levels) = (crate::ledger_flips::VALUES.len(), crate::ledger_full::LEVELS);
    for (fault, count) in [
        ("F2", format!("{points} points and 4 on the wire")),
        ("F19", format!("{levels} fill levels")),
        ("F22", format!("{values} changed values")),
    ] {
        assert!(times(fault).contains(&count), "{fault} is tried at {count}: {}", times(fault));
    }
}

const STATUSES: [u16; 5] = [500, 502, 503, 504, 408];

/// What each kind of write does, in the source, and how it is struck.
const KINDS: [(&str, &str, &str); 4] = [
    ("customers", "POST", "INSERT INTO account (id, no, name, country, credit) VALUES (@, 'C@', 'New', 'NO', '1')"),
    ("customers", "PATCH", "UPDATE account SET credit = '@.25' WHERE id = 1"),
    ("salesOrders", "POST", "INSERT INTO sales_order (id, account_id, total) VALUES (@, 1, '0')"),
    ("salesOrders", "PATCH", "INSERT INTO order_line VALUES (1, @, 'ITEM-1', '1', '2.25', 'Line @', @)"),
];

async fn gateway_errors_to(bed: &mut TestBed, committed: bool) {
    bed.configure("[retry]", "[retry]\nattempts = 9");
    bed.accounts([1]).await;
    bed.orders([1], 1).await;
    bed.run().await.exits(0);
    for (set, method, sql) in KINDS {
        for status in STATUSES {
            let kind = FaultKind::Status { status, retry_after: Some(0), committed };
            bed.strike(method, set, kind);
            bed.crm(&sql.replace('@', &status.to_string())).await;
            let pass = bed.run().await.exits(0);
            if pass.count("orders", "pending") > 0 {
                assert!(!committed && (set, method) == ("salesOrders", "POST"), "{status} to {method} {set}");
                bed.let_time_pass(21 * 60);
                bed.run().await.exits(0);
            }
            assert!(bed.simulator.faults().is_empty(), "{status} never struck {method} {set}");
        }
    }
    assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (6, 6));
    assert_eq!(bed.lines(1).len(), 6);
    assert_eq!(bed.customer("C1")["creditLimit"].to_string(), "408.25");
    let stats = bed.simulator.stats();
    let [customers, orders] = ["customers", "salesOrders"].map(|set| stats.set(set));
    assert_eq!((customers.creates, customers.updates, orders.creates, orders.updates), (6, 5, 6, 5));
}

#[tokio::test]
async fn gateway_errors_to_every_kind_of_write() {
    for committed in [false, true] {
        bed(async |bed| gateway_errors_to(bed, committed).await).await;
    }
}

#[tokio::test]
async fn gateway_errors_to_a_delete() {
    for committed in [false, true] {
        bed(async |bed| {
            bed.configure("rename = false", "rename = false\non_delete = \"delete\"");
            bed.configure("[retry]", "[retry]\nattempts = 9");
            bed.accounts(1..=8).await;
            bed.run().await.exits(0);
            for (id, status) in (1..).zip(STATUSES) {
                bed.strike("DELETE", "customers", FaultKind::Status { status, retry_after: Some(0), committed });
                bed.crm(&format!("DELETE FROM account WHERE id = {id}")).await;
                bed.run().await.exits(0);
                bed.let_time_pass(21 * 60);
                bed.run().await.exits(0);
                assert!(bed.simulator.faults().is_empty(), "{status} never struck");
                assert_eq!(bed.rows("customers").len(), 8 - id, "{status}");
            }
            assert_eq!(bed.simulator.stats().set("customers").deletes, 5);
        })
        .await;
    }
}

#[tokio::test]
async fn a_token_that_is_always_refused_is_not_asked_for_again_and_again() {
    bed(async |bed| {
        bed.accounts([1]).await;
        let refused = Fault::once(FaultKind::RevokeTokens, writes("GET", "companies"));
        bed.simulator.inject(Fault { every: Some(1), times: None, ..refused });
        let pass = bed.run().await.exits(77);
        assert!(pass.message("customers").contains("`Microsoft Entra applications`"), "{}", pass.details());
        assert!(bed.simulator.stats().tokens <= 3, "{:?}", bed.simulator.stats());
        bed.simulator.clear_faults();
        bed.run().await.exits(0).did("customers", "1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn customers_that_swap_their_numbers_swap_nothing_else() {
    bed(async |bed| {
        bed.accounts([1, 2, 3]).await;
        bed.run().await.exits(0);
        let before = bed.rows("customers");
        bed.crm("UPDATE account SET no = CASE id WHEN 1 THEN 'C2' ELSE 'C1' END WHERE id < 3").await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 2 refused");
        assert_eq!(bed.rows("customers"), before);
        bed.crm("UPDATE account SET no = 'C' || id").await;
        bed.run().await.exits(0).did("customers", "3 unchanged");
    })
    .await;
}

#[tokio::test]
async fn sixty_four_open_files_are_enough() {
    bed(async |bed| {
        bed.accounts(1..=200).await;
        bed.orders(1..=60, 2).await;
        let command = bed.command(&["run", "--json"]);
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = crate::process::output_of(limited).await;
        crate::bed::pass_of(&output).exits(0).did("orders", "60 staged, 60 created");
    })
    .await;
}
