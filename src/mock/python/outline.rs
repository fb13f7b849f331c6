//! The definitions and imports of a source, as Letta sees them: anywhere in it, including within functions and classes.

use tree_sitter::{Node, Tree};

use super::text;

/// The parts of a source that determine a signature.
#[derive(Default)]
pub(super) struct Outline<'t> {
    /// The function of the tool: the last of the most deeply nested ones.
    pub(super) function: Option<Node<'t>>,
    /// The classes, least nested first.
    pub(super) classes: Vec<Node<'t>>,
    /// Whether pydantic's `BaseModel` is imported.
    pub(super) has_base_model: bool,
    /// Whether pydantic's `Field` is imported.
    pub(super) has_field: bool,
}

impl<'t> Outline<'t> {
    pub(super) fn of(tree: &'t Tree, source: &str) -> Self {
        let mut outline = Self::default();
        let (mut deepest, mut classes) = (0, Vec::new());
        let mut waiting = vec![(tree.root_node(), 0_usize)];
        while let Some((node, depth)) = waiting.pop() {
            match node.kind() {
                // Letta ignores `async def`.
                "function_definition"
                    if node.child(0).is_some_and(|first| first.kind() != "async") && depth >= deepest =>
                {
                    deepest = depth;
                    outline.function = Some(node);
                }
                "class_definition" => classes.push((depth, node)),
                "import_from_statement" => outline.import(node, source),
                _ => {}
            }
            let start = waiting.len();
            let mut alternatives = 0;
            let mut cursor = node.walk();
            for child in node.named_children(&mut cursor) {
                // To Python, an `elif` is nested in the branch before it.
                alternatives += usize::from(child.kind() == "elif_clause");
                let within = if matches!(child.kind(), "elif_clause" | "else_clause") { alternatives } else { 0 };
                if let Some(levels) = levels(child) {
                    waiting.push((child, depth + levels + within));
                }
            }
            if let Some(pushed) = waiting.get_mut(start..) {
                pushed.reverse();
            }
        }
        classes.sort_by_key(|(depth, _)| *depth);
        outline.classes = classes.into_iter().map(|(_, class)| class).collect();
        outline
    }

    fn import(&mut self, statement: Node<'_>, source: &str) {
        let module = statement.child_by_field_name("module_name");
        if module.map(|module| text(module, source)) != Some("pydantic") {
            return;
        }
        let mut cursor = statement.walk();
        for imported in statement.children_by_field_name("name", &mut cursor) {
            match text(imported.child_by_field_name("name").unwrap_or(imported), source) {
                "BaseModel" => self.has_base_model = true,
                "Field" => self.has_field = true,
                _ => {}
            }
        }
    }
}

/// How many levels deeper a part of a statement is than the statement, as Python counts them; `None` if it contains no
/// statements.
fn levels(node: Node<'_>) -> Option<usize> {
    match node.kind() {
        "block" | "decorated_definition" | "elif_clause" | "else_clause" | "finally_clause" => Some(0),
        "function_definition"
        | "class_definition"
        | "if_statement"
        | "for_statement"
        | "while_statement"
        | "with_statement"
        | "try_statement"
        | "match_statement"
        | "except_clause"
        | "except_group_clause"
        | "case_clause"
        | "import_from_statement" => Some(1),
        _ => None,
    }
}
