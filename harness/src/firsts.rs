//! Kinds of things that cases show: how many show each, and the first that does.
//!
//! Only the first is kept, so memory is bounded by the number of kinds, and which worker was faster makes no difference.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A kind of thing.
#[derive(Clone, Debug)]
pub struct First<T> {
    /// In how many cases it was seen.
    pub cases: u64,
    /// The number of the first of them.
    pub index: u64,
    /// What that one showed.
    pub example: T,
}

/// Takes in what one case showed. The example is only made if no earlier case is known.
pub(crate) fn add<K: Ord, T>(
    firsts: &mut BTreeMap<K, First<T>>,
    kind: K,
    index: u64,
    example: impl FnOnce() -> T,
) {
    match firsts.entry(kind) {
        Entry::Vacant(free) => {
            free.insert(First { cases: 1, index, example: example() });
        }
        Entry::Occupied(mut known) => {
            let first = known.get_mut();
            first.cases += 1;
            if index < first.index {
                (first.index, first.example) = (index, example());
            }
        }
    }
}

/// Takes in what another worker saw.
pub(crate) fn merge<K: Ord, T>(firsts: &mut BTreeMap<K, First<T>>, others: BTreeMap<K, First<T>>) {
    for (kind, theirs) in others {
        match firsts.entry(kind) {
            Entry::Vacant(free) => {
                free.insert(theirs);
            }
            Entry::Occupied(mut known) => {
                let ours = known.get_mut();
                let cases = ours.cases + theirs.cases;
                if theirs.index < ours.index {
                    *ours = theirs;
                }
                ours.cases = cases;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(cases: &[(&'static str, u64)]) -> BTreeMap<&'static str, First<u64>> {
        let mut firsts = BTreeMap::new();
        for (kind, index) in cases {
            add(&mut firsts, *kind, *index, || 10 * index);
        }
        firsts
    }

    #[test]
    fn the_first_case_is_the_one_with_the_lowest_number_whoever_saw_it() {
        let told = |firsts: &BTreeMap<&'static str, First<u64>>| -> Vec<(u64, u64, u64)> {
            firsts.values().map(|first| (first.cases, first.index, first.example)).collect()
        };
        let all = [("a", 5), ("b", 2), ("a", 3), ("a", 4), ("b", 1)];
        let wanted = vec![(3, 3, 30), (2, 1, 10)];
        assert_eq!(told(&seen(&all)), wanted);
        for cut in 0..all.len() {
            let mut one = seen(&all[..cut]);
            merge(&mut one, seen(&all[cut..]));
            assert_eq!(told(&one), wanted, "cut at {cut}");
        }
    }
}
