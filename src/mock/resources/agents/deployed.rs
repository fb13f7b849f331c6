//! The hosted service's search for agents: conditions that all have to hold.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};

use crate::{
    access::{Call, Operation, Written},
    error::{ApiError, Code},
    mock::{
        agents::memory,
        pagination::{cursor::Page, list::Listing},
        records::{Agent, Record, Template, claims, include::Include, links},
        resources::{HandlerResult, Routes, templates},
        state::State,
        storage::documents::{View, holder},
        validation::body::{Fields, Location, Read},
    },
    model::Project,
    reply::Reply,
    store::DocumentFilter,
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::SearchDeployedAgents, search).on(Operation::CountDeployedAgents, count)
}

const DEFAULT_LIMIT: usize = 50;

/// What an agent has to be.
enum Condition {
    Name(String),
    NameContains(String),
    Tags(Vec<String>),
    Id(String),
    /// One of these, such as the agents of an identity.
    OneOf(HashSet<String>),
    /// Made from this template.
    Template(Option<String>),
    /// Made from this version of a template.
    Version(Option<String>),
}

impl Condition {
    async fn read(view: View<'_>, project: &Project, fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.required::<&str>("field")?;
        let field = fields
            .one_of("field", &["version", "name", "tags", "identity", "templateName", "agentId"])?
            .unwrap_or_default();
        let operators: &[&str] = match field {
            "name" => &["eq", "contains"],
            "tags" => &["contains"],
            _ => &["eq"],
        };
        let operator = fields.one_of("operator", operators)?;
        Ok(match field {
            "tags" => Self::Tags(fields.required("value")?),
            "name" if operator == Some("contains") => {
                Self::NameContains(fields.required::<&str>("value")?.to_lowercase())
            }
            "name" => Self::Name(fields.required("value")?),
            "agentId" => Self::Id(fields.required("value")?),
            "identity" => Self::OneOf(of_identity(view, project, fields.required("value")?).await?),
            "templateName" => {
                let name: &str = fields.required("value")?;
                Self::Template(holder(view.store(), claims::TEMPLATE, project.as_str(), name).await?)
            }
            _ => Self::Version(version_id(view, project, fields.required("value")?).await?),
        })
    }

    fn holds(&self, agent: &Agent) -> bool {
        match self {
            Self::Name(name) => agent.name == *name,
            Self::NameContains(text) => agent.name.to_lowercase().contains(text.as_str()),
            Self::Tags(tags) => tags.iter().all(|tag| agent.tags.contains(tag)),
            Self::Id(id) => agent.id == *id,
            Self::OneOf(ids) => ids.contains(&agent.id),
            Self::Template(id) => id.is_some() && agent.base_template_id == *id,
            Self::Version(id) => id.is_some() && agent.template_id == *id,
        }
    }
}

/// The agents of an identity, which is named by its id or its key.
async fn of_identity(view: View<'_>, project: &Project, named: &str) -> Result<HashSet<String>, ApiError> {
    let by_key = holder(view.store(), claims::IDENTIFIER_KEY, project.as_str(), named).await?;
    let id = by_key.unwrap_or_else(|| named.to_owned());
    let id = if crate::mock::storage::documents::is_plain(&id) { id } else { String::new() };
    Ok(view.store().links_to(links::AGENT_IDENTITY, &[&id]).await?.into_iter().map(|(_, agent)| agent).collect())
}

