//! ARCHITECTURE.md says which module uses which; here the sources are read and held against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

use super::read;

/// A path below the crate: `["mock", "turn", "engine"]`.
type ModulePath = Vec<String>;
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// What one source file refers to.
#[derive(Default)]
struct Source {
    /// The names that it passes on, with where they come from.
    reexports: BTreeMap<String, ModulePath>,
    /// Everything else of this crate that it names.
    references: Vec<ModulePath>,
}

/// The files of `src` by their module paths.
type Sources = BTreeMap<ModulePath, Source>;

fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let modules: BTreeMap<ModulePath, PathBuf> =
        files.into_iter().map(|file| (module_path(file.strip_prefix(&root).unwrap()), file)).collect();
    let names: BTreeSet<ModulePath> = modules.keys().cloned().collect();
    let read = |(module, file): (ModulePath, PathBuf)| {
        let syntax = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut reader = Reader { names: &names, module: module.clone(), nested: 0, source: Source::default() };
        reader.visit_file(&syntax);
        (module, reader.source)
    };
    modules.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("src/main.rs") {
            files.push(path);
        }
    }
}

fn module_path(file: &Path) -> ModulePath {
    let mut path: ModulePath = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
        path.pop();
    }
    path
}

/// Reads one file; tests of its own are left out.
struct Reader<'a> {
    names: &'a BTreeSet<ModulePath>,
    module: ModulePath,
    /// How many inline modules enclose the item that is being read.
    nested: usize,
    source: Source,
}

impl Reader<'_> {
    /// The path from the crate's root; `None` for what another crate has.
    fn resolve(&self, path: &[String]) -> Option<ModulePath> {
        let first = path.first()?;
        let mut base = self.module.clone();
        let mut rest = path;
        let mut nested = self.nested;
        match first.as_str() {
            "crate" => base.clear(),
            "self" | "super" => {
                while let Some(step @ ("self" | "super")) = rest.first().map(String::as_str) {
                    if step == "super" {
                        if nested > 0 { nested -= 1 } else { drop(base.pop()) }
                    }
                    rest = &rest[1..];
                }
                return Some([base.as_slice(), rest].concat());
            }
            child => {
                base.push(child.to_owned());
                if !self.names.contains(&base) {
                    return None;
                }
            }
        }
        Some([base.as_slice(), &path[1..]].concat())
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        let is_test = |attribute: &Attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
        };
        if !attributes.iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.nested += 1;
        visit::visit_item_mod(self, item);
        self.nested -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (path, name) in leaves {
            let Some(path) = self.resolve(&path) else { continue };
            let is_passed_on = !matches!(item.vis, Visibility::Inherited);
            match name {
                Some(name) if is_passed_on => drop(self.source.reexports.insert(name, path)),
                _ => self.source.references.push(path),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.source.references.extend(self.resolve(&segments));
        }
        visit::visit_path(self, path);
    }

    /// `pub(in crate::mock)` is no use of `mock`.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Every path of a `use` tree, with the name by which it is known afterwards; `None` for `*`.
fn flatten(tree: &UseTree, prefix: &mut ModulePath, leaves: &mut Vec<(ModulePath, Option<String>)>) {
    let mut leaf = |last: &str, name: &str| {
        let mut path = prefix.clone();
        let name = if last == "self" { prefix.last().cloned() } else { Some(name.to_owned()) };
        if last != "self" {
            path.push(last.to_owned());
        }
        leaves.push((path, name));
    };
    match tree {
        UseTree::Name(name) => leaf(&name.ident.to_string(), &name.ident.to_string()),
        UseTree::Rename(name) => leaf(&name.ident.to_string(), &name.rename.to_string()),
        UseTree::Glob(_) => leaves.push((prefix.clone(), None)),
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, leaves)),
    }
}

/// The file in which the item at a path is defined, as far as `pub use` tells.
fn definition(sources: &Sources, path: &[String]) -> ModulePath {
    let length = (0..=path.len()).rev().find(|length| sources.contains_key(&path[..*length])).unwrap();
    let (module, rest) = path.split_at(length);
    match rest.first().and_then(|name| sources[module].reexports.get(name)) {
        Some(origin) if origin[..] != path[..=length] => definition(sources, &[origin.as_slice(), &rest[1..]].concat()),
        _ => module.to_vec(),
    }
}

/// Which file uses which other.
fn uses(sources: &Sources) -> BTreeMap<&ModulePath, BTreeSet<ModulePath>> {
    let mut uses = BTreeMap::new();
    for (module, source) in sources {
        let targets = source.references.iter().map(|path| definition(sources, path));
        uses.insert(module, targets.filter(|target| target != module).collect());
    }
    uses
}

