//! Gatelet: self-hosted client-side access tokens for the Letta agents API.
//!
//! A back end that holds an API key issues short-lived client tokens; a browser uses them to talk to its agent
//! directly. Every request passes one guard (bearer, policy, origin) and then goes to a stateful mock of the Letta API,
//! or to a real server.
//!
//! `ARCHITECTURE.md` maps the modules, says which may use which, and follows a request through them.

pub mod access;
pub mod api;
#[expect(clippy::doc_markdown, reason = "doc comments on arguments are the help text, not Markdown")]
pub mod cli;
pub mod clock;
pub mod config;
mod console;
mod control;
pub mod credentials;
mod entropy;
pub mod error;
mod explain;
mod faults;
pub mod gateway;
mod http;
mod journal;
pub mod mock;
pub mod model;
mod namespaces;
mod openai;
mod private_files;
mod replies;
mod reply;
pub mod request;
mod seed;
mod server;
pub mod service;
pub mod store;
mod telemetry;
pub mod verdicts;
mod verify;
pub mod world;
