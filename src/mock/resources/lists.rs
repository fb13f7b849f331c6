//! What handlers of lists share.

use crate::{
    access::Call,
    error::ApiError,
    mock::{
        pagination::{cursor::Page, list::Listing},
        records::Record,
        storage::{Stored, View},
    },
    store::DocumentFilter,
};

/// The records of a kind in the project that a request acts in.
pub(super) fn in_project<T: Record>(call: &Call) -> Listing<'_, T> {
    Listing::of(DocumentFilter::of_project(T::KIND, call.permit.project().as_str()))
}

/// A page of a list, and whether the list continues in the direction in which the page is read.
pub(super) async fn page_and_more<T: Record>(
    listing: Listing<'_, T>,
    view: View<'_>,
    page: &Page<'_>,
    accepts: impl Fn(&T) -> bool,
) -> Result<(Vec<Stored<T>>, bool), ApiError> {
    let one_more = Page { limit: page.limit.saturating_add(1), ..page.clone() };
    let mut records = listing.page(view, &one_more, accepts).await?;
    let has_more = records.len() > page.limit;
    // With only `before`, the page ends at the cursor, so the surplus record is the first.
    if has_more && page.before.is_some() && page.after.is_none() {
        records.remove(0);
    }
    records.truncate(page.limit);
    Ok((records, has_more))
}

/// Cuts a page out of a complete list that is sorted oldest first.
///
/// # Errors
/// `unknown` of a cursor that names nothing in the list.
pub(super) fn cut_known<T>(
    page: &Page<'_>,
    mut items: Vec<T>,
    id: impl Fn(&T) -> &str,
    unknown: impl Fn(&str) -> ApiError,
) -> Result<Vec<T>, ApiError> {
    for cursor in [page.after, page.before].into_iter().flatten() {
        if items.iter().all(|item| id(item) != cursor) {
            return Err(unknown(cursor));
        }
    }
    if page.newest_first {
        items.reverse();
    }
    Ok(page.cut(items, id))
}
