//! Models: a fixed list, so that clients that let a person choose have something to show, and the same once more for
//! every provider that a user brings.

pub(super) mod handles;

use std::sync::Arc;

use serde_json::{Value, json};

use self::handles::providers;
use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        models::catalogue::{self, PROVIDER_TYPES},
        records::{Passage, Provider, Record},
        state::State,
    },
    reply::Reply,
    request::input::Query,
};

const FIXED_LIST: &str =
    "A fixed list, and the same once more for each provider that was added; agents may have models beside it.";

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .state_only(Operation::ListModels, list_models, FIXED_LIST)
        .state_only(Operation::ListEmbeddingModels, list_embedding_models, FIXED_LIST)
        .state_only(Operation::ListEmbeddings, list_embedding_models, FIXED_LIST)
        .on(Operation::GetTotalStorageSize, storage_size)
}

async fn list_models(state: Arc<State>, call: Call) -> HandlerResult {
    let provider_type = call.query.one_of("provider_type", PROVIDER_TYPES)?;
    let provider_name = call.query.first("provider_name");
    let categories = categories(&call.query)?;
    let wanted = |model: &Value| {
        provider_type.is_none_or(|wanted| model["provider_type"] == wanted)
            && provider_name.is_none_or(|wanted| model["provider_name"] == wanted)
            && (categories.is_empty() || categories.iter().any(|wanted| model["provider_category"] == *wanted))
    };
    let providers = providers(state.view(&call.permit), call.permit.project().as_str()).await?;
    let brought = providers.iter().flat_map(|provider| catalogue::models_of(&provider.provider_type, &provider.name));
    Ok(Reply::ok(catalogue::models().chain(brought).filter(wanted).collect()))
}

async fn list_embedding_models(state: Arc<State>, call: Call) -> HandlerResult {
    let providers = providers(state.view(&call.permit), call.permit.project().as_str()).await?;
    let of =
        |provider: &Provider| catalogue::embeddings_of(&provider.provider_type, &provider.name).collect::<Vec<_>>();
    Ok(Reply::ok(catalogue::embeddings().chain(providers.iter().flat_map(of)).collect()))
}

/// How much room the vectors of all passages take.
async fn storage_size(state: Arc<State>, call: Call) -> HandlerResult {
    /// Letta pads every vector to 4096 numbers of four bytes.
    const BYTES_PER_PASSAGE: f64 = 16_384.0;
    const UNITS: [(&str, i32); 5] = [("B", 0), ("KB", 1), ("MB", 2), ("GB", 3), ("TB", 4)];
    let named = call.headers.get("storage-unit").and_then(|unit| unit.to_str().ok()).unwrap_or("GB");
    let Some((_, power)) = UNITS.iter().find(|(unit, _)| named.eq_ignore_ascii_case(unit)) else {
        let problem = "Input should be 'B', 'KB', 'MB', 'GB' or 'TB'";
        return Err(ApiError::validation("literal_error", &["header", "storage-unit"], problem, &named.into()));
    };
    let count = state.store.count_in_project(Passage::KIND, call.permit.project().as_str()).await?;
    #[expect(clippy::cast_precision_loss, reason = "nobody has so many passages")]
    let bytes = count as f64 * BYTES_PER_PASSAGE;
    Ok(Reply::ok(json!(bytes / 1024_f64.powi(*power))))
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
