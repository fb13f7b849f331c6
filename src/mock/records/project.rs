//! Projects of the hosted service. Documents carry the name of their project; this record is only what lists show.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Record;
use crate::model::Project;

/// An entry in the list of projects. Its id is its slug, so that both of the SDKs' headers name the same project.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct ProjectEntry {
    pub(in crate::mock) name: String,
    pub(in crate::mock) slug: String,
    pub(in crate::mock) id: String,
}

impl Record for ProjectEntry {
    const KIND: &'static str = "project";
    const NAME: &'static str = "Project";

    fn id(&self) -> &str {
        &self.id
    }
}

impl ProjectEntry {
    /// Creates the entry of a project.
    pub(in crate::mock) fn of(project: &Project, name: &str) -> Self {
        Self { name: name.to_owned(), slug: project.to_string(), id: project.to_string() }
    }
}

/// A project's name as it appears in URLs: lower-case ASCII letters, digits and single hyphens. It must not be the id
/// of any other document, because the children and links of a document are found by its id alone, whatever its kind.
pub(in crate::mock) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for word in name.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(&word.to_ascii_lowercase());
    }
    match slug.as_str() {
        "" => "project".into(),
        id if ends_in_uuid(id) => format!("project-{id}"),
        _ => slug,
    }
}

fn ends_in_uuid(slug: &str) -> bool {
    const LENGTH: usize = 36;
    slug.len().checked_sub(LENGTH).and_then(|start| slug.get(start..)).is_some_and(|end| Uuid::try_parse(end).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_can_stand_in_a_url_and_name_a_project() {
        for (name, expected) in [
            ("My Project", "my-project"),
            ("  a--b__c ", "a-b-c"),
            ("Größe 2", "gr-e-2"),
            ("日本", "project"),
            ("agent-123e4567-e89b-42d3-8456-426614174000", "project-agent-123e4567-e89b-42d3-8456-426614174000"),
            ("123E4567-e89b-42d3-8456-426614174000", "project-123e4567-e89b-42d3-8456-426614174000"),
        ] {
            assert_eq!(slug(name), expected);
            assert!(slug(name).parse::<Project>().is_ok());
        }
    }
}
