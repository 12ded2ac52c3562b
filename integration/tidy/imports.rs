//! The import graph of `src/` and `integration/`, read from the source text.
//!
//! A file depends on the files that define the names it imports. A name that a parent re-exports counts as
//! the child's that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, sources};

/// A file's module: its `use` declarations and the rest of its code.
struct Module {
    file: String,
    /// Names in scope by `use`, with the path each stands for.
    names: BTreeMap<String, Vec<String>>,
    /// Names that are only re-exported, so that they are no dependency of this file.
    reexported: BTreeSet<String>,
    /// All code outside `use` declarations.
    body: String,
}

/// `from` imports `name` of `to`; both are files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) name: String,
}

type Modules = BTreeMap<Vec<String>, Module>;

/// Every import between two files below `folder`, for `src` without its tests.
pub(super) fn imports(folder: &str) -> BTreeSet<Import> {
    let sources = sources(folder);
    let code: Vec<_> = sources.iter().filter(|source| folder == "integration" || !source.is_test()).collect();
    let paths: BTreeSet<_> = code.iter().map(|source| module_path(&source.path)).collect();
    let modules: Modules =
        code.iter().map(|source| (module_path(&source.path), Module::read(source, &paths))).collect();
    modules.iter().flat_map(|(path, module)| module.imports(path, &modules)).collect()
}

/// `["nat64", "tables", "bib"]` for `src/nat64/tables/bib.rs`; nothing for the crate's root.
fn module_path(file: &str) -> Vec<String> {
    if matches!(file, "src/lib.rs" | "integration/main.rs") {
        return Vec::new();
    }
    let path = file.trim_start_matches("src/").trim_start_matches("integration/");
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

impl Module {
    fn read(source: &Source, modules: &BTreeSet<Vec<String>>) -> Self {
        let path = module_path(&source.path);
        let mut module = Self {
            file: source.path.clone(),
            names: BTreeMap::new(),
            reexported: BTreeSet::new(),
            body: String::new(),
        };
        let code =
            source.code().map(|(_, line)| without_visibility(line.split(" // ").next().unwrap_or(line)));
        let code: Vec<_> = code.collect();
        for statement in code.join("\n").split(';') {
            let tree_chars = |c: char| c.is_alphanumeric() || "_:,{}* \n".contains(c);
            match statement.rsplit_once("use ") {
                Some((before, tree)) if tree.chars().all(tree_chars) => {
                    module.body.push_str(before);
                    let is_public = before.trim_end().ends_with(')')
                        || before.trim_end().rsplit(char::is_whitespace).next() == Some("pub");
                    for (name, target) in expand(&[], tree) {
                        let Some(target) = absolute(&target, &path, modules) else { continue };
                        if is_public {
                            module.reexported.insert(name.clone());
                        }
                        module.names.insert(name, target);
                    }
                }
                Some(_) | None => module.body.push_str(statement),
            }
            module.body.push(';');
        }
        module
    }

    fn imports(&self, path: &[String], modules: &Modules) -> BTreeSet<Import> {
        let known: BTreeSet<_> = modules.keys().cloned().collect();
        let body = paths_in(&self.body);
        let used = |name: &String| body.iter().any(|path| path[0] == *name);
        let by_use = self.names.iter().filter(|(name, _)| !self.reexported.contains(*name) || used(name));
        let mut targets: Vec<_> = by_use.map(|(_, target)| target.clone()).collect();
        for inline in body.iter().filter(|path| path.len() > 1) {
            match self.names.get(&inline[0]) {
                Some(target) => targets.push([&target[..], &inline[1..]].concat()),
                None => targets.extend(absolute(inline, path, &known)),
            }
        }
        let resolved = targets.iter().filter_map(|target| resolve(target, modules, 0));
        let other = resolved.filter(|(file, name)| *file != self.file && !self.continues(path, file, name));
        other.map(|(to, name)| Import { from: self.file.clone(), to, name }).collect()
    }
}

impl Module {
    /// Whether this file holds a part of the implementation of its parent's type `name`: both files are
    /// one unit then, split for length.
    fn continues(&self, path: &[String], parent: &str, name: &str) -> bool {
        let is_parent = path.starts_with(&module_path(parent));
        let mut impls = self.body.lines().filter(|line| line.starts_with("impl"));
        is_parent
            && impls.any(|line| paths_in(line).iter().any(|path| path.last().is_some_and(|n| n == name)))
    }
}

/// `line` without the path of `pub(in path)`, which is no import.
fn without_visibility(line: &str) -> String {
    match line.split_once("pub(in ").and_then(|(before, rest)| Some((before, rest.split_once(')')?.1))) {
        Some((before, after)) => format!("{before}pub(){}", without_visibility(after)),
        None => line.to_owned(),
    }
}

/// The paths of a use tree, each with the name it brings into scope.
fn expand(prefix: &[String], tree: &str) -> Vec<(String, Vec<String>)> {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let mut prefix = prefix.to_vec();
        prefix.extend(head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        return split_group(group).into_iter().flat_map(|part| expand(&prefix, part)).collect();
    }
    let (tree, alias) = tree.split_once(" as ").map_or((tree, None), |(tree, alias)| (tree, Some(alias)));
    let mut path = prefix.to_vec();
    path.extend(tree.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()));
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    match path.last().cloned() {
        Some(last) => vec![(alias.map_or(last, |alias| alias.trim().to_owned()), path)],
        None => Vec::new(),
    }
}

