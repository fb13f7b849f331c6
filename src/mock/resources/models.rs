//! Models: a fixed list, so that clients that let a person choose have something to show.

use std::sync::Arc;

use serde_json::Value;

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Query, Reply},
    error::ApiError,
    mock::{
        catalogue::{self, PROVIDER_TYPES},
        state::State,
    },
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListModels, list_models)
        .on(Operation::ListEmbeddingModels, list_embedding_models)
        .on(Operation::ListEmbeddings, list_embedding_models)
}

async fn list_models(_: Arc<State>, call: Call) -> Answer {
    let provider_type = call.query.one_of("provider_type", PROVIDER_TYPES)?;
    let provider_name = call.query.first("provider_name");
    let categories = categories(&call.query)?;
    let wanted = |model: &Value| {
        provider_type.is_none_or(|wanted| model["provider_type"] == wanted)
            && provider_name.is_none_or(|wanted| model["provider_name"] == wanted)
            && (categories.is_empty() || categories.contains(&"base"))
    };
    Ok(Reply::ok(catalogue::models().filter(wanted).collect()))
}

async fn list_embedding_models(_: Arc<State>, _: Call) -> Answer {
    Ok(Reply::ok(catalogue::embeddings().collect()))
}

fn categories(query: &Query) -> Result<Vec<&str>, ApiError> {
    let name = "provider_category";
    let named: Vec<&str> = query.all(name).collect();
    match named.iter().find(|word| !["base", "byok"].contains(word)) {
        None => Ok(named),
        Some(word) => {
            let problem = "Input should be 'base' or 'byok'";
            Err(ApiError::validation("enum", &["query", name], problem, &(*word).into()))
        }
    }
}
