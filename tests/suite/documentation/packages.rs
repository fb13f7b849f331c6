//! The packages, and the pages that name a version, are of the version of the program.

use serde_json::Value;

use super::read;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn every_package_has_the_version_of_the_program() {
    let python: toml::Table = read("packages/python/pyproject.toml").parse().unwrap();
    assert_eq!(python["project"]["version"].as_str(), Some(VERSION), "packages/python/pyproject.toml");

    let npm: Value = serde_json::from_str(&read("packages/npm/package.json")).unwrap();
    assert_eq!(npm["version"], VERSION, "packages/npm/package.json");
    let platforms = npm["optionalDependencies"].as_object().unwrap();
    assert!(!platforms.is_empty());
    for (name, version) in platforms {
        assert_eq!(version, VERSION, "packages/npm/package.json: {name}");
    }
}

/// A page that names a version of the image, as an example, names this one.
#[test]
fn every_example_names_the_version_of_the_program() {
    let mut examples = Vec::new();
    for page in ["action/README.md", "docs/testing.md", "packages/npm/README.md", "packages/python/README.md"] {
        let text = read(page);
        let tags =
            text.split("ghcr.io/gatelet/gatelet:").skip(1).filter_map(|rest| rest.split(['"', '\n', '`', ' ']).next());
        examples.extend(tags.map(str::to_owned));
    }
    assert!(!examples.is_empty());
    assert!(examples.iter().all(|tag| tag == VERSION), "{examples:?} should be {VERSION}");
}