/// The arrows between what `group` makes of modules; `None` leaves one out.
fn arrows(sources: &Sources, group: impl Fn(&[String]) -> Option<String>) -> Arrows {
    let mut arrows = Arrows::new();
    for (module, targets) in uses(sources) {
        let Some(from) = group(module) else { continue };
        let targets = targets.iter().filter_map(|target| group(target)).filter(|to| *to != from).collect::<Vec<_>>();
        arrows.entry(from).or_default().extend(targets);
    }
    arrows
}

/// What lies on cycles or between them: what is left when modules that use none of the others, or that none of them uses,
/// are taken away again and again.
fn on_cycles(mut arrows: Arrows) -> Arrows {
    loop {
        let used: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        let before = arrows.len();
        arrows.retain(|module, targets| !targets.is_empty() && used.contains(module));
        let left: BTreeSet<String> = arrows.keys().cloned().collect();
        for targets in arrows.values_mut() {
            targets.retain(|target| left.contains(target));
        }
        if arrows.len() == before {
            return arrows;
        }
    }
}

/// The rows of a table of ARCHITECTURE.md: `| module | uses |`, between marks.
fn documented(mark: &str) -> Arrows {
    let text = read("ARCHITECTURE.md");
    let (begin, end) = (format!("<!-- {mark} -->"), format!("<!-- /{mark} -->"));
    let table = text.split_once(&begin).unwrap().1.split_once(&end).unwrap().0;
    let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut arrows = Arrows::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let [_, modules, used, _] = cells[..] else { panic!("not two cells: {row}") };
        for module in words(modules) {
            let present = arrows.insert(module.clone(), words(used).into_iter().collect());
            assert!(present.is_none(), "{module} has two rows");
        }
    }
    arrows
}

fn top_level(module: &[String]) -> Option<String> {
    module.first().cloned()
}

/// A folder of the mock; `mod` is what lies above all of them.
fn of_mock(module: &[String]) -> Option<String> {
    match module {
        [first] if first == "mock" => Some("mod".to_owned()),
        [first, second, ..] if first == "mock" => Some(second.clone()),
        _ => None,
    }
}

#[test]
fn modules_use_what_architecture_says_and_nothing_else() {
    let sources = sources();
    for (mark, group) in [("modules", top_level as fn(&[String]) -> Option<String>), ("mock", of_mock)] {
        let found = arrows(&sources, group);
        let documented = documented(mark);
        for module in found.keys().chain(documented.keys()) {
            assert_eq!(found.get(module), documented.get(module), "what {module} uses: in src, and in ARCHITECTURE.md");
        }
        assert_eq!(on_cycles(found), Arrows::new(), "modules on cycles");
    }
}

/// A folder's `mod.rs` and its files may know each other.
#[test]
fn files_have_no_cycles() {
    let sources = sources();
    let mut arrows = Arrows::new();
    for (module, targets) in uses(&sources) {
        let others = targets.iter().filter(|target| !target.starts_with(module) && !module.starts_with(target));
        arrows.insert(module.join("::"), others.map(|target| target.join("::")).collect());
    }
    assert_eq!(on_cycles(arrows), Arrows::new(), "files on cycles");
}

/// What reads the time, waits, draws or spawns outside of a namespace's world, and where the mock may do so all the same.
const OUTSIDE_OF_WORLDS: &[(&str, &[&str])] = &[
    // Leases and recovery concern other processes, and the back-off a failing database: all in real time.
    ("tokio::time::sleep(", &["turn/lease.rs", "turn/recovery.rs", "turn/backoff.rs", "turn/replay.rs"]),
    ("tokio::spawn(", &["turn/lease.rs"]),
    (".tasks.spawn(", &["turn/engine.rs", "resources/batches.rs", "app_server/turn.rs"]),
    ("Uuid::new_v4", &[]),
    ("Uuid::now_v7", &[]),
    ("rand::", &[]),
    ("real_now", &[]),
    ("Utc::now", &[]),
];

#[test]
fn the_mock_reads_time_and_draws_ids_in_its_world_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mock");
    let mut files = Vec::new();
    collect(&root, &mut files);
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for (call, allowed) in OUTSIDE_OF_WORLDS {
            for (position, _) in text.match_indices(call) {
                assert!(allowed.contains(&name.as_str()), "{name} calls {call}");
                let rest = &text[position + call.len()..];
                assert!(
                    !call.ends_with("spawn(") || rest.starts_with("world::inherit"),
                    "{name}: {call} leaves the world"
                );
            }
        }
    }
}
