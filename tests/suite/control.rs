//! Test control: namespaces, their clocks, and what a test can see of them.

mod app_server;
mod clock;
mod explain;
mod harness;
mod journal;
mod namespaces;
mod place;
mod seed;
mod snapshots;
mod verify;
