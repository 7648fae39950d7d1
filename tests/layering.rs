//! Holds the source to its layers: who may import whom, no circles, and a few rules of form.
//!
//! `src/` is parsed, not compiled: every `use`, every path in an expression or a type, and everything in the tokens of a
//! macro or an attribute that reads like a path is followed to the file that defines it, through re-exports. What is under
//! `#[cfg(test)]` may do as it likes. The checks themselves are tried on made-up sources in `layering/made_up.rs`.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

#[path = "layering/made_up.rs"]
mod made_up;
#[path = "layering/names.rs"]
mod names;
#[path = "layering/rules.rs"]
mod rules;
#[path = "layering/source.rs"]
mod source;

use source::{File, Source};

/// Which top-level module may import which. Everyone may use the macros of `fault`, and its own files.
///
/// A module that is not listed may not exist; one that is listed need not.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("fault", &[]),
    ("model", &[]),
    ("clock", &[]),
    ("schema", &["model"]),
    ("config", &["model", "schema"]),
    ("http", &["model", "clock"]),
    ("mapping", &["model", "schema"]),
    ("diff", &["model", "schema"]),
    ("ledger", &["model", "clock"]),
    ("source", &["model", "http", "clock"]),
    ("bc", &["model", "schema", "http", "clock"]),
    ("apply", &["model", "schema", "clock", "diff", "bc", "ledger"]),
    ("sync", &["model", "schema", "clock", "source", "mapping", "diff", "bc", "ledger", "apply"]),
    ("alert", &["model", "clock", "http", "ledger"]),
    ("ops", &["model", "schema", "clock", "source", "mapping", "bc", "ledger", "sync", "http", "config"]),
    ("daemon", &["model", "clock", "ledger", "sync", "alert"]),
    ("monitor", &["model", "clock", "ledger"]),
    (
        "app",
        &[
            "model", "clock", "schema", "config", "http", "mapping", "diff", "ledger", "source", "bc", "apply", "sync",
            "alert", "ops", "daemon", "monitor",
        ],
    ),
    ("cli", &["app", "ops", "config", "model", "simulator"]),
    ("main", &["cli"]),
    // It has a field table and wire types of its own, so that one misreading cannot hide in both.
    ("simulator", &["clock"]),
];

/// Which modules may name `bc::Writer`: what cannot name it cannot write to Business Central.
const MAY_WRITE: &[&str] = &["bc", "apply", "app"];

#[test]
fn modules_import_only_what_their_layer_may() {
    told(&rules::imports(&SOURCE, MAY_IMPORT));
}

#[test]
fn the_table_of_imports_has_no_circle() {
    told(&rules::circles_of_table(MAY_IMPORT));
}

#[test]
fn files_of_a_module_do_not_use_each_other_in_circles() {
    told(&rules::circles(&SOURCE));
}

#[test]
fn only_what_applies_a_plan_can_write() {
    told(&rules::writers(&SOURCE, MAY_WRITE));
}

#[test]
fn files_and_modules_keep_their_form() {
    told(&rules::form(&SOURCE));
}

/// The checks would also pass if nothing were found in the source.
#[test]
fn the_source_is_seen() {
    let nobody: Vec<(&str, &[&str])> = MAY_IMPORT.iter().map(|(module, _)| (*module, [].as_slice())).collect();
    let imports = rules::imports(&SOURCE, &nobody);
    for (file, module) in [("main.rs", "cli"), ("diff.rs", "model")] {
        let is_seen =
            |told: &String| told.starts_with(&format!("src/{file}:")) && told.contains(&format!("of `{module}`"));
        assert!(imports.iter().any(is_seen), "{file} imports {module}");
    }
    assert!(!rules::writers(&SOURCE, &[]).is_empty());
}

fn told(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

static SOURCE: LazyLock<Source> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    read(&root, &root, &mut files);
    Source::new(&files)
});

fn read(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("the source can be read") {
        let path = entry.expect("the source can be read").path();
        if path.is_dir() {
            read(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("it was found below").to_string_lossy().into_owned();
            files.push(File { path: name, text: fs::read_to_string(&path).expect("the source is text") });
        }
    }
}
