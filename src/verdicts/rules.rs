//! THE RULES: what a client of Letta can do wrong, each with its severity, why it matters and what to do.
//!
//! A rule is an error only if Letta's own clients had to be mended for it, or if it gives a credential away; the references
//! are to their repositories. docs/verdicts.md is generated from this table.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// A mistake that costs time, money or load.
    Warn,
    /// A defect that users will meet.
    Error,
}

impl Severity {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The severity of a word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Info, Self::Warn, Self::Error].into_iter().find(|severity| severity.word() == word)
    }
}

/// One rule of the table.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it looks like on the wire.
    pub seen: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

macro_rules! rules {
    ($($rule:ident $name:literal $severity:ident { seen: $seen:literal, why: $why:literal, fix: $fix:literal })+) => {
        /// A rule.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "each is described by its row")]
        pub enum Rule { $($rule,)+ }

        impl Rule {
            /// Every rule, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$rule,)+];
        }

        static ROWS: &[Row] = &[$(Row {
            name: $name,
            severity: Severity::$severity,
            seen: $seen,
            why: $why,
            fix: $fix,
        },)+];
    };
}

impl Rule {
    /// The rule's row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The rule of a name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.row().name == name)
    }
}

rules! {
    SendRetriedAfterStart "send_retried_after_start" Error {
        seen: "A send is repeated (by the SDK's retry count, the same `otid`, or the same body after a failure) although its \
               first attempt had begun a run, and begins another one. Nobody has looked at the runs or the history between.",
        why: "Letta does not recognise a repeated message: the agent acts twice, and the user is answered twice. The SDKs \
              repeat requests by themselves (letta-code #478, #981).",
        fix: "Send messages without automatic retries (`maxRetries: 0`, `max_retries=0`). After a failure, look at the runs \
              or the history first, and send again only what is not there."
    }
    CutStreamBelieved "cut_stream_believed" Error {
        seen: "A stream ends without `stop_reason`, and the next call to that conversation is a new message: no run, stream \
               or history was read between.",
        why: "A stream that is cut looks like a short reply, also to the SDKs if the connection closes cleanly, while the \
              run goes on (letta-code #1370).",
        fix: "Treat a stream as complete only after its `stop_reason`. Otherwise resume it (`runs.messages.stream`) or read \
              the history before anything else is sent."
    }
    BusyHammered "busy_hammered" Warn {
        seen: "Three sends to one conversation within a minute are refused with 409 because a run is in progress, and nobody \
               reads, resumes or cancels that run.",
        why: "A conversation processes one message at a time. Repeating does not make it faster, and the user waits without \
              a sign of life (letta-code #618, #1370).",
        fix: "On a 409, wait for the run that it names: stream it or poll it, then send. Or cancel it."
    }
    ApprovalAbandoned "approval_abandoned" Error {
        seen: "A turn ends with `requires_approval`, and the next message to that conversation is an ordinary one, which is \
               refused with 409.",
        why: "The agent waits until the call is decided, so every further message is refused: the conversation is stuck \
              (letta-code #885, lettabot #127, #359).",
        fix: "Before sending, decide the call that waits: approve or deny it. After a reload, look for it in the history, or \
              retrieve the agent with `include=agent.pending_approval`."
    }
    ApprovalRepeated "approval_repeated" Error {
        seen: "A decision about a tool call is sent again after the first one was accepted.",
        why: "A tool may run twice, or the second decision fails and the user sees an error (letta-code #885, lettabot #359).",
        fix: "Remember which calls were decided, by `tool_call_id`, and disable the button while the decision is sent."
    }
    RetryAfterIgnored "retry_after_ignored" Error {
        seen: "A request is refused with `Retry-After`, and another one that the same limit concerns arrives before that time.",
        why: "It is refused again, and prolongs the time until one is accepted.",
        fix: "Wait as long as `Retry-After` says. SDK 1.x does so up to a minute, SDK 0.1.x does not: there set `maxRetries: \
              0` and wait yourself."
    }
    RetriedRefusal "retried_refusal" Warn {
        seen: "The same request is sent again within ten seconds after a 4xx that no repetition mends, and gets it again. 401, \
               404, 408, 409 and 429 do not count.",
        why: "The response cannot change; the user waits for nothing.",
        fix: "Show the sentence of the refusal, and correct the request. Repeat only 408, 409, 429 and 5xx."
    }
    ExpiredTokenReused "expired_token_reused" Error {
        seen: "After the first `token_expired` was answered, more than one request is sent with that token. Requests that \
               began before do not count.",
        why: "An expired token never becomes valid again. The page shows errors until it is reloaded.",
        fix: "On the first `token_expired`, get a new token from your back end and repeat the request once with it; let all \
              parts of the page share the one token."
    }
    RefreshByFailing "refresh_by_failing" Info {
        seen: "At least two tokens were renewed, and each renewal began with a `token_expired`.",
        why: "Every few minutes a request of the user's fails first, which takes two round trips more.",
        fix: "Renew a token shortly before its `expiresAt`, with a timer or before each request."
    }
    TokenPerRequest "token_per_request" Info {
        seen: "Five tokens in a row, for the same origin and agents and within a minute, were used for one request each.",
        why: "Every request waits for your back end first.",
        fix: "Keep a token until shortly before its `expiresAt`."
    }
    RunNeverRead "run_never_read" Warn {
        seen: "A run in the background (`messages/async`) is started without a `callback_url`, and nobody reads it, its \
               messages or the history.",
        why: "Nobody learns what the agent said, or that the run failed.",
        fix: "Poll the run, stream it, or read the history once it has ended."
    }
    PollingStorm "polling_storm" Warn {
        seen: "More than five equal GET requests a second, for two seconds.",
        why: "It costs the server more than the turn that it waits for, and meets the limit on requests.",
        fix: "Stream the run, or poll once a second at most."
    }
    ApiKeyInBrowser "api_key_in_browser" Error {
        seen: "An API key is sent with an `Origin` header, and is refused.",
        why: "An API key in a page belongs to everybody who opens the page, and may do everything.",
        fix: "Issue a client token on your server, and give the page only that. Replace the key if it was deployed."
    }
    TokenInTarget "token_in_target" Error {
        seen: "A credential is in the path or query of a request.",
        why: "Addresses are kept in logs, histories and `Referer` headers.",
        fix: "Send it as `Authorization: Bearer ...`."
    }
    OriginRefused "origin_refused" Error {
        seen: "A client token is refused with `origin_missing` or `origin_mismatch`.",
        why: "The page does not work where it is opened, or the token is used where it does not belong.",
        fix: "Issue the token with the `hostname` of the page as the browser writes its origin: scheme, host and port. Outside \
              of a browser, send the header `Origin`."
    }
    DoubleSend "double_send" Warn {
        seen: "The same text is sent to one conversation twice within 500 ms, and the second is not a retry. Unless a browser \
               sends it, the first must still be in progress.",
        why: "A double click, or an effect that runs twice: the agent answers twice.",
        fix: "Disable the form while a message is sent, and send from the event handler."
    }
    FieldsDropped "fields_dropped" Info {
        seen: "The guard drops query parameters or body fields of a client token's request, since Letta does not know them.",
        why: "A misspelt field has no effect, and nobody says so.",
        fix: "Correct or remove the fields."
    }
}
