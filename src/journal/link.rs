//! What is known of a request for finding the one that it repeats.

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) is_caller_known: bool,
    pub(super) body: Option<Mark>,
    pub(super) is_linked: bool,
    /// The first attempt, if it repeats others.
    pub(super) first: Option<u64>,
    /// Whether the response told the client not to try again.
    pub(super) is_final: bool,
}

/// By what two bodies are compared.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Mark {
    /// Its length and checksum; `None` if it was not read to its end.
    pub(super) whole: Option<(u64, u32)>,
    /// The ids that the client gave to its messages.
    pub(super) otids: Vec<String>,
}
