//! Agents made from templates, and what a template looks like as a snapshot.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{find, missing, name, project, version};
use crate::{
    access::{Call, Operation},
    entropy,
    error::ApiError,
    mock::{
        agents::file::{self, History, Import},
        budget::json_length,
        records::{Deployment, Identity, Record, Template},
        resources::{HandlerResult, Routes},
        state::State,
        storage::{
            documents::{insert, update},
            project_scope::ProjectScope,
        },
        turn::Incoming,
        validation::body::{Fields, TextMap},
    },
    reply::Reply,
    store::transaction,
};

const UNDOCUMENTED: &str = "What a snapshot looks like as a request is not documented.";
const VERSION_NOTED: &str = "Only the version is noted: the agents stay as they are.";

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::CreateAgentsFromTemplate, create)
        .on(Operation::CreateAgentsFromTemplateNoProject, create)
        .on(Operation::GetTemplateSnapshot, snapshot)
        .state_only(Operation::MigrateDeployment, migrate, VERSION_NOTED)
        .not_mocked([Operation::SetCurrentTemplateFromSnapshot], UNDOCUMENTED)
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let empty = json!({});
    let fields = Fields::of_body(if body.is_null() { &empty } else { &body })?;
    let tags: Option<Vec<String>> = fields.optional("tags")?;
    let variables: Option<TextMap> = fields.optional("memory_variables")?;
    let secrets: Option<TextMap> = fields.optional("tool_variables")?;
    let history = Incoming::read_initial(&fields)?.map_or(History::Usual, History::Given);
    let identity_ids = fields.ids("identity_ids", Identity::KIND)?.unwrap_or_default();

    let view = state.view(&call.permit);
    let project = project(&call)?;
    let (called, word) = name(&call);
    let template = find(view, called, &project).await?.record;
    let version = version(view, &template, word).await?;
    let file = version.as_ref().map_or(&template.current, |version| &version.file);
    let budget = state.budget(file.len() + json_length(&body), 1);
    let file: Value = serde_json::from_str(file).map_err(ApiError::internal)?;

    let deployment_id = entropy::uuid();
    let mut more = Map::from_iter([("base_template_id".to_owned(), json!(template.id))]);
    more.insert("template_id".into(), json!(version.as_ref().map_or(&template.id, |version| &version.id)));
    more.extend(tags.map(|tags| ("tags".to_owned(), json!(tags))));
    let map = |TextMap(entries): TextMap| entries.into_iter().map(|(key, value)| (key, value.into())).collect();
    more.extend(variables.map(|variables| ("memory_variables".to_owned(), Value::Object(map(variables)))));
    let import = Import {
        name: fields.optional("agent_name")?,
        overrides_tools: false,
        secrets: secrets.map(|TextMap(entries)| entries).unwrap_or_default(),
        fields: more,
        identity_ids,
        history,
        deployment_id: Some(deployment_id.clone()),
        ..Import::default()
    };
    let scope = ProjectScope { shown: Some(project.to_string()), project };
    let (deployment, group_ids) = transaction!(state.store, tx => {
        view.get_for_update::<Template>(tx, &template.id).await?;
        let made = file::import(tx, view, &scope, &file, &import, &budget).await?;
        let deployment = Deployment {
            id: deployment_id.clone(),
            template_id: template.id.clone(),
            version_id: version.as_ref().map(|version| version.id.clone()),
            agent_ids: made.agent_ids,
        };
        insert(tx, scope.project.as_str(), Some(&template.id), &deployment).await?;
        Ok((deployment, made.group_ids))
    })?;
    let group_id = group_ids.first();
    let answer = json!({"agent_ids": deployment.agent_ids, "group_id": group_id, "deployment_id": deployment.id});
    Ok(Reply::Json(StatusCode::CREATED, answer))
}

