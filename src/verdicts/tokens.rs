//! Rules on how client tokens are renewed.

use super::{
    finding::Found,
    recent::Recent,
    rules::Rule,
    seen::{Key, REACTION, SECOND, Seen, key},
};
use crate::journal::CallerKind;

/// How many tokens, and pages that use them, are remembered.
const MOST: usize = 256;
/// How many requests may follow the first refusal of a token.
const FORGIVEN: usize = 1;
/// How many renewals show a habit.
const FAILED_RENEWALS: usize = 2;
const SINGLE_USES: usize = 5;
/// Within what time tokens that are used once are too many.
const SHORT: i64 = 60 * SECOND;

#[derive(Debug)]
pub(super) struct Tokens {
    /// By token, its first refusal and what followed.
    expired: Recent<Key, Expired>,
    /// By origin, API key and agents: how its tokens are used.
    pages: Recent<Key, Page>,
}

#[derive(Debug)]
struct Expired {
    first: u64,
    answered: i64,
    later: Vec<u64>,
}

/// The pages of an origin that have tokens for the same agents.
#[derive(Debug, Default)]
struct Page {
    token: Key,
    /// The last request with the token, and how many there were.
    last: u64,
    uses: usize,
    began: i64,
    /// The refusal that ended the token.
    ended_by: Option<u64>,
    /// The refusals before which no token was renewed in time.
    failed: Vec<u64>,
    has_renewed_in_time: bool,
    /// The only requests of the latest tokens.
    single: Vec<(u64, i64)>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { expired: Recent::of(MOST), pages: Recent::of(MOST) }
    }
}

impl Tokens {
    pub(super) fn asked(&mut self, seen: &Seen<'_>, found: &mut Vec<Found>) {
        let (Some(token), Some(place)) = (seen.caller, page(seen)) else { return };
        if !seen.is_admitted() {
            return;
        }
        let page = self.pages.entry(place, Page::default);
        if page.token == token {
            page.uses += 1;
            page.last = seen.entry.id;
            return;
        }
        if page.token != 0 {
            page.renewed(seen, found);
        }
        (page.token, page.uses, page.last, page.began, page.ended_by) = (token, 1, seen.entry.id, seen.arrived, None);
    }

    pub(super) fn ended(&mut self, seen: &Seen<'_>, found: &mut Vec<Found>) {
        let Some(token) = seen.caller.filter(|_| seen.entry.code() == Some("token_expired")) else { return };
        if let Some(page) = page(seen).and_then(|place| self.pages.get_mut(&place))
            && page.token == token
        {
            page.ended_by.get_or_insert(seen.entry.id);
        }
        let Some(expired) = self.expired.get_mut(&token) else {
            self.expired.insert(token, Expired { first: seen.entry.id, answered: seen.ended(), later: Vec::new() });
            return;
        };
        if seen.arrived < expired.answered + REACTION {
            return;
        }
        if expired.later.len() <= MOST {
            expired.later.push(seen.entry.id);
        }
        if expired.later.len() > FORGIVEN {
            let evidence: Vec<u64> = std::iter::once(expired.first).chain(expired.later.iter().copied()).collect();
            let sentence = format!(
                "Entry {} was refused with token_expired, and {} more requests were sent with the token, the last as entry \
                 {}.",
                expired.first,
                expired.later.len(),
                seen.entry.id
            );
            found.push(Found::new(Rule::ExpiredTokenReused, seen, evidence, sentence));
        }
    }
}

impl Page {
    /// Another token is used from now on.
    fn renewed(&mut self, seen: &Seen<'_>, found: &mut Vec<Found>) {
        match self.ended_by {
            Some(refusal) => self.failed.push(refusal),
            None => self.has_renewed_in_time = true,
        }
        if self.failed.len() >= FAILED_RENEWALS && !self.has_renewed_in_time {
            let sentence = format!(
                "{} tokens were renewed, and each only after a request was refused with token_expired.",
                self.failed.len()
            );
            found.push(Found::new(Rule::RefreshByFailing, seen, self.failed.clone(), sentence));
            self.failed.truncate(SINGLE_USES);
        }
        if self.uses > 1 {
            self.single.clear();
            return;
        }
        self.single.push((self.last, self.began));
        self.single.retain(|(_, at)| seen.arrived - at <= SHORT);
        if self.single.len() >= SINGLE_USES {
            let evidence: Vec<u64> = self.single.drain(..).map(|(id, _)| id).collect();
            let sentence = format!("{} tokens in a row were used for one request each.", evidence.len());
            found.push(Found::new(Rule::TokenPerRequest, seen, evidence, sentence));
        }
    }
}

/// What tokens of one page have in common.
fn page(seen: &Seen<'_>) -> Option<Key> {
    let caller = &seen.entry.caller;
    let token = caller.token.as_ref().filter(|_| caller.kind == CallerKind::ClientToken)?;
    let agents: Vec<&str> = token.policy().iter().map(|(agent, _)| agent.as_str()).collect();
    Some(key((&caller.key, &caller.origin_bound, agents)))
}
