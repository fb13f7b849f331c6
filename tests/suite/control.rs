//! The control API, with which tests set up and examine a mock.

mod seed;