async fn migrate(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let word: &str = fields.required("version")?;
    for flag in ["preserve_tool_variables", "preserve_core_memories", "preserve_sources"] {
        fields.optional::<bool>(flag)?;
    }
    fields.optional::<TextMap>("memory_variables")?;
    let view = state.view(&call.permit);
    let template = find(view, name(&call).0, &project(&call)?).await?.record;
    let version = version(view, &template, Some(word)).await?;
    let id = call.param("deployment_id");
    transaction!(state.store, tx => {
        let mut deployment = view.get_for_update::<Deployment>(tx, id).await?.record;
        if deployment.template_id != template.id {
            return Err(missing("Deployment", id));
        }
        deployment.version_id = version.as_ref().map(|version| version.id.clone());
        update(tx, &deployment).await?;
        Ok(())
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

/// The agents and blocks of a version in the hosted service's own words.
async fn snapshot(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let (called, word) = name(&call);
    let template = find(view, called, &project(&call)?).await?.record;
    let version = version(view, &template, word).await?;
    let file = version.as_ref().map_or(&template.current, |version| &version.file);
    let file: Value = serde_json::from_str(file).map_err(ApiError::internal)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (agents, blocks) = (list(&file["agents"]), list(&file["blocks"]));
    let relationships: Vec<Value> = agents
        .iter()
        .flat_map(|agent| {
            list(&agent["block_ids"])
                .into_iter()
                .map(|block| json!({"agentEntityId": agent["id"], "blockEntityId": block}))
                .collect::<Vec<_>>()
        })
        .collect();
    Ok(Reply::ok(json!({
        "agents": agents.iter().map(snapshot_agent).collect::<Vec<_>>(),
        "blocks": blocks.iter().map(snapshot_block).collect::<Vec<_>>(),
        "relationships": relationships,
        "configuration": {},
        "type": "classic",
        "version": version.map_or_else(|| "current".to_owned(), |version| version.number.to_string()),
    })))
}

fn snapshot_agent(agent: &Value) -> Value {
    let llm = &agent["llm_config"];
    let handle = llm["handle"].as_str().or(agent["model"].as_str()).unwrap_or_default();
    let agent_type = agent["agent_type"].as_str().unwrap_or("letta_v1_agent");
    let secrets = agent["tool_exec_environment_variables"].as_object().cloned().unwrap_or_default();
    let secrets: Vec<Value> =
        secrets.keys().map(|key| json!({"key": key, "defaultValue": null, "type": "string"})).collect();
    json!({
        "model": handle,
        "systemPrompt": agent["system"].as_str().unwrap_or_default(),
        "toolIds": agent["tool_ids"],
        "sourceIds": agent["source_ids"],
        "memoryVariables": {"version": "1", "data": []},
        "toolVariables": {"version": "1", "data": secrets},
        "tags": agent["tags"],
        "identityIds": agent["identity_ids"],
        "toolRules": agent["tool_rules"],
        "agentType": agent_type,
        "properties": {
            "enable_reasoner": llm["enable_reasoner"],
            "put_inner_thoughts_in_kwargs": llm["put_inner_thoughts_in_kwargs"],
            "context_window_limit": llm["context_window"],
            "max_tokens": llm["max_tokens"],
            "max_reasoning_tokens": llm["max_reasoning_tokens"],
            "max_files_open": agent["max_files_open"],
            "message_buffer_autoclear": agent["message_buffer_autoclear"],
            "verbosity_level": llm["verbosity"],
            "reasoning_effort": llm["reasoning_effort"],
            "per_file_view_window_char_limit": agent["per_file_view_window_char_limit"],
            "parallel_tool_calls": llm["parallel_tool_calls"],
            "temperature": llm["temperature"],
        },
        "entityId": agent["id"],
        "name": agent["name"].as_str().unwrap_or_default(),
    })
}

fn snapshot_block(block: &Value) -> Value {
    json!({
        "entityId": block["id"],
        "label": block["label"],
        "value": block["value"].as_str().unwrap_or_default(),
        "limit": block["limit"].as_i64().unwrap_or(100_000),
        "description": block["description"].as_str().unwrap_or_default(),
        "preserveOnMigration": block["preserve_on_migration"],
        "readOnly": block["read_only"].as_bool().unwrap_or(false),
    })
}
