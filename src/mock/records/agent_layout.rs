//! How a stored agent is laid out: behind its members stands how long they are and where there are secrets in them, so that
//! who reads it need not look for either.
//!
//! The numbers are the lengths of the members in their order, then the names of secrets by which was looked
//! ([`NAMES_OF_SECRETS`]), and then, for each member in which there may be anything, how many secrets there are, and of each
//! where it begins and how long it is.

use std::{fmt::Write, ops::Range};

use memchr::memrchr;

use super::scan::Scan;
use crate::access::NAMES_OF_SECRETS;

const NAME: &str = r#","layout":["#;

/// Appends the layout to an agent's JSON.
pub(super) fn with_layout(mut body: String, lengths: &[usize], places: &[Vec<Range<usize>>]) -> String {
    body.pop();
    body.push_str(NAME);
    for length in lengths {
        // Writing to a String cannot fail.
        let _ = write!(body, "{length},");
    }
    let _ = write!(body, "{NAMES_OF_SECRETS}");
    for places in places {
        let _ = write!(body, ",{}", places.len());
        for place in places {
            let _ = write!(body, ",{},{}", place.start, place.len());
        }
    }
    body.push_str("]}");
    body
}

/// The members of a stored agent, one after the other.
pub(super) struct Members<'a> {
    scan: Scan<'a>,
    lengths: Lengths<'a>,
}

enum Lengths<'a> {
    Unknown,
    Known(Numbers<'a>),
    Noted(Vec<usize>),
}

impl<'a> Members<'a> {
    /// The members of what is stored.
    pub(super) fn of(body: &'a str) -> Self {
        let layout = memrchr(b'[', body.as_bytes()).and_then(|bracket| body.split_at_checked(bracket + 1));
        match layout.and_then(|(members, numbers)| Some((members.strip_suffix(NAME)?, numbers))) {
            Some((members, numbers)) => {
                Self { scan: Scan(members), lengths: Lengths::Known(Numbers(numbers.as_bytes())) }
            }
            None => Self { scan: Scan(body), lengths: Lengths::Unknown },
        }
    }

    /// Those of an agent's JSON without a layout, with note being taken of their lengths.
    pub(super) fn noting(body: &'a str) -> Self {
        Self { lengths: Lengths::Noted(Vec::new()), ..Self::of(body) }
    }

    /// The lengths of which note was taken.
    pub(super) fn into_noted(self) -> Vec<usize> {
        match self.lengths {
            Lengths::Noted(lengths) => lengths,
            Lengths::Unknown | Lengths::Known(_) => Vec::new(),
        }
    }

    pub(super) fn literal(&mut self, text: &str) -> Option<()> {
        self.scan.literal(text)
    }

    pub(super) fn skips(&mut self, text: &str) -> bool {
        self.scan.skips(text)
    }

    pub(super) fn plain(&mut self) -> Option<&'a str> {
        self.scan.plain()
    }

    /// Members that follow each other, all of them; `names` is how each begins.
    pub(super) fn run(&mut self, names: &[&str]) -> Option<&'a str> {
        let begins = names.first().is_none_or(|first| self.scan.0.starts_with(first));
        self.value(|scan| {
            let begin = scan.0;
            for name in names {
                scan.member(name)?;
            }
            begin.get(..begin.len() - scan.0.len())
        })
        .filter(|_| begins)
    }

    /// A member's value; `name` is how the member begins.
    #[inline]
    pub(super) fn member(&mut self, name: &str) -> Option<&'a str> {
        self.scan.literal(name)?;
        self.value(Scan::value)
    }

    /// The same of a member that may be missing, and is null then.
    pub(super) fn member_or_null(&mut self, name: &str) -> Option<&'a str> {
        if self.scan.skips(name) { self.value(Scan::value) } else { Some("null") }
    }

    /// See [`Scan::list_before`].
    pub(super) fn list_before(&mut self, next: &str) -> Option<&'a str> {
        self.value(|scan| scan.list_before(next))
    }

    #[inline]
    fn value(&mut self, look_for: impl FnOnce(&mut Scan<'a>) -> Option<&'a str>) -> Option<&'a str> {
        match &mut self.lengths {
            Lengths::Known(numbers) => self.scan.take(numbers.next()?),
            Lengths::Unknown => look_for(&mut self.scan),
            Lengths::Noted(lengths) => look_for(&mut self.scan).inspect(|value| lengths.push(value.len())),
        }
    }

    /// After the last member; none: there is more.
    pub(super) fn end(&self) -> Option<()> {
        let end = if matches!(self.lengths, Lengths::Known(_)) { "" } else { "}" };
        (self.scan.0 == end).then_some(())
    }

    /// After the last member: the marks, if they were made by the present names of secrets.
    pub(super) fn marks(&mut self) -> Option<Marks<'a>> {
        let Lengths::Known(numbers) = &mut self.lengths else { return None };
        let names = numbers.next()?;
        (u32::try_from(names) == Ok(NAMES_OF_SECRETS)).then_some(Marks(*numbers))
    }
}

/// Where there are secrets, member by member.
#[derive(Clone, Copy)]
pub(super) struct Marks<'a>(Numbers<'a>);

impl Marks<'_> {
    /// The places in the next member, in order; none: they cannot be its.
    pub(super) fn places_in(&mut self, value: &str) -> Option<Vec<Range<usize>>> {
        let count = self.0.next()?;
        let mut places = Vec::new();
        let mut least = 0;
        for _ in 0..count {
            let begin = self.0.next()?;
            let end = begin.checked_add(self.0.next()?)?;
            if begin < least || end > value.len() {
                return None;
            }
            least = end;
            places.push(begin..end);
        }
        Some(places)
    }
}

/// The numbers of a layout, each with a comma or a bracket behind it.
#[derive(Clone, Copy)]
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    #[inline]
    fn next(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        let mut at = 0;
        loop {
            let byte = *self.0.get(at)?;
            at += 1;
            match byte {
                b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(usize::from(byte - b'0'))?,
                b',' | b']' if at > 1 => break,
                _ => return None,
            }
        }
        self.0 = &self.0[at..];
        Some(number)
    }
}
