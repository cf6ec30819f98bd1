//! Draws which file imports which, and fails on a circle, because files in a circle can only be understood together.
//!
//! `STREAM_DRAW_IMPORTS=1 cargo test --test imports -- --nocapture` prints the arrows. What stands under `#[cfg(test)]`
//! does not count, and a name that a module only passes on (`pub use`) counts for the file that defines it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The path of a module: the names from the crate's root.
type Module = Vec<String>;

/// One file of a crate, and its references to other modules.
#[derive(Default)]
struct File {
    path: PathBuf,
    /// Names of the modules that it declares, in files of their own.
    children: BTreeSet<String>,
    /// Its re-exports: the name, and the path inside the crate.
    passed_on: BTreeMap<String, Vec<String>>,
    /// Every path in it that may name another module, with the depth of the inline module around it.
    paths: Vec<(usize, Vec<String>)>,
}

impl File {
    fn read(path: &Path) -> File {
        let text = std::fs::read_to_string(path).unwrap();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut file = File { path: path.to_owned(), ..File::default() };
        Reader { file: &mut file, depth: 0 }.visit_file(&syntax);
        file
    }
}

struct Reader<'a> {
    file: &'a mut File,
    depth: usize,
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}

/// The single paths of a `use`, each with the name that it gives.
fn leaves(tree: &syn::UseTree, before: &[String], all: &mut Vec<(String, Vec<String>)>) {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        syn::UseTree::Path(path) => leaves(&path.tree, &with(&path.ident), all),
        syn::UseTree::Name(name) if name.ident == "self" => {
            all.push((before.last().cloned().unwrap_or_default(), before.to_vec()));
        }
        syn::UseTree::Name(name) => all.push((name.ident.to_string(), with(&name.ident))),
        syn::UseTree::Rename(renamed) => all.push((renamed.rename.to_string(), with(&renamed.ident))),
        syn::UseTree::Glob(_) => all.push(("*".to_owned(), before.to_vec())),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, all)),
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_for_tests(&module.attrs) {
            return;
        }
        if module.content.is_none() {
            self.file.children.insert(module.ident.to_string());
        } else {
            self.depth += 1;
            visit::visit_item_mod(self, module);
            self.depth -= 1;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if is_for_tests(&item.attrs) {
            return;
        }
        let mut all = vec![];
        leaves(&item.tree, &[], &mut all);
        for (name, path) in all {
            if self.depth == 0 && !matches!(item.vis, syn::Visibility::Inherited) {
                self.file.passed_on.insert(name, path);
            } else {
                self.file.paths.push((self.depth, path));
            }
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.file.paths.push((self.depth, names));
        }
        visit::visit_path(self, path);
    }
}

/// All modules of a crate.
fn modules(root: &Path) -> BTreeMap<Module, File> {
    let mut modules = BTreeMap::new();
    let mut to_read = vec![(Module::new(), root.to_owned(), root.parent().unwrap().to_owned())];
    while let Some((module, path, folder)) = to_read.pop() {
        let file = File::read(&path);
        for child in &file.children {
            let inside = folder.join(child);
            let own = [inside.with_extension("rs"), inside.join("mod.rs")];
            let path = own.into_iter().find(|path| path.exists());
            let path = path.unwrap_or_else(|| panic!("module {child} of {}", file.path.display()));
            to_read.push(([module.as_slice(), std::slice::from_ref(child)].concat(), path, inside));
        }
        modules.insert(module, file);
    }
    modules
}

/// The module that defines what a path names, if it is one of this crate's.
fn target(modules: &BTreeMap<Module, File>, from: &Module, depth: usize, path: &[String]) -> Option<Module> {
    let mut rest = path;
    let mut at = from.clone();
    let mut inline = depth;
    match rest.first()?.as_str() {
        "crate" => at.clear(),
        "super" | "self" => {}
        first if modules[from].children.contains(first) && depth == 0 => {}
        _ => return None,
    }
    while let Some(first) = rest.first() {
        match first.as_str() {
            "crate" | "self" => {}
            "super" if inline > 0 => inline -= 1,
            "super" => {
                at.pop()?;
            }
            name if modules[&at].children.contains(name) => at.push(name.to_owned()),
            name => {
                let passed_on = modules[&at].passed_on.get(name);
                return passed_on.and_then(|path| target(modules, &at, 0, path)).or(Some(at));
            }
        }
        rest = &rest[1..];
    }
    Some(at)
}

/// Files that import each other, directly or through others.
fn circles(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<Module>> {
    let reach = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut to_see: Vec<&Module> = arrows.get(from).into_iter().flatten().collect();
        while let Some(module) = to_see.pop() {
            if seen.insert(module.clone()) {
                to_see.extend(arrows.get(module).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = arrows.keys().map(|module| (module, reach(module))).collect();
    let with = |module: &Module| {
        let both = |other: &&Module| {
            reached.get(*other).is_some_and(|back| back.contains(module)) && reached[module].contains(*other)
        };
        arrows.keys().filter(both).cloned().collect::<BTreeSet<_>>()
    };
    arrows.keys().map(with).filter(|circle| circle.len() > 1).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let draw = std::env::var_os("STREAM_DRAW_IMPORTS").is_some();
    let mut found = vec![];
    let mut number = (0, 0);
    for folder in std::fs::read_dir(top.join("crates")).unwrap() {
        let folder = folder.unwrap().path();
        let modules = modules(&folder.join("src/lib.rs"));
        let name = |module: &Module| modules[module].path.strip_prefix(top).unwrap().display().to_string();
        let mut arrows: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (module, file) in &modules {
            let to = arrows.entry(module.clone()).or_default();
            let targets =
                file.paths.iter().filter_map(|(depth, path)| target(&modules, module, *depth, path));
            to.extend(targets.filter(|other| other != module));
            number.1 += to.len();
            if draw {
                to.iter().for_each(|other| println!("{} -> {}", name(module), name(other)));
            }
        }
        number.0 += modules.len();
        for circle in circles(&arrows) {
            let inside = |from: &Module| {
                let to: Vec<_> = arrows[from].iter().filter(|to| circle.contains(*to)).map(name).collect();
                format!("  {} -> {}", name(from), to.join(", "))
            };
            found.push(circle.iter().map(inside).collect::<Vec<_>>().join("\n"));
        }
    }
    println!("{} files, {} arrows between them", number.0, number.1);
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n\n"));
}
