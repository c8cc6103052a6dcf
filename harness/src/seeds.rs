//! One seed for a run, and from it one for each case.

/// The seed of case `index` (from 0) of a run. Case 0 has the seed of the run itself, so that a case's own seed is enough to
/// draw that case again, as the first of a new run.
pub fn case_seed(run: u64, index: u64) -> u64 {
    if index == 0 {
        return run;
    }
    // SplitMix64's output function, a bijection: no two cases of a run share a seed, and neighbours have nothing in common.
    let mut z = run.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::case_seed;

    #[test]
    fn a_cases_seed_draws_it_again_as_the_first_of_a_run() {
        assert_eq!(case_seed(case_seed(7, 1234), 0), case_seed(7, 1234));
    }

    #[test]
    fn cases_have_seeds_of_their_own() {
        let seeds: BTreeSet<u64> = (0..10_000).map(|index| case_seed(7, index)).collect();
        assert_eq!(seeds.len(), 10_000);
    }
}
