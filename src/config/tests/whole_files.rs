//! What is told of a file as a whole: that nothing is wrong with it, that it is empty, cut off, or wrong all over.

use super::{SMALL, changed, problems, report_on};

#[test]
fn the_small_configuration_and_its_variants_are_right() {
    for (from, to) in [
        ("key = 'id'", "key = 'id'"),
        ("on_conflict = 'hold'", "mode = 'create_only'"),
        ("on_conflict = 'hold'", "on_conflict = 'hold'\non_delete = 'block'"),
        ("key = 'id'", "key = 'id'\ncursor = 'n'\noverlap = 0"),
        (
            "tenant = 'contoso.onmicrosoft.com'",
            "tenant = 't'\nbase_url = 'http://127.0.0.1:8080'\nsettle_window = '1s'",
        ),
        ("client_id = 'app'", "client_id = 'app'\nsettle_window = '20m'"),
        ("key = 'id'", "key = 'id'\nschedule = '0 0 29 2 *'"),
        ("key = 'id'", "key = 'id'\nschedule = '30 0 0 L * *'"),
    ] {
        assert_eq!(problems(&changed(from, to)), Vec::<String>::new(), "{to}");
    }
}

#[test]
fn an_empty_file_lacks_a_target_and_a_job() {
    assert_eq!(problems(""), ["file no target is defined", "file no job is defined"]);
}

#[test]
fn jobs_that_wait_for_each_other_are_told_once() {
    let job = |name: &str, after: &str| {
        let table = SMALL.split_once("[jobs.customers]").unwrap().1.replace("jobs.customers", &format!("jobs.{name}"));
        format!("[jobs.{name}]\nafter = ['{after}']{table}")
    };
    let head = SMALL.split_once("[jobs.customers]").unwrap().0;
    let text = format!("{head}{}{}{}{}", job("a", "b"), job("b", "c"), job("c", "b"), job("d", "a"));
    assert_eq!(problems(&text), ["36:10 no job of this circle could ever run: b after c after b"]);
}

#[test]
fn a_cursor_that_lines_or_deletes_can_escape_is_warned_of() {
    let cursor = "key = 'id'\ncursor = 'changed'\n";
    for (line, expected) in [
        ("", None),
        ("on_delete = 'delete'", Some("18:10 the cursor of `customers` does not see records that were deleted")),
        (
            "lines = { entity = 'l', path = '/l', key = 'k', fields = { a = 'b' } }",
            Some("18:10 the cursor of `customers` does not see lines that change without their document"),
        ),
    ] {
        let text = changed("key = 'id'", &format!("{cursor}{line}"));
        assert_eq!(problems(&text), expected.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{line}");
        let with_full = changed("key = 'id'", &format!("full_schedule = '@weekly'\n{cursor}{line}"));
        assert_eq!(problems(&with_full), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = SMALL
        .replace("tenant", "tenent")
        .replace("sqlite", "sqlight")
        .replace("'crm'", "'crn'")
        .replace("'customers'", "'custom/ers'")
        .replace("hold", "holt")
        .replace("number = 'no'", "number = 7");
    assert_eq!(
        problems(&text),
        [
            "2:1 `tenant` is missing",
            "3:1 unknown key `tenent` in `targets.main`",
            "10:8 `sqlight` is not possible here",
            "14:10 there is no source `crn`",
            "15:10 `custom/ers` is not the name of an entity set",
            "19:15 `holt` is not possible here",
            "22:10 expected an expression in a string, found an integer",
        ]
    );
}

#[test]
fn a_problem_says_what_is_allowed_and_what_was_meant() {
    let report = report_on(&changed("on_conflict = 'hold'", "on_conflict = 'source-wins'"));
    let expected = "error: `source-wins` is not possible here
  --> config.toml:19:15
   |
19 | on_conflict = 'source-wins'
   |               ^^^^^^^^^^^^^ `jobs.customers.on_conflict`
   |
   = note: allowed: source_wins, bc_wins, hold
   = help: did you mean `source_wins`?";
    assert_eq!(report.to_string(), expected);
    let report = report_on(&changed("key = 'id'", "key = 'id'\nschedul = '@daily'"));
    assert_eq!(report.problems()[0].hint.as_deref(), Some("did you mean `schedule`?"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let surroundings = super::Surroundings::with(&[]);
    let report = crate::config::load(std::path::Path::new("/nope/config.toml"), &surroundings).unwrap_err();
    assert!(
        report.to_string().contains("cannot be read") && report.to_string().contains("/nope/config.toml"),
        "{report}"
    );
}

#[test]
fn a_file_cut_off_or_without_a_line_is_told_about_without_a_panic() {
    let example = include_str!("../../../config.toml.example");
    for end in (0..example.len()).step_by(41).filter(|end| example.is_char_boundary(*end)) {
        let report = report_on(&example[..end]);
        // Cut off between two sections it lacks at least the jobs.
        assert!(!report.render(true).is_empty(), "cut off at {end}");
    }
    let lines: Vec<&str> = example.lines().collect();
    for left_out in 0..lines.len() {
        let text = [&lines[..left_out], &lines[left_out + 1..]].concat().join("\n");
        // The secrets of the example are not there: something is told in any case.
        assert!(!report_on(&text).to_string().is_empty(), "without line {}", left_out + 1);
    }
}
