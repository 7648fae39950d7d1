//! The modules of a crate as they are written: what each defines and what it names, with lines.
//!
//! Nothing is expanded. Items under `#[cfg(test)]` are left out, and so are the files of modules declared under it.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Meta, MetaList, Token, UseTree, Visibility};

/// The place of a module below the crate: `["config", "job"]`. The crate itself is empty, `main.rs` is `["main"]`.
pub(crate) type ModulePath = Vec<String>;

/// A file, by its path below `src/`.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Everything the rules look at.
pub(crate) struct Source {
    pub(crate) modules: BTreeMap<ModulePath, Module>,
    /// Macros under `#[macro_export]`, which are named as if the crate itself defined them, and where they are defined.
    pub(crate) exported_macros: BTreeMap<String, ModulePath>,
    /// Every file, those of tests included.
    pub(crate) files: Vec<FileFacts>,
}

/// A module that is compiled into the program.
#[derive(Default)]
pub(crate) struct Module {
    pub(crate) file: String,
    /// The names it defines.
    pub(crate) items: Vec<String>,
    /// The names it has from elsewhere, and from where.
    pub(crate) bindings: Vec<(String, Vec<String>)>,
    /// The modules of which it imports everything.
    pub(crate) globs: Vec<Vec<String>>,
    /// What it names.
    pub(crate) mentions: Vec<Mention>,
    /// The lines that re-export everything of another module.
    pub(crate) glob_reexports: Vec<usize>,
}

/// A path that is written in a module.
#[derive(Clone)]
pub(crate) struct Mention {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) how: How,
}

/// How a path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// In an expression, a type, a pattern, an attribute or a macro.
    Inline,
    /// `use`.
    Import,
    /// `pub use`: passed on, not necessarily used.
    Reexport,
}

/// What the rules of form ask of a file.
pub(crate) struct FileFacts {
    pub(crate) path: String,
    pub(crate) module: ModulePath,
    pub(crate) opens_with_doc: bool,
    /// Lines that are not under `#[cfg(test)]`; none when the whole file is.
    pub(crate) lines: usize,
    /// Lines that put a module somewhere else than its name says.
    pub(crate) moved_modules: Vec<usize>,
}

impl Source {
    /// What `files` say.
    ///
    /// # Panics
    ///
    /// When one of them is not Rust.
    pub(crate) fn new(files: &[File]) -> Self {
        let mut source = Self { modules: BTreeMap::new(), exported_macros: BTreeMap::new(), files: Vec::new() };
        let mut tests = Vec::new();
        for file in files {
            let parsed = syn::parse_file(&file.text).unwrap_or_else(|error| panic!("src/{}: {error}", file.path));
            let mut facts = FileFacts {
                path: file.path.clone(),
                module: module_of(&file.path),
                opens_with_doc: file.text.starts_with("//!"),
                lines: file.text.lines().count(),
                moved_modules: Vec::new(),
            };
            source.add(facts.module.clone(), &parsed.items, &mut facts, &mut tests);
            source.files.push(facts);
        }
        let is_test = |path: &ModulePath| tests.iter().any(|test| path.starts_with(test));
        source.modules.retain(|path, _| !is_test(path));
        source.exported_macros.retain(|_, path| !is_test(path));
        for facts in source.files.iter_mut().filter(|facts| is_test(&facts.module)) {
            facts.lines = 0;
        }
        source
    }

    /// Adds the module at `path`, which consists of `items`, and those inside it.
    fn add(&mut self, path: ModulePath, items: &[Item], facts: &mut FileFacts, tests: &mut Vec<ModulePath>) {
        let mut module = Module { file: facts.path.clone(), ..Module::default() };
        for item in items {
            let name = name_of(item);
            let inner = |name: &String| path.iter().chain([name]).cloned().collect::<ModulePath>();
            if is_test_only(attributes(item)) {
                let span = item.span();
                facts.lines = facts.lines.saturating_sub(span.end().line + 1 - span.start().line);
                if let (Item::Mod(_), Some(name)) = (item, &name) {
                    tests.push(inner(name));
                }
                continue;
            }
            match (item, name) {
                (Item::Mod(declared), Some(name)) => {
                    let moved = declared.attrs.iter().filter(|attribute| attribute.path().is_ident("path"));
                    facts.moved_modules.extend(moved.map(|attribute| attribute.span().start().line));
                    if let Some((_, items)) = &declared.content {
                        self.add(inner(&name), items, facts, tests);
                    }
                    continue;
                }
                (Item::Macro(defined), Some(name))
                    if defined.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) =>
                {
                    self.exported_macros.insert(name, path.clone());
                }
                (_, Some(name)) => module.items.push(name),
                (_, None) => {}
            }
            Reader { module: &mut module }.visit_item(item);
        }
        self.modules.insert(path, module);
    }
}

