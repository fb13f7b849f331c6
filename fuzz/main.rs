//! What strangers' bytes must never do, as libFuzzer targets: `scripts/fuzz` builds and runs them.
//!
//! A target takes bytes and says whether they were accepted; what must hold, it asserts. Before anything is tried, the
//! seeds are: those in `corpus/TARGET/accepted` must be accepted and those in `refused` refused, so that a target cannot
//! degenerate into one that accepts nothing.

#![no_main]
#![expect(clippy::expect_used, clippy::panic, reason = "a target that cannot go on has found something")]
#![expect(clippy::print_stderr, reason = "libFuzzer reports there, too")]

mod app_server_frame;
mod bearer;
mod hostname;
mod http1_response;
mod installation;
mod json;
mod python;
mod redactor;
mod request_target;
mod token_request;

use std::{env, fs, path::Path, sync::OnceLock};

use libfuzzer_sys::fuzz_target;

/// Tries bytes; whether they were accepted.
type Target = fn(&[u8]) -> bool;

const TARGETS: &[(&str, Target)] = &[
    ("app_server_frame", app_server_frame::is_accepted),
    ("bearer", bearer::is_accepted),
    ("hostname", hostname::is_accepted),
    ("http1_response", http1_response::is_accepted),
    ("json", json::is_accepted),
    ("python", python::is_accepted),
    ("redactor", redactor::is_accepted),
    ("request_target", request_target::is_accepted),
    ("token_request", token_request::is_accepted),
];

static CHOSEN: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let (_, target) = TARGETS.iter().find(|(present, _)| *present == name).expect("FUZZ_TARGET names a target");
        try_seeds(&name, *target);
        CHOSEN.get_or_init(|| *target);
    },
    |bytes: &[u8]| {
        if let Some(target) = CHOSEN.get() {
            target(bytes);
        }
    }
);

fn try_seeds(name: &str, target: Target) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let [accepted, refused] = [("accepted", true), ("refused", false)].map(|(folder, expected)| {
        let seeds = fs::read_dir(corpus.join(folder)).expect("every target has seeds of both kinds");
        let tried = seeds.map(|seed| {
            let path = seed.expect("the corpus can be read").path();
            let is_accepted = target(&fs::read(&path).expect("the corpus can be read"));
            assert!(is_accepted == expected, "{} should be {folder}", path.display());
        });
        tried.count()
    });
    assert!(accepted > 0 && refused > 0, "every target has seeds of both kinds");
    eprintln!("{name}: {accepted} seeds accepted and {refused} refused, as they should be");
}
