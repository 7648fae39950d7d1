//! Where a path leads: from the module it is written in to the module that defines what it names.
//!
//! Names are looked up as Rust does it, with one simplification: a `use` inside a function holds for its whole module.

use super::source::{How, Mention, ModulePath, Source};

/// What a path names.
#[derive(Clone)]
pub(crate) struct Target {
    /// As it is called where it was found: a re-export is named by the module that passes it on.
    pub(crate) named: ModulePath,
    /// The module in which the name was found.
    pub(crate) via: ModulePath,
    /// The module that defines it, or that is named itself.
    pub(crate) module: ModulePath,
    /// The item; none when a module is named.
    pub(crate) item: Option<String>,
}

/// How a name is looked up in a module.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// It is written there, and may as well be that of another crate or of a variable.
    Written,
    /// Through the module's path: it is there.
    Named,
    /// Through the import of everything in that module: it may be there.
    Glob,
}

impl Source {
    /// What `mention`, written in the module `from`, can name. Nothing when it is not of this crate.
    ///
    /// A module and an item may have the same name, hence several answers. A name below one of our modules that nobody
    /// seems to define, because a macro does, is taken for an item of that module.
    pub(crate) fn targets(&self, from: &ModulePath, mention: &Mention) -> Vec<Target> {
        let mut targets = self.resolve(from, &mention.segments, &mut Vec::new());
        // A lone name in an expression is a variable or an item, never a module.
        if mention.segments.len() == 1 && mention.how == How::Inline {
            targets.retain(|target| target.item.is_some());
        }
        targets
    }

    fn resolve(&self, from: &ModulePath, segments: &[String], open: &mut Vec<ModulePath>) -> Vec<Target> {
        let mut module = from.clone();
        let mut rest = segments;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" | "bcsync" => module.clear(),
                "super" => drop(module.pop()),
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        let lookup = if rest.len() < segments.len() { Lookup::Named } else { Lookup::Written };
        self.walk(&module, rest, lookup, open)
    }

    /// What `segments` name in `module`. `open` are the names being looked up already, which cannot lead to themselves.
    fn walk(
        &self,
        module: &ModulePath,
        segments: &[String],
        lookup: Lookup,
        open: &mut Vec<ModulePath>,
    ) -> Vec<Target> {
        let Some((name, rest)) = segments.split_first() else {
            return vec![Target { named: module.clone(), via: module.clone(), module: module.clone(), item: None }];
        };
        let named: ModulePath = module.iter().chain([name]).cloned().collect();
        let item =
            Target { named: named.clone(), via: module.clone(), module: module.clone(), item: Some(name.clone()) };
        let mut found = Vec::new();
        if self.modules.contains_key(&named) {
            found.extend(self.walk(&named, rest, Lookup::Named, open));
        }
        if let (true, Some(definer)) = (module.is_empty(), self.exported_macros.get(name)) {
            found.push(Target { module: definer.clone(), ..item.clone() });
        }
        let here = self.modules.get(module);
        if here.is_some_and(|here| here.items.contains(name)) {
            found.push(item.clone());
        }
        if let (Some(here), false) = (here, open.contains(&named)) {
            open.push(named.clone());
            for (_, path) in here.bindings.iter().filter(|(bound, _)| bound == name) {
                for target in self.resolve(module, path, open) {
                    match target.item {
                        // In the module itself an imported name is only short for what was imported.
                        Some(_) if lookup == Lookup::Written => found.push(target),
                        None => found.extend(self.walk(&target.module, rest, Lookup::Named, open)),
                        Some(_) => found.push(Target { named: named.clone(), via: module.clone(), ..target }),
                    }
                }
            }
            if found.is_empty() {
                let targets: Vec<Target> =
                    here.globs.iter().flat_map(|path| self.resolve(module, path, open)).collect();
                for target in targets.iter().filter(|target| target.item.is_none()) {
                    found.extend(self.walk(&target.module, segments, Lookup::Glob, open));
                }
            }
            open.pop();
        }
        if found.is_empty() && lookup == Lookup::Named {
            let definer = if module.is_empty() { named } else { module.clone() };
            found.push(Target { module: definer, ..item });
        }
        found
    }
}
