//! Places entries in the order of the expectations.

use std::ops::RangeInclusive;

/// Assigns a sequence to expectations in their order: each takes a run of the sequence whose items it accepts and whose
/// length is within its `times`. Returns where each run ends; `Err` has the first expectation that no run fits, where the
/// runs before it may end.
pub(super) fn place(
    length: usize,
    times: &[RangeInclusive<usize>],
    accepts: impl Fn(usize, usize) -> bool,
) -> Result<Vec<usize>, Stuck> {
    // `ends[i]`: where the runs of the first `i` expectations may end.
    let mut ends: Vec<Vec<bool>> = vec![vec![false; length + 1]];
    ends[0][0] = true;
    for (index, times) in times.iter().enumerate() {
        let runs = runs(length, |item| accepts(index, item));
        let mut next = vec![false; length + 1];
        for start in (0..=length).filter(|start| ends[index][*start]) {
            let longest = runs[start].min(*times.end());
            if *times.start() <= longest {
                next[start + times.start()..=start + longest].fill(true);
            }
        }
        if !next.contains(&true) {
            let placed = (0..=length).rev().find(|end| ends[index][*end]).unwrap_or_default();
            return Err(Stuck { expectation: index, placed });
        }
        ends.push(next);
    }
    if !ends[times.len()][length] {
        let placed = (0..=length).rev().find(|end| ends[times.len()][*end]).unwrap_or_default();
        return Err(Stuck { expectation: times.len(), placed });
    }
    // From the end back, each run begins where the ones before it may end.
    let mut placed = vec![length; times.len()];
    for index in (1..times.len()).rev() {
        let end = placed[index];
        let fits = |start: &usize| {
            ends[index][*start]
                && times[index].contains(&(end - start))
                && (*start..end).all(|item| accepts(index, item))
        };
        placed[index - 1] = (0..=end).find(fits).unwrap_or(end);
    }
    Ok(placed)
}

/// Where a sequence does not fit.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Stuck {
    /// The first expectation that takes no run; their number, if all did and items remain.
    pub(super) expectation: usize,
    /// How many items the ones before it may have taken, at most.
    pub(super) placed: usize,
}

/// From each place, how many items in a row are accepted.
fn runs(length: usize, accepts: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut runs = vec![0; length + 1];
    for item in (0..length).rev() {
        runs[item] = if accepts(item) { runs[item + 1] + 1 } else { 0 };
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each expectation is the letters that it accepts, and how many.
    fn placed(sequence: &str, expected: &[(&str, RangeInclusive<usize>)]) -> Result<Vec<usize>, Stuck> {
        let items: Vec<char> = sequence.chars().collect();
        let times: Vec<_> = expected.iter().map(|(_, times)| times.clone()).collect();
        place(items.len(), &times, |index, item| expected[index].0.contains(items[item]))
    }

    #[test]
    fn a_sequence_is_placed_where_it_fits() {
        let any = 1..=usize::MAX;
        assert_eq!(placed("ab", &[("a", any.clone()), ("b", any.clone())]), Ok(vec![1, 2]));
        assert_eq!(placed("aab", &[("a", any.clone()), ("b", any.clone())]), Ok(vec![2, 3]));
        assert_eq!(placed("aba", &[("a", 1..=1), ("b", 1..=1), ("a", 1..=1)]), Ok(vec![1, 2, 3]));
        // What is greedy would take both.
        assert_eq!(placed("aa", &[("a", any.clone()), ("a", any.clone())]), Ok(vec![1, 2]));
        assert_eq!(placed("b", &[("a", 0..=1), ("b", 1..=1)]), Ok(vec![0, 1]));
        assert_eq!(placed("", &[("a", 0..=0)]), Ok(vec![0]));
        assert!(placed("ba", &[("b", 1..=1), ("a", usize::MAX..=usize::MAX)]).is_err());
        assert_eq!(placed("aaab", &[("ab", 0..=2), ("a", 1..=3), ("b", 1..=1)]), Ok(vec![0, 3, 4]));
    }

    #[test]
    fn where_it_does_not_fit_is_told() {
        let any = 1..=usize::MAX;
        assert_eq!(placed("ba", &[("a", any.clone()), ("b", any.clone())]), Err(Stuck { expectation: 0, placed: 0 }));
        assert_eq!(placed("a", &[("a", any.clone()), ("b", any.clone())]), Err(Stuck { expectation: 1, placed: 1 }));
        assert_eq!(placed("aab", &[("a", 1..=1), ("b", any.clone())]), Err(Stuck { expectation: 1, placed: 1 }));
        assert_eq!(placed("aba", &[("a", any.clone()), ("b", any)]), Err(Stuck { expectation: 2, placed: 2 }));
    }
}
