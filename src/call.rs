//! What handlers take and return.

pub use crate::{
    access::Call,
    reply::Reply,
    request::input::{Payload, Query, flag},
};
