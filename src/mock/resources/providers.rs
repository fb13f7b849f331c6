//! Providers of models that users bring themselves.

use std::sync::Arc;

use serde_json::json;

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        models::catalogue::PROVIDER_TYPES,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Provider, Record, Timestamp, claims},
        state::State,
        storage::documents::{claim, insert, update},
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, transaction},
};

const NOBODY_ASKED: &str = "No provider is asked: any key will do.";

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListProviders, list)
        .on(Operation::CreateProvider, create)
        .on(Operation::RetrieveProvider, retrieve)
        .on(Operation::ModifyProvider, modify)
        .on(Operation::DeleteProvider, delete)
        .state_only(Operation::RefreshProviderModels, refresh, "Its models are a fixed list; only the time is noted.")
        .fixed_shape(Operation::CheckProvider, check, NOBODY_ASKED)
        .fixed_shape(Operation::CheckExistingProvider, check_existing, NOBODY_ASKED)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let name = call.query.first("name");
    let provider_type = call.query.one_of("provider_type", PROVIDER_TYPES)?;
    let accepts = |provider: &Provider| {
        name.is_none_or(|name| provider.name == name)
            && provider_type.is_none_or(|wanted| provider.provider_type == wanted)
    };
    let documents = DocumentFilter::of_project(Provider::KIND, call.permit.project().as_str());
    let providers = Listing::of(documents).page(state.view(&call.permit), &page, accepts).await?;
    Ok(Reply::ok(providers.iter().map(|provider| provider.record.wire()).collect()))
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let provider = Provider::create(&Fields::of_body(&body)?)?;
    let project = call.permit.project().as_str();
    transaction!(state.store, tx => {
        if claim(tx, claims::PROVIDER, project, &provider.name, &provider.id).await?.is_some() {
            let name: String = provider.name.chars().take(100).collect();
            return Err(ApiError::conflict(format!("CONFLICT: A provider with the name '{name}' already exists")));
        }
        insert(tx, project, None, &provider).await?;
        Ok(())
    })?;
    Ok(Reply::ok(provider.wire()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let provider = state.view(&call.permit).get::<Provider>(call.param("provider_id")).await?;
    Ok(Reply::ok(provider.record.wire()))
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    Provider::check_change(&fields)?;
    let view = state.view(&call.permit);
    let provider_id = call.param("provider_id");
    let provider = transaction!(state.store, tx => {
        let mut provider = view.get_for_update::<Provider>(tx, provider_id).await?.record;
        provider.change(&fields)?;
        update(tx, &provider).await?;
        Ok(provider)
    })?;
    Ok(Reply::ok(provider.wire()))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let provider_id = call.param("provider_id");
    let provider = transaction!(state.store, tx => {
        let provider = view.get_for_update::<Provider>(tx, provider_id).await?.record;
        tx.delete_document(Provider::KIND, &provider.id).await?;
        Ok(provider)
    })?;
    Ok(Reply::ok(json!({"message": format!("Provider id={} successfully deleted", provider.id)})))
}

async fn refresh(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let provider_id = call.param("provider_id");
    let provider = transaction!(state.store, tx => {
        let mut provider = view.get_for_update::<Provider>(tx, provider_id).await?.record;
        provider.last_synced = Timestamp::now();
        update(tx, &provider).await?;
        Ok(provider)
    })?;
    Ok(Reply::ok(provider.wire()))
}

async fn check(_: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let provider_type = Provider::check_candidate(&Fields::of_body(&body)?)?;
    Ok(Reply::ok(valid(provider_type)))
}

async fn check_existing(state: Arc<State>, call: Call) -> HandlerResult {
    let provider = state.view(&call.permit).get::<Provider>(call.param("provider_id")).await?;
    Ok(Reply::ok(valid(&provider.record.provider_type)))
}

fn valid(provider_type: &str) -> serde_json::Value {
    json!({"message": format!("Valid api key for provider_type={provider_type}")})
}