/// The module whose file has this path below `src/`.
fn module_of(file: &str) -> ModulePath {
    let name = file.strip_suffix(".rs").unwrap_or(file);
    let name = name.strip_suffix("/mod").unwrap_or(name);
    if name == "lib" { Vec::new() } else { name.split('/').map(str::to_owned).collect() }
}

/// Notes down what is named.
struct Reader<'m> {
    module: &'m mut Module,
}

impl Reader<'_> {
    fn mention(&mut self, segments: Vec<String>, line: usize) {
        self.module.mentions.push(Mention { segments, line, how: How::Inline });
    }

    /// Follows the tree of a `use` whose beginning is `path`.
    fn import(&mut self, tree: &UseTree, mut path: Vec<String>, line: usize, how: How) {
        let bound_as = match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                return self.import(&step.tree, path, line, how);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path.clone(), tree.span().start().line, how);
                }
                return;
            }
            UseTree::Glob(_) => {
                self.module.globs.push(path.clone());
                if how == How::Reexport {
                    self.module.glob_reexports.push(line);
                }
                None
            }
            // `use a::{self}` and `use a::{self as b}` bind `a`.
            UseTree::Name(name) if name.ident == "self" => path.last().cloned(),
            UseTree::Rename(rename) if rename.ident == "self" => Some(rename.rename.to_string()),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                path.last().cloned()
            }
            UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                Some(rename.rename.to_string())
            }
        };
        if let Some(name) = bound_as {
            self.module.bindings.push((name, path.clone()));
        }
        self.module.mentions.push(Mention { segments: path, line, how });
    }

    /// Whatever in `tokens` reads like a path; `prefix` is what stands before them, as in `prefix::{tokens}`.
    fn scan(&mut self, tokens: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let first = match token {
                TokenTree::Group(group) => {
                    self.scan(group.stream(), prefix);
                    continue;
                }
                TokenTree::Ident(first) if begins_a_path(&tokens[..at]) => first,
                _ => continue,
            };
            let mut segments = [prefix, &[first.to_string()]].concat();
            while is_separator(&tokens[at..]) {
                match tokens.get(at + 2) {
                    Some(TokenTree::Ident(next)) => segments.push(next.to_string()),
                    Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                        self.scan(group.stream(), &segments);
                    }
                    _ => break,
                }
                at += 3;
            }
            self.mention(segments, first.span().start().line);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs[..],
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_test_only(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let how = if matches!(item.vis, Visibility::Inherited) { How::Import } else { How::Reexport };
        if item.leading_colon.is_none() {
            self.import(&item.tree, Vec::new(), item.use_token.span.start().line, how);
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        if let ("self", Some((_, name))) = (item.ident.to_string().as_str(), &item.rename) {
            self.module.bindings.push((name.to_string(), vec!["crate".to_owned()]));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.mention(segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invoked: &'ast syn::Macro) {
        visit::visit_macro(self, invoked);
        self.scan(invoked.tokens.clone(), &[]);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        self.scan(list.tokens.clone(), &[]);
        // Derives take paths in strings too: `#[serde(with = "super::stamp")]`.
        for token in list.tokens.clone() {
            if let TokenTree::Literal(literal) = token
                && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                && let Ok(path) = text.parse::<syn::Path>()
            {
                let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
                self.mention(segments, literal.span().start().line);
            }
        }
    }

    /// `pub(in crate::config)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// Whether the last of `tokens`, an identifier, is not a field, a method, a lifetime or a macro's variable.
fn begins_a_path(tokens: &[TokenTree]) -> bool {
    let punct = |back: usize| match tokens.len().checked_sub(back + 1).map(|at| &tokens[at]) {
        Some(TokenTree::Punct(punct)) => Some(punct.as_char()),
        _ => None,
    };
    let is_crate = tokens.last().is_some_and(|last| last.to_string() == "crate");
    match punct(1) {
        Some('.') => punct(2) == Some('.'),
        Some('$') => is_crate,
        Some('\'') => false,
        _ => true,
    }
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(first), TokenTree::Punct(second), ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':')
}

/// Whether `attributes` leave their item out of everything but tests.
fn is_test_only(attributes: &[Attribute]) -> bool {
    let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.filter_map(|attribute| attribute.parse_args::<Meta>().ok()).any(|condition| needs_test(&condition))
}

fn needs_test(condition: &Meta) -> bool {
    let parts = |list: &MetaList| {
        let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
        parts.into_iter().collect::<Vec<_>>()
    };
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => parts(list).iter().any(needs_test),
        Meta::List(list) if list.path.is_ident("any") => parts(list).iter().all(needs_test),
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
