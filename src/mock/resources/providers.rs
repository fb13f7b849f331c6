//! Model providers that users add.

use std::sync::Arc;

use serde_json::json;

use super::{
    by_id,
    lists::in_project,
    names::take_name,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    mock::{
        models::catalogue::PROVIDER_TYPES,
        pagination::cursor::{Defaults, Page},
        records::{Provider, Timestamp, claims},
        state::State,
        storage::insert,
        validation::body::Fields,
    },
    reply::Reply,
    store::transaction,
};

const NOT_CONTACTED: &str = "No provider is contacted, so every key is valid.";

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListProviders, list)
        .on(Operation::CreateProvider, create)
        .on(Operation::RetrieveProvider, retrieve)
        .on(Operation::ModifyProvider, modify)
        .on(Operation::DeleteProvider, delete)
        .state_only(
            Operation::RefreshProviderModels,
            refresh,
            "The models are a fixed list; only the time of the refresh is stored.",
        )
        .fixed_shape(Operation::CheckProvider, check, NOT_CONTACTED)
        .fixed_shape(Operation::CheckExistingProvider, check_existing, NOT_CONTACTED)
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
    let providers = in_project(&call).page(state.view(&call.permit), &page, accepts).await?;
    Ok(Reply::ok(providers.iter().map(|provider| provider.record.wire()).collect()))
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let provider = Provider::create(&Fields::of_body(&body)?)?;
    let project = call.permit.project().as_str();
    transaction!(state.store, tx => {
        take_name(tx, claims::PROVIDER, project, &provider.name, &provider, "A provider").await?;
        insert(tx, project, None, &provider).await
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
    let provider = by_id::change(state.view(&call.permit), call.param("provider_id"), |provider: &mut Provider| {
        provider.change(&fields)
    })
    .await?;
    Ok(Reply::ok(provider.wire()))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let provider = by_id::delete::<Provider>(state.view(&call.permit), call.param("provider_id")).await?;
    Ok(Reply::ok(json!({"message": format!("Provider id={} successfully deleted", provider.id)})))
}

async fn refresh(state: Arc<State>, call: Call) -> HandlerResult {
    let provider = by_id::change(state.view(&call.permit), call.param("provider_id"), |provider: &mut Provider| {
        provider.last_synced = Timestamp::now();
        Ok(())
    })
    .await?;
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
