//! The pages as a reader meets them: links lead somewhere, and the README stays short.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::read;

/// The folders with pages.
const PAGES: [&str; 10] = [
    "",
    ".github",
    ".github/ISSUE_TEMPLATE",
    "action",
    "docs",
    "examples/chat",
    "examples/app-server-chat",
    "packages/npm",
    "packages/python",
    "tests/data",
];

/// Every page that people read, by its path in the repository.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for folder in PAGES {
        for entry in Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).read_dir().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                pages.push(Path::new(folder).join(name).into_os_string().into_string().unwrap());
            }
        }
    }
    pages
}

/// A page's lines outside of its code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Where a page's links lead, those to other sites left out.
fn links(page: &str) -> Vec<&str> {
    let links = prose(page).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    links.filter(|link| !link.contains("://")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| -> String {
        let kept = heading.chars().filter(|sign| sign.is_alphanumeric() || " -_".contains(*sign));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// A link's path in the repository.
fn resolved(page: &str, link: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in Path::new(page).parent().unwrap().join(link).components() {
        match part {
            Component::ParentDir => assert!(resolved.pop(), "{page} links to {link}, outside of the repository"),
            part => resolved.push(part),
        }
    }
    resolved
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { PathBuf::from(&page) } else { resolved(&page, path) };
            let is_there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists();
            if !is_there || !(anchor.is_empty() || anchors(&read(target.to_str().unwrap())).contains(anchor)) {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "these links lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines < 200, "README.md has {lines} lines; move what is not for everybody to a page in docs/");
    let linked: BTreeSet<PathBuf> =
        links(&readme).iter().map(|link| resolved("README.md", link.split('#').next().unwrap())).collect();
    let missing: Vec<String> =
        pages().into_iter().filter(|page| page.starts_with("docs/") && !linked.contains(Path::new(page))).collect();
    assert!(missing.is_empty(), "README.md has no link to {missing:?}");
}

#[test]
fn the_oldest_rust_is_named_alike_everywhere() {
    let requirement = concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"), " or newer");
    for page in ["README.md", "CONTRIBUTING.md"] {
        assert!(read(page).contains(requirement), "{page} does not say {requirement}, as Cargo.toml does");
    }
}

/// The paths in the first cells of the page's tables are those of the sources' routers.
#[test]
fn the_page_about_the_control_api_has_every_path_of_it() {
    let mut routes = BTreeSet::new();
    for entry in Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control").read_dir().unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        let paths = source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1).map(str::to_owned));
        // Those of the console are no calls.
        routes.extend(paths.filter(|path| path != "/" && !path.starts_with("/_gatelet")));
    }
    let page = read("docs/control-api.md");
    let calls = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()?.split_once(' '));
    let documented: BTreeSet<String> = calls.map(|(_, path)| path.to_owned()).collect();
    assert_eq!(documented, routes);
}
