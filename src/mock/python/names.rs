//! The names that a source defines and imports, so that none is mistaken for Python's own.

use std::collections::HashSet;

use tree_sitter::Node;

use super::{children, text};

/// The names that the statements of one block bind.
#[derive(Default)]
pub(super) struct Names<'s> {
    defined: HashSet<&'s str>,
    /// Imported `module` or `module.name`, unless renamed.
    imported: HashSet<String>,
}

impl<'s> Names<'s> {
    /// Reads a block; `None` if it has a wildcard import.
    pub(super) fn of(block: Node<'_>, source: &'s str) -> Option<Self> {
        let mut names = Self::default();
        for statement in children(block) {
            match statement.kind() {
                "import_statement" => names.import(&children(statement), None, source),
                "import_from_statement" => {
                    let module = statement.child_by_field_name("module_name").map(|module| text(module, source));
                    let imported = children(statement);
                    if imported.iter().any(|part| part.kind() == "wildcard_import") {
                        return None;
                    }
                    names.import(imported.get(1..).unwrap_or_default(), module, source);
                }
                "function_definition" | "class_definition" => {
                    names.define(statement.child_by_field_name("name"), source);
                }
                "decorated_definition" => {
                    let definition = statement.child_by_field_name("definition");
                    names.define(definition.and_then(|definition| definition.child_by_field_name("name")), source);
                }
                "expression_statement" => {
                    for assignment in children(statement).iter().filter(|part| part.kind() == "assignment") {
                        names.define(assignment.child_by_field_name("left"), source);
                    }
                }
                _ => {}
            }
        }
        Some(names)
    }

    fn define(&mut self, name: Option<Node<'_>>, source: &'s str) {
        self.defined.extend(name.map(|name| text(name, source)));
    }

    fn import(&mut self, parts: &[Node<'_>], module: Option<&str>, source: &'s str) {
        for part in parts {
            if part.kind() == "aliased_import" {
                self.define(part.child_by_field_name("alias"), source);
                continue;
            }
            let name = text(*part, source);
            match module {
                Some(module) => {
                    self.defined.insert(name);
                    self.imported.insert(format!("{module}.{name}"));
                }
                None => {
                    self.imported.insert(name.to_owned());
                }
            }
        }
    }

    /// Adds the names of an inner block.
    pub(super) fn with(mut self, inner: Self) -> Self {
        self.defined.extend(inner.defined);
        self.imported.extend(inner.imported);
        self
    }

    /// Whether a name is redefined.
    pub(super) fn defines(&self, name: &str) -> bool {
        self.defined.contains(name)
    }

    /// Whether a module, or `module.name`, is imported and not redefined.
    pub(super) fn imports(&self, path: &str) -> bool {
        self.imported.contains(path) && (path.contains('.') || !self.defined.contains(path))
    }
}
