//! Placeholder: see branch h12b.
use crate::http::App;
use std::sync::Arc;
#[derive(Clone)]
pub(crate) struct Directory(pub(crate) Arc<Namespace>);
pub(crate) struct Namespace(pub(crate) Arc<App>);
impl Directory {
    pub(crate) fn default(&self) -> Arc<Namespace> {
        Arc::clone(&self.0)
    }
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Namespace>> {
        (name == "default").then(|| self.default())
    }
    pub(crate) fn by_token_header(&self, _segment: &str) -> Option<Arc<Namespace>> {
        None
    }
    pub(crate) fn by_key_hash(&self, _hash: &[u8; 32]) -> Option<Arc<Namespace>> {
        None
    }
}
impl Namespace {
    pub(crate) fn name(&self) -> &str {
        "default"
    }
    pub(crate) fn app(&self) -> Arc<App> {
        Arc::clone(&self.0)
    }
    pub(crate) fn is_persistent(&self) -> bool {
        false
    }
}
