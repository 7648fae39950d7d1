//! Each rule on sources that break it, and on sources that look as if they did.

use super::rules::{self, Table};
use super::source::{File, Source};

const TABLE: Table<'_> = &[
    ("lib", &[]),
    ("fault", &[]),
    ("clock", &[]),
    ("http", &["clock"]),
    ("bc", &["http"]),
    ("sync", &["bc"]),
    ("apply", &["bc"]),
    ("cli", &["sync"]),
    ("main", &["cli"]),
];

fn source(files: &[(&str, &str)]) -> Source {
    let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
    Source::new(&files.iter().map(file).collect::<Vec<_>>())
}

fn told(violations: &[String]) -> String {
    violations.join("\n")
}

/// The lines of what is told about the file `clock.rs`, which may import nothing, when it says `text`.
fn lines_of_clock(text: &str) -> Vec<usize> {
    let http =
        ("http/mod.rs", "mod retry; pub use retry::Delays; pub fn send() {} #[macro_export] macro_rules! hold {}");
    let fault = ("fault.rs", "#[macro_export] macro_rules! fault { () => { $crate::fault::pass() } } pub fn pass() {}");
    let files = [("clock.rs", text), http, ("http/retry.rs", "pub struct Delays; pub fn wait() {}"), fault];
    let line = |told: &String| told.strip_prefix("src/clock.rs:")?.split(':').next()?.parse().ok();
    rules::imports(&source(&files), TABLE).iter().map(|told| line(told).expect("it is about that file")).collect()
}

#[test]
fn an_import_outside_the_table_is_told_with_place_name_and_what_is_allowed() {
    let violations = rules::imports(
        &source(&[("bc.rs", "pub struct Row;"), ("http/retry.rs", "\n\nuse crate::bc::{self, Row};\n")]),
        TABLE,
    );
    assert_eq!(
        violations,
        [
            "src/http/retry.rs:3: imports `crate::bc` of `bc`, but `http` may import clock",
            "src/http/retry.rs:3: imports `crate::bc::Row` of `bc`, but `http` may import clock",
        ]
    );
}

#[test]
fn a_path_is_found_wherever_it_is_written() {
    for text in [
        "use crate::http;",
        "use crate::http as net;",
        "use crate::http::*;",
        "use crate::{http::Delays};",
        "use super::http::Delays;",
        "use self::super::http::Delays;",
        "pub use crate::http::Delays;",
        "pub(crate) use crate::http::Delays;",
        "use bcsync::http::Delays;",
        "fn f() { use crate::http::Delays; }",
        "fn f() { crate::http::send(); }",
        "fn f(_: &[Option<crate::http::Delays>]) {}",
        "fn f() -> impl crate::http::Send {}",
        "struct S(crate::http::Delays);",
        "impl crate::http::Send for S {}",
        "type T = <u8 as crate::http::Send>::Out;",
        "const C: u8 = crate::http::retry::C;",
        "fn f() { match 1 { crate::http::ONE => {} } }",
        "fn f() { println!(\"{}\", crate::http::send().x); }",
        "fn f() { vec![1; 0..crate::http::LEN]; }",
        "macro_rules! m { ($a:expr) => { $crate::http::send($a) } }",
        "macro_rules! m { () => { use crate::{http::Delays}; } }",
        "fn f() { crate::hold!(); }",
        "#[derive(crate::http::Derive)] struct S;",
        "#[serde(with = \"crate::http::retry\")] struct S;",
        "#[cfg(not(test))] use crate::http::Delays;",
        "#[cfg(any(test, feature = \"fault\"))] use crate::http::Delays;",
        "mod inner { use super::super::http::Delays; }",
        "mod inner { fn f() { crate::http::send() } }",
        "extern crate self as me; fn f() { me::http::send() }",
        "fn f() { crate::fault::pass(); }",
        "fn f() { crate::nowhere::f(); }",
    ] {
        assert_eq!(lines_of_clock(&format!("//!\n{text}")), [2], "{text}");
    }
}

#[test]
fn what_only_looks_like_an_import_is_left_alone() {
    for text in [
        "//! [`Delays`](crate::http::Delays)",
        "const TEXT: &str = \"crate::http::send\";",
        "// crate::http::send()",
        "use http::Request;",
        "use ::http::Request;",
        "fn f(http: u8) { println!(\"{}\", http + s.http); }",
        "#[cfg(test)] use crate::http::Delays;",
        "#[cfg(test)] mod tests { use crate::http::Delays; }",
        "#[cfg(all(test, unix))] fn f() { crate::http::send() }",
        "struct S; impl S { #[cfg(test)] fn f() { crate::http::send() } }",
        "fn f() { crate::fault!(); }",
        "use crate::fault;",
        "pub(in crate::http) fn f() {}",
        "mod http { pub fn send() {} } fn f() { http::send(); self::http::send() }",
    ] {
        assert_eq!(lines_of_clock(text), [0; 0], "{text}");
    }
}

