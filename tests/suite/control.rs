//! Test control: namespaces, their clocks, and what a test can see of them.

mod clock;
mod harness;
mod place;
mod seed;
