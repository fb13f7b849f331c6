//! What a user of Gatelet can observe, told over HTTP and the command line to the real program.
//!
//! Every test starts the program it needs. What is kept is tested on SQLite and on PostgreSQL: see [`harness::Engine`].

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and it may look at the clock"
)]

mod harness;

mod agents;
mod archives;
mod blocks;
mod bounds;
mod clock;
mod completions;
mod conformance;
mod contention;
mod control;
mod conversations;
mod cors;
mod documentation;
mod enforcement;
mod faults;
mod fields;
mod file_blocks;
mod files;
mod folders;
mod forgery;
mod framing;
mod gateway;
mod hosted;
mod identities;
mod keys;
mod limits;
mod matrix;
mod mcp;
mod messages;
mod metrics;
mod naming;
mod openai;
mod projects;
mod providers;
mod races;
mod redaction;
mod revocation;
mod run;
mod secrets;
mod sleeptime;
mod startup;
mod stored;
mod streaming;
mod stress;
mod targets;
mod templates;
mod tokens;
mod tolerant_json;
mod tools;