#[test]
fn the_files_of_tests_may_import_what_they_like() {
    let files = [("clock/mod.rs", "#[cfg(test)] mod tests;"), ("clock/tests/mod.rs", "mod a; use crate::http;")];
    let files = [&files[..], &[("clock/tests/a.rs", "use crate::http;")]].concat();
    assert_eq!(told(&rules::imports(&source(&files), TABLE)), "");
}

#[test]
fn a_reexport_does_not_hide_where_a_name_comes_from() {
    let files = [
        ("lib.rs", ""),
        ("clock.rs", "pub struct Clock;"),
        ("http/mod.rs", "mod time; pub use time::Clock as Watch;"),
        ("http/time.rs", "pub use crate::clock::Clock;"),
        ("bc.rs", "use crate::http::Watch;"),
    ];
    assert_eq!(
        told(&rules::imports(&source(&files), TABLE)),
        "src/bc.rs:1: imports `crate::http::Watch` of `clock`, but `bc` may import http"
    );
    let files = [("lib.rs", "pub use bc::Row;"), ("bc.rs", "pub struct Row;"), ("http.rs", "use crate::Row;")];
    assert_eq!(
        told(&rules::imports(&source(&files), TABLE)),
        "src/lib.rs:1: imports `crate::bc::Row` of `bc`, but `lib` may import nothing\n\
         src/http.rs:1: imports `crate::Row` of `bc`, but `http` may import clock"
    );
    let files = [
        ("clock.rs", "pub struct Clock;"),
        ("http.rs", "pub use crate::clock::*;"),
        ("bc.rs", "use crate::http::Clock;"),
    ];
    assert_eq!(
        told(&rules::imports(&source(&files), TABLE)),
        "src/bc.rs:1: imports `crate::clock::Clock` of `clock`, but `bc` may import http"
    );
}

#[test]
fn the_executable_and_unknown_modules_are_held_to_the_table_too() {
    let files = [("main.rs", "fn main() { bcsync::cli::main(); bcsync::sync::run() }"), ("extra.rs", "")];
    assert_eq!(
        told(&rules::imports(&source(&files), TABLE)),
        "module `extra` is not in the table of imports\n\
         src/main.rs:1: imports `crate::sync` of `sync`, but `main` may import cli"
    );
}

#[test]
fn a_table_with_a_circle_is_told() {
    let table: Table<'_> = &[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])];
    assert_eq!(told(&rules::circles_of_table(table)), "these may import each other: a, b, c");
}

#[test]
fn files_that_use_each_other_are_told_with_what_they_use() {
    let files = [
        ("bc/mod.rs", "mod reader; mod row; mod writer; pub use row::Row;"),
        ("bc/reader.rs", "use super::Row;\nfn f() { super::writer::send() }"),
        ("bc/writer.rs", "use super::row::Row;\n\npub fn send(_: super::reader::Reader) {}"),
        ("bc/row.rs", "pub struct Row;"),
    ];
    assert_eq!(
        told(&rules::circles(&source(&files))),
        "these files use each other in a circle: bc/reader.rs, bc/writer.rs\n    \
         src/bc/reader.rs:2 uses `crate::bc::writer::send` of src/bc/writer.rs\n    \
         src/bc/writer.rs:3 uses `crate::bc::reader::Reader` of src/bc/reader.rs"
    );
}

/// The file of the module `bc` and its children, each of which may break the rule with another.
fn circles_of_bc(parent: &str, row: &str, reader: &str) -> usize {
    let files = [("bc/mod.rs", parent), ("bc/row.rs", row), ("bc/reader.rs", reader)];
    rules::circles(&source(&files)).len()
}

#[test]
fn passing_names_on_is_no_use_but_using_them_is() {
    let row = "pub struct Row; pub fn read(_: super::BcError) {}";
    for (parent, row, reader, expected) in [
        ("mod row; pub use row::Row; pub struct BcError;", row, "", 0),
        ("mod row; pub(crate) use row::Row; pub struct BcError;", row, "", 0),
        ("mod row; pub use row::Row; pub struct BcError(Row);", row, "", 1),
        ("mod row; pub use row::Row; pub struct BcError; fn f() { g!(Row) }", row, "", 1),
        ("mod row; use row::Row; pub struct BcError;", row, "", 1),
        ("mod row; pub struct BcError; fn f() { row::read() }", row, "", 1),
        ("mod row; pub struct BcError; fn f(row: u8) { row + s.row; }", row, "", 0),
        ("mod row; pub use row::read; pub struct BcError; fn f() { read() }", row, "", 1),
        // A child that uses what the parent passes on uses the sibling, not the parent.
        ("mod row; pub use row::Row; use reader::f;", "pub struct Row;", "use super::Row; pub fn f() {}", 0),
        (
            "mod row; pub use row::Row; pub use reader::f;",
            "pub struct Row; use super::f;",
            "use super::Row; pub fn f() {}",
            1,
        ),
        (
            "mod row; pub use row::Row as R; pub use reader::*;",
            "pub struct Row; use super::f;",
            "use super::R; pub fn f() {}",
            1,
        ),
        // What is under `#[cfg(test)]` does not count.
        ("mod row; use row::Row;", "pub struct Row; #[cfg(test)] mod tests { use super::super::BcError; }", "", 0),
        // Everything of the parent is something of the parent.
        ("mod row; use row::Row;", "use super::*; pub struct Row;", "", 1),
        // A sibling that passes on what another sibling defines uses it.
        ("mod row;", "pub use super::reader::f; pub struct Row;", "use super::row::Row; pub fn f() {}", 1),
    ] {
        assert_eq!(circles_of_bc(parent, row, reader), expected, "{parent} / {row} / {reader}");
    }
}

