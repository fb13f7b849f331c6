//! Paging, written once: by cursors, which are ids and lie relative to the order that was asked for, and by the offsets of
//! Letta's hosted routes.

use crate::{
    error::{ApiError, Code},
    request::input::Query,
};

/// Which part of a list a request asks for.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Page<'a> {
    /// Only what the list shows before this id.
    pub(in crate::mock) before: Option<&'a str>,
    /// Only what the list shows after this id.
    pub(in crate::mock) after: Option<&'a str>,
    /// At most this many.
    pub(in crate::mock) limit: usize,
    /// Whether the newest come first.
    pub(in crate::mock) newest_first: bool,
}

/// What a list does unless the request says otherwise.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct Defaults {
    pub(in crate::mock) limit: i64,
    pub(in crate::mock) newest_first: bool,
    /// What the list can be ordered by; the first is the default.
    pub(in crate::mock) order_by: &'static [&'static str],
}

impl<'a> Page<'a> {
    /// Reads the paging parameters.
    pub(in crate::mock) fn read(query: &'a Query, defaults: Defaults) -> Result<Self, ApiError> {
        query.one_of("order_by", defaults.order_by)?;
        let order = query.one_of("order", &["asc", "desc"])?;
        Ok(Self {
            before: query.first("before"),
            after: query.first("after"),
            limit: limit(query, defaults.limit)?,
            newest_first: order.map_or(defaults.newest_first, |order| order == "desc"),
        })
    }

    /// The same for lists whose older clients say `ascending` instead of `order`.
    pub(in crate::mock) fn read_ascending(query: &'a Query, defaults: Defaults) -> Result<Self, ApiError> {
        let ascending = query.boolean("ascending")?;
        let mut page = Self::read(query, defaults)?;
        if let (None, Some(ascending)) = (query.first("order"), ascending) {
            page.newest_first = !ascending;
        }
        Ok(page)
    }

    /// The limit as the store takes it.
    pub(in crate::mock) fn limit(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX)
    }

    /// Cuts a complete, ordered list. A cursor that it does not hold leaves nothing: clients that page until a page is
    /// empty must come to an end. With only `before`, the items next to the cursor are kept.
    pub(in crate::mock) fn cut<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<T> {
        let mut start = 0;
        if let Some(after) = self.after {
            match items.iter().position(|item| id(item) == after) {
                Some(position) => start = position + 1,
                None => return Vec::new(),
            }
        }
        if let Some(before) = self.before {
            match items.iter().position(|item| id(item) == before) {
                Some(position) => items.truncate(position),
                None => return Vec::new(),
            }
        }
        if self.after.is_none() && self.before.is_some() {
            start = items.len().saturating_sub(self.limit);
        }
        items.into_iter().skip(start).take(self.limit).collect()
    }
}

fn limit(query: &Query, default: i64) -> Result<usize, ApiError> {
    let limit = query.integer("limit")?.unwrap_or(default);
    usize::try_from(limit).map_err(|_| {
        ApiError::validation(
            "greater_than_equal",
            &["query", "limit"],
            "Input should be greater than or equal to 0",
            &limit.to_string().into(),
        )
    })
}

/// Which part of a list a request to one of the hosted routes asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::mock) struct Window {
    offset: usize,
    limit: usize,
}

impl Window {
    /// Reads `offset` and `limit`, which clients write as any number that is whole.
    pub(in crate::mock) fn read(query: &Query, default_limit: usize) -> Result<Self, ApiError> {
        let number = |name| query.first(name).map(|text| whole(name, text)).transpose();
        Ok(Self { offset: number("offset")?.unwrap_or(0), limit: number("limit")?.unwrap_or(default_limit) })
    }

    /// Cuts a complete, ordered list; whether there is more after it.
    pub(in crate::mock) fn cut<T>(self, items: Vec<T>) -> (Vec<T>, bool) {
        let has_more = items.len() > self.offset.saturating_add(self.limit);
        (items.into_iter().skip(self.offset).take(self.limit).collect(), has_more)
    }
}

fn whole(name: &str, text: &str) -> Result<usize, ApiError> {
    /// The largest range in which a float still names one integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = text.parse::<f64>().ok().filter(|number| number.fract() == 0.0 && (0.0..=EXACT).contains(number));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and within the range")]
    let number = number.map(|number| number as usize);
    number.ok_or_else(|| {
        ApiError::letta(Code::InvalidRequest, format!("{name} must be a whole number that is not negative"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { limit: 3, newest_first: true, order_by: &["created_at"] };

    fn cut(query: &str) -> String {
        let query = Query::parse(Some(query));
        let page = Page::read(&query, DEFAULTS).unwrap();
        page.cut(vec!["a", "b", "c", "d", "e", "f"], |item| item).concat()
    }

    #[test]
    fn cursors_cut_the_list() {
        for (query, expected) in [
            ("", "abc"),
            ("limit=0", ""),
            ("limit=100", "abcdef"),
            ("after=b", "cde"),
            ("after=f", ""),
            ("before=a", ""),
            ("before=f", "cde"),
            ("before=f&limit=1", "e"),
            ("before=c", "ab"),
            ("after=a&before=e&limit=2", "bc"),
            ("after=e&before=b", ""),
            ("after=x", ""),
            ("before=x", ""),
        ] {
            assert_eq!(cut(query), expected, "{query}");
        }
    }

    #[test]
    fn every_item_is_on_exactly_one_page_in_both_directions() {
        for direction in ["after", "before"] {
            let mut seen = String::new();
            let mut page = if direction == "after" { cut("limit=2") } else { cut("limit=2&after=d") };
            while !page.is_empty() {
                seen = if direction == "after" { format!("{seen}{page}") } else { format!("{page}{seen}") };
                let cursor = if direction == "after" { page.pop() } else { page.chars().next() };
                page = cut(&format!("limit=2&{direction}={}", cursor.unwrap()));
            }
            assert_eq!(seen, "abcdef", "{direction}");
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for query in ["limit=-1", "limit=x", "limit=99999999999999999999", "order=up", "order_by=name"] {
            assert!(Page::read(&Query::parse(Some(query)), DEFAULTS).is_err(), "{query}");
        }
    }

    #[test]
    fn windows_cut_the_list() {
        for (query, expected) in [
            ("", Some("abc+")),
            ("offset=3", Some("def")),
            ("offset=2.0&limit=1e0", Some("c+")),
            ("offset=9", Some("")),
            ("limit=0", Some("+")),
            ("limit=6", Some("abcdef")),
            ("limit=9007199254740992&offset=1", Some("bcdef")),
            ("limit=-1", None),
            ("limit=1.5", None),
            ("offset=x", None),
            ("offset=inf", None),
        ] {
            let window = Window::read(&Query::parse(Some(query)), 3).ok();
            let cut = window.map(|window| {
                let (items, has_more) = window.cut(vec!["a", "b", "c", "d", "e", "f"]);
                items.concat() + if has_more { "+" } else { "" }
            });
            assert_eq!(cut.as_deref(), expected, "{query}");
        }
    }
}
