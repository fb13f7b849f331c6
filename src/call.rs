//! What handlers take and return.

pub(crate) use crate::{
    access::Call,
    reply::Reply,
    request::input::{Payload, Query, flag},
};