#[test]
fn circles_are_found_through_folders_and_over_several_files() {
    let files = [
        ("bc/mod.rs", "mod error; mod wire; pub use error::Error;"),
        ("bc/error.rs", "use super::wire::Part;"),
        ("bc/wire/mod.rs", "mod part; mod text; pub use part::Part;"),
        ("bc/wire/part.rs", "use super::text::read; pub struct Part;"),
        ("bc/wire/text.rs", "use super::super::Error; pub fn read() {}"),
    ];
    let told = told(&rules::circles(&source(&files)));
    assert!(
        told.starts_with("these files use each other in a circle: bc/error.rs, bc/wire/part.rs, bc/wire/text.rs\n"),
        "{told}"
    );
    let files = [("bc/mod.rs", "mod a { use super::b::f; } mod b { use super::a; pub fn f() {} }")];
    assert_eq!(rules::circles(&source(&files)).len(), 0, "modules of one file");
}

#[test]
fn the_writer_is_named_by_what_applies_only() {
    let bc = [("bc/mod.rs", "mod writer; pub use writer::Writer;"), ("bc/writer.rs", "pub struct Writer;")];
    for (text, lines) in [
        ("use crate::bc::Writer;", 1),
        ("use crate::bc::{Reader, Writer as W};", 1),
        ("use crate::bc;\nfn f(_: bc::Writer) {}", 1),
        ("use crate::bc::*;\nfn f() { Writer::new() }", 1),
        ("fn f() { g!(crate::bc::writer::Writer::new()) }", 1),
        ("use crate::bc;\nfn f() { g!(bc::Writer) }", 1),
        ("use crate::bc::Reader;", 0),
        ("struct Writer; fn f(_: Writer) {}", 0),
        ("use std::io::Write as Writer;", 0),
    ] {
        let allowed = ["bc", "apply"];
        let files = |path| source(&[&bc[..], &[(path, text)]].concat());
        assert_eq!(rules::writers(&files("apply.rs"), &allowed).len(), 0, "{text}");
        assert_eq!(rules::writers(&files("sync.rs"), &allowed).len(), lines, "{text}");
    }
    let source = source(&[&bc[..], &[("cli/mod.rs", "\nuse crate::bc::Writer;")]].concat());
    assert_eq!(
        told(&rules::writers(&source, &["apply", "bc"])),
        "src/cli/mod.rs:2: names `bc::Writer`, which only apply, bc may"
    );
}

#[test]
fn rules_of_form() {
    for (path, text, expected) in [
        ("clock.rs", "//! Time.\n", ""),
        ("clock.rs", "use std::time;", "src/clock.rs:1: does not open with `//!`"),
        ("clock.rs", "//!\nmod prelude {}", "src/clock.rs: `prelude` does not say what is in a module"),
        ("utils.rs", "//!", "src/utils.rs:1: `utils` does not say what is in a module"),
        ("http/types/mod.rs", "//!", "src/http/types/mod.rs:1: `types` does not say what is in a module"),
        ("http/common/a.rs", "//!", "src/http/common/a.rs:1: `common` does not say what is in a module"),
        ("clock.rs", "//!\npub use a::{b::*};", "src/clock.rs:2: re-exports everything of a module, not named items"),
        ("clock.rs", "//!\npub(super) use a::*;", "src/clock.rs:2: re-exports everything of a module, not named items"),
        ("clock.rs", "//!\nuse a::*;", ""),
        ("clock.rs", "//!\n#[path = \"x.rs\"]\nmod a;", "src/clock.rs:2: `#[path]` hides where a module is"),
    ] {
        assert_eq!(told(&rules::form(&source(&[(path, text)]))), expected, "{path}: {text}");
    }
}

#[test]
fn only_lines_outside_tests_make_a_file_long() {
    let lines = |number| "// line\n".repeat(number);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500));
    let with = |before, after| format!("//!\n{}{tests}{}", lines(before), lines(after));
    let long = |files: &[(&str, &str)]| told(&rules::form(&source(files)));
    assert_eq!(long(&[("clock.rs", &with(399, 0))]), "");
    let expected = "src/clock.rs: has 401 lines without its tests, 400 are allowed";
    assert_eq!(long(&[("clock.rs", &with(400, 0))]), expected);
    assert_eq!(long(&[("clock.rs", &with(0, 400))]), expected, "tests that stand first");
    let inside = format!("//!\nmod inner {{\n{tests}}}\n{}", lines(398));
    assert_eq!(long(&[("clock.rs", &inside)]), expected, "tests of an inner module");
    let folder = [("clock/mod.rs", "//!\n#[cfg(test)] mod tests;"), ("clock/tests.rs", &with(500, 0))];
    assert_eq!(long(&folder), "");
}
