//! Projects of the hosted service. What is made in one carries its name; this is only what lists show.

use serde::{Deserialize, Serialize};

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
    /// The entry of a project.
    pub(in crate::mock) fn of(project: &Project, name: &str) -> Self {
        Self { name: name.to_owned(), slug: project.to_string(), id: project.to_string() }
    }
}

/// What a project's name is in a URL: small ASCII letters, digits and single hyphens.
pub(in crate::mock) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for word in name.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(&word.to_ascii_lowercase());
    }
    if slug.is_empty() { "project".into() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_can_stand_in_a_url_and_name_a_project() {
        for (name, expected) in
            [("My Project", "my-project"), ("  a--b__c ", "a-b-c"), ("Größe 2", "gr-e-2"), ("日本", "project")]
        {
            assert_eq!(slug(name), expected);
            assert!(slug(name).parse::<Project>().is_ok());
        }
    }
}
