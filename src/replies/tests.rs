//! Tests of choosing.
