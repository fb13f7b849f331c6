//! Test control: namespaces, their clocks, and what a test can see of them.

mod app_server;
mod clock;
mod explain;
mod faults;
mod harness;
mod journal;
mod namespaces;
mod place;
mod replies;
mod seed;
mod snapshots;
mod verdicts;
mod verify;
