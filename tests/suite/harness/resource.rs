//! What every kind of resource has in common, told once.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, NOBODY};

/// A kind of resource, and what differs between kinds.
pub(crate) struct Resource {
    /// `/v1/archives/`.
    pub(crate) collection: &'static str,
    /// The list that holds nothing but what was made; usually the collection.
    pub(crate) list: &'static str,
    /// What its ids begin with.
    pub(crate) prefix: &'static str,
    /// Letta's keys, in Letta's order.
    pub(crate) keys: &'static str,
    /// The body that makes the one with this number; its name differs from all others'.
    pub(crate) create: fn(usize) -> Value,
    /// A change, and what then differs.
    pub(crate) change: Value,
    /// Whether a list begins with the newest.
    pub(crate) newest_first: bool,
    /// What the first DELETE answers with, and the second.
    pub(crate) deleted: (u16, u16),
}

impl Resource {
    pub(crate) fn path(&self, id: &str) -> String {
        format!("{}{id}", self.collection)
    }

    pub(crate) async fn create(&self, client: &Client, number: usize) -> String {
        id(&client.post(self.collection, &(self.create)(number)).await.expect(200))
    }

    /// Makes some, finds, changes, lists and deletes them.
    pub(crate) async fn lives_its_life(&self, owner: &Client) {
        let made = owner.post(self.collection, &(self.create)(0)).await.expect(200);
        assert_eq!(keys(&made), self.keys, "{}", self.collection);
        let first = id(&made);
        assert!(first.starts_with(self.prefix) && first.len() == self.prefix.len() + 37, "{first}");
        assert_eq!(owner.get(&self.path(&first)).await.expect(200), made);
        assert_eq!(owner.get(&format!("{}/", self.path(&first))).await.expect(200), made);

        let changed = owner.patch(&self.path(&first), &self.change).await.expect(200);
        assert_eq!(owner.get(&self.path(&first)).await.expect(200), changed);
        for (key, value) in made.as_object().unwrap() {
            match self.change.get(key) {
                Some(change) => assert_eq!(changed[key], *change, "{key}"),
                None if key == "updated_at" => assert!(changed[key].as_str() >= value.as_str(), "{changed}"),
                None => assert_eq!(changed[key], *value, "{key}"),
            }
        }

        let mut ids = vec![first];
        for number in 1..5 {
            ids.push(self.create(owner, number).await);
        }
        let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
        let (default, other) = if self.newest_first { (&newest_first, &ids) } else { (&ids, &newest_first) };
        let joint = if self.list.contains('?') { '&' } else { '?' };
        shows_every_item_once(owner, self.list, default).await;
        shows_every_item_once(owner, self.list.trim_end_matches('/'), default).await;
        let reversed = if self.newest_first { "asc" } else { "desc" };
        shows_every_item_once(owner, &format!("{}{joint}order={reversed}", self.list), other).await;
        for wrong in ["limit=x", "limit=-1", "order=up", "order_by=shoe_size"] {
            owner.get(&format!("{}?{wrong}", self.collection)).await.refused(422, "validation_failed");
        }
        let elsewhere = owner.with("x-project-id", "elsewhere");
        assert_eq!(elsewhere.get(self.list).await.expect(200), json!([]));

        let [gone, ..] = &newest_first[..] else { panic!("some were made") };
        let (once, twice) = self.deleted;
        assert_eq!(owner.delete(&self.path(gone)).await.status.as_u16(), once);
        assert_eq!(owner.delete(&self.path(gone)).await.status.as_u16(), twice);
        shows_every_item_once(owner, &format!("{}{joint}order=desc", self.list), &newest_first[1..]).await;

        let nobody = format!("{}-{}", self.prefix, &NOBODY[6..]);
        for missing in [gone, &nobody] {
            owner.get(&self.path(missing)).await.refused(404, "not_found");
            owner.patch(&self.path(missing), &self.change).await.refused(404, "not_found");
        }
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let refused = owner.send(method, &self.path("nonsense-1"), Some(&json!({}))).await;
            assert!(refused.refused(422, "validation_failed").contains(self.prefix), "{refused:?}");
        }
    }
}

/// Goes through a list of objects in pages of several sizes, forwards and backwards.
pub(crate) async fn shows_every_item_once(client: &Client, path: &str, expected: &[String]) {
    let joint = if path.contains('?') { '&' } else { '?' };
    for limit in [1, 2, 50] {
        for (cursor, start) in [("after", None), ("before", expected.last())] {
            let mut seen: Vec<String> = Vec::new();
            let mut last = start.cloned();
            loop {
                let cursor = last.map_or(String::new(), |id| format!("&{cursor}={id}"));
                let url = format!("{path}{joint}limit={limit}{cursor}");
                let page = ids(&client.get(&url).await.expect(200));
                assert!(page.len() <= limit && seen.len() <= expected.len(), "{url}");
                let (Some(first), Some(end)) = (page.first(), page.last()) else { break };
                last = Some(if start.is_none() { end.clone() } else { first.clone() });
                seen = if start.is_none() { [seen, page].concat() } else { [page, seen].concat() };
            }
            let expected = if start.is_none() { expected } else { &expected[..expected.len() - 1] };
            assert_eq!(seen, expected, "{path} {limit} {cursor}");
        }
    }
}

/// An object's keys, in order.
pub(crate) fn keys(value: &Value) -> String {
    value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// An object's id.
pub(crate) fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// The ids of a list's objects, in order.
pub(crate) fn ids(list: &Value) -> Vec<String> {
    column(list, "id")
}

/// What a list shows of each of its objects, in order.
pub(crate) fn column(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
}
