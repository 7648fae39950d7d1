//! The rules. Each gives the violations it finds, as texts with file, line, what is wrong and what is allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Target;
use super::source::{How, Mention, Module, ModulePath, Source};

/// Names that say nothing about what is in a module.
const EMPTY_NAMES: [&str; 5] = ["utils", "common", "helpers", "types", "prelude"];

/// The most lines that a file has without its tests.
const MOST_LINES: usize = 400;

/// Which module may import which: rows of a module and those it may import.
pub(crate) type Table<'t> = &'t [(&'t str, &'t [&'t str])];

/// What a path in a module names: its module, the path, and one of its meanings.
struct Use<'s> {
    path: &'s ModulePath,
    module: &'s Module,
    mention: &'s Mention,
    target: Target,
}

fn uses(source: &Source) -> impl Iterator<Item = Use<'_>> {
    source.modules.iter().flat_map(move |(path, module)| {
        module.mentions.iter().flat_map(move |mention| {
            let targets = source.targets(path, mention).into_iter();
            targets.map(move |target| Use { path, module, mention, target })
        })
    })
}

impl Use<'_> {
    /// `src/apply/send.rs:20`
    fn place(&self) -> String {
        format!("src/{}:{}", self.module.file, self.mention.line)
    }

    /// `crate::http::Delays`
    fn name(&self) -> String {
        format!("crate::{}", self.target.named.join("::"))
    }

    /// Everyone may use the macros `fault!`, which has the name of its module, and `mutant!`.
    fn is_fault_macro(&self) -> bool {
        matches!(self.target.named.as_slice(), [only] if only == "fault" || only == "mutant")
    }
}

/// The top-level module that `path` is in.
fn top(path: &[String]) -> &str {
    path.first().map_or("lib", String::as_str)
}

/// Imports that `table` does not allow, also those that come through a re-export of an allowed module.
pub(crate) fn imports(source: &Source, table: Table<'_>) -> Vec<String> {
    let mut told = BTreeSet::new();
    let mut violations = Vec::new();
    for path in source.modules.keys().filter(|path| path.len() <= 1) {
        if !table.iter().any(|(module, _)| *module == top(path)) {
            violations.push(format!("module `{}` is not in the table of imports", top(path)));
        }
    }
    for found in uses(source).filter(|found| !found.is_fault_macro()) {
        let importer = top(found.path);
        let Some((_, allowed)) = table.iter().find(|(module, _)| *module == importer) else { continue };
        let Target { via, module, .. } = &found.target;
        // What is passed on by the crate itself is only asked where it comes from.
        let asked = [if via.is_empty() { module } else { via }, module].map(|path| top(path));
        let refused = asked.into_iter().find(|other| *other != importer && !allowed.contains(other));
        if let Some(refused) = refused
            && told.insert((found.module.file.clone(), found.name()))
        {
            let (place, name) = (found.place(), found.name());
            let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            violations.push(format!("{place}: imports `{name}` of `{refused}`, but `{importer}` may import {allowed}"));
        }
    }
    violations
}

/// Modules of `table` that may import each other.
pub(crate) fn circles_of_table(table: Table<'_>) -> Vec<String> {
    let edges = table.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect()));
    let circles = circles_among(&edges.collect());
    circles.into_iter().map(|circle| format!("these may import each other: {}", join(&circle))).collect()
}

/// Files of one top-level module that use each other, directly or through others.
///
/// A module that passes on what its children define does not use them by that; one that uses such a name uses the child.
pub(crate) fn circles(source: &Source) -> Vec<String> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut examples: BTreeMap<(String, String), String> = BTreeMap::new();
    for found in uses(source) {
        let Some(definer) = source.modules.get(&found.target.module) else { continue };
        let (from, to) = (&found.module.file, &definer.file);
        let is_passed_on = found.mention.how == How::Reexport && found.target.module.starts_with(found.path);
        if from == to || top(found.path) != top(&found.target.module) || is_passed_on {
            continue;
        }
        edges.entry(from.clone()).or_default().insert(to.clone());
        let example = || format!("    {} uses `{}` of src/{to}", found.place(), found.name());
        examples.entry((from.clone(), to.clone())).or_insert_with(example);
    }
    let mut violations = Vec::new();
    for circle in circles_among(&edges) {
        let inside = examples.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
        let examples: Vec<&str> = inside.map(|(_, example)| example.as_str()).collect();
        violations.push(format!("these files use each other in a circle: {}\n{}", join(&circle), examples.join("\n")));
    }
    violations
}

/// Groups of nodes each of which can be reached from all others of its group.
fn circles_among(edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reachable = |start: &String| {
        let mut reached: BTreeSet<String> = BTreeSet::new();
        let mut next = vec![start];
        while let Some(node) = next.pop() {
            for to in edges.get(node).into_iter().flatten() {
                if reached.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = edges.keys().map(|node| (node, reachable(node))).collect();
    let circle_of = |node: &String| {
        let others = reached[node].iter().filter(|other| reached.get(other).is_some_and(|back| back.contains(node)));
        others.cloned().collect::<BTreeSet<String>>()
    };
    reached.keys().map(|node| circle_of(node)).filter(|circle| !circle.is_empty()).collect()
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Places outside the modules `allowed` that name `bc::Writer`.
pub(crate) fn writers(source: &Source, allowed: &[&str]) -> Vec<String> {
    let is_writer = |target: &Target| top(&target.module) == "bc" && target.item.as_deref() == Some("Writer");
    let mut told = BTreeSet::new();
    uses(source)
        .filter(|found| is_writer(&found.target) && !allowed.contains(&top(found.path)))
        .filter(|found| told.insert(found.module.file.clone()))
        .map(|found| format!("{}: names `bc::Writer`, which only {} may", found.place(), allowed.join(", ")))
        .collect()
}

/// Files and modules that break a rule of form.
pub(crate) fn form(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for file in &source.files {
        if !file.opens_with_doc {
            violations.push(format!("src/{}:1: does not open with `//!`", file.path));
        }
        if file.lines > MOST_LINES {
            let lines = file.lines;
            violations
                .push(format!("src/{}: has {lines} lines without its tests, {MOST_LINES} are allowed", file.path));
        }
        if let Some(name) = file.module.iter().find(|name| EMPTY_NAMES.contains(&name.as_str())) {
            violations.push(format!("src/{}:1: `{name}` does not say what is in a module", file.path));
        }
        for line in &file.moved_modules {
            violations.push(format!("src/{}:{line}: `#[path]` hides where a module is", file.path));
        }
    }
    for (path, module) in &source.modules {
        let is_inline = source.files.iter().all(|file| file.module != *path);
        if let Some(name) = path.last().filter(|name| is_inline && EMPTY_NAMES.contains(&name.as_str())) {
            violations.push(format!("src/{}: `{name}` does not say what is in a module", module.file));
        }
        for line in &module.glob_reexports {
            violations.push(format!("src/{}:{line}: re-exports everything of a module, not named items", module.file));
        }
    }
    violations
}