/// Splits at the commas outside braces.
fn split_group(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// The path from the crate's root, or nothing for another crate's.
fn absolute(path: &[String], module: &[String], modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let first = path.first()?.as_str();
    let up = path.iter().take_while(|part| *part == "super").count();
    match first {
        "crate" => Some(path[1..].to_vec()),
        // Only `src/main.rs` and the tests use the library by name.
        "gate64" if module == ["main"] => Some(path[1..].to_vec()),
        "gate64" => None,
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([&module[..module.len().checked_sub(up)?], &path[up..]].concat()),
        child => {
            let inside = [module, &[child.to_owned()]].concat();
            modules.contains(&inside).then(|| [module, path].concat())
        }
    }
}

/// The file that defines what `path` names, and the name there. Follows re-exports.
fn resolve(path: &[String], modules: &Modules, depth: usize) -> Option<(String, String)> {
    let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let module = &modules[&path[..length]];
    let Some(name) = path.get(length) else { return Some((module.file.clone(), "self".to_owned())) };
    match module.names.get(name) {
        Some(target) if depth < 8 => {
            resolve(&[&target[..], &path[length + 1..]].concat(), modules, depth + 1)
        }
        Some(_) | None => Some((module.file.clone(), name.clone())),
    }
}

/// Every path in code outside `use`: `a::b`, and single identifiers.
fn paths_in(code: &str) -> BTreeSet<Vec<String>> {
    let words = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let paths = words.map(|word| word.trim_matches(':').split("::").map(str::to_owned).collect::<Vec<_>>());
    paths.filter(|path| !path[0].is_empty()).collect()
}

/// One circle: the imports of the shortest way from a file back to itself, or nothing if there is none.
pub(super) fn circle(imports: &BTreeSet<Import>) -> Option<Vec<Import>> {
    let mut by_file: BTreeMap<&str, Vec<&Import>> = BTreeMap::new();
    for import in imports {
        by_file.entry(&import.from).or_default().push(import);
    }
    let mut shortest: Option<Vec<Import>> = None;
    for start in by_file.keys() {
        let mut reached: BTreeMap<&str, &Import> = BTreeMap::new();
        let mut queue = vec![*start];
        let mut at = 0;
        while at < queue.len() && !reached.contains_key(start) {
            for import in by_file.get(queue[at]).into_iter().flatten() {
                if !reached.contains_key(import.to.as_str()) {
                    reached.insert(&import.to, import);
                    queue.push(&import.to);
                }
            }
            at += 1;
        }
        let mut found = Vec::new();
        let mut file = *start;
        while let Some(import) = reached.get(file).filter(|_| reached.contains_key(start)) {
            found.insert(0, (*import).clone());
            file = &import.from;
            if file == *start {
                break;
            }
        }
        if !found.is_empty() && shortest.as_ref().is_none_or(|best| found.len() < best.len()) {
            shortest = Some(found);
        }
    }
    shortest
}