/// The id of the version that `name:version` names; none: there is none.
async fn version_id(view: View<'_>, project: &Project, named: &str) -> Result<Option<String>, ApiError> {
    let Some((name, word)) = named.rsplit_once(':') else { return Ok(None) };
    let Some(id) = holder(view.store(), claims::TEMPLATE, project.as_str(), name).await? else { return Ok(None) };
    let Some(template) = view.find::<Template>(&id).await? else { return Ok(None) };
    match templates::version(view, &template.record, Some(word)).await {
        Ok(version) => Ok(version.map(|version| version.id)),
        Err(error) if error.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn search(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let empty = json!({});
    let fields = Fields::of_body(if body.is_null() { &empty } else { &body })?;
    fields.one_of("combinator", &["AND"])?;
    let limit = fields.at_least("limit", 0)?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT);
    let sort_by = fields.one_of("sortBy", &["created_at", "updated_at", "last_run_completion"])?;
    let newest_first = !fields.optional::<bool>("ascending")?.unwrap_or(false);
    let after: Option<&str> = fields.optional("after")?;
    let items = fields.optional::<Vec<Fields<'_>>>("search")?.unwrap_or_default();
    let view = state.view(&call.permit);
    let project = named_project(&call, fields.optional("project_id")?)?;
    let conditions = conditions(view, &project, &items).await?;
    // One more than is shown tells whether there is more.
    let page = Page { before: None, after, limit: limit.saturating_add(1), newest_first };
    let listing = Listing::<Agent>::of(DocumentFilter::of_project(Agent::KIND, project.as_str()));
    let accepts = |agent: &Agent| agent.hidden != Some(true) && conditions.iter().all(|one| one.holds(agent));
    let mut agents = match sort_by {
        Some("updated_at") => listing.sorted_page(view, &page, accepts, |agent| agent.updated_at).await?,
        Some("last_run_completion") => {
            listing.sorted_page(view, &page, accepts, |agent| agent.last_run_completion).await?
        }
        _ => listing.page(view, &page, accepts).await?,
    };
    let has_more = agents.len() > limit;
    agents.truncate(limit);
    let next = agents.last().filter(|_| has_more).map(|agent| agent.record.id.clone());
    let mut written = Written::default();
    written.push(r#"{"agents":"#);
    written.append(&memory::show(view, &agents, Include::EVERYTHING).await?);
    written.push(&format!(r#","nextCursor":{}}}"#, json!(next)));
    Ok(Reply::written(written))
}

async fn count(state: Arc<State>, call: Call) -> HandlerResult {
    call.query.one_of("combinator", &["AND"])?;
    let location = Location::query().at("search");
    let values: Vec<Value> = call
        .query
        .all("search")
        .map(|text| {
            let value = serde_json::from_str(text);
            value.map_err(|_| location.refuse("json_invalid", "Input should be JSON", &text.into()))
        })
        .collect::<Result<_, _>>()?;
    // A list may come as one parameter, or each of its items as one.
    let values: Vec<Value> = values
        .into_iter()
        .flat_map(|value| match value {
            Value::Array(items) => items,
            item => vec![item],
        })
        .collect();
    let items: Vec<Fields<'_>> = values.iter().map(|value| Fields::read(value, &location)).collect::<Result<_, _>>()?;
    let view = state.view(&call.permit);
    let project = named_project(&call, call.query.first("project_id"))?;
    let conditions = conditions(view, &project, &items).await?;
    let listing = Listing::<Agent>::of(DocumentFilter::of_project(Agent::KIND, project.as_str()));
    let accepts = |agent: &Agent| agent.hidden != Some(true) && conditions.iter().all(|one| one.holds(agent));
    Ok(Reply::ok(json!({"count": listing.count(view, accepts).await?})))
}

/// The project that a request names, or acts in; the view shows nothing of one that it may not see.
fn named_project(call: &Call, named: Option<&str>) -> Result<Project, ApiError> {
    let Some(named) = named else { return Ok(call.permit.project().clone()) };
    named.parse().map_err(|_| templates::missing("Project", named))
}

async fn conditions(view: View<'_>, project: &Project, items: &[Fields<'_>]) -> Result<Vec<Condition>, ApiError> {
    let mut conditions = Vec::new();
    for item in items {
        conditions.push(Condition::read(view, project, item).await?);
    }
    Ok(conditions)
}
