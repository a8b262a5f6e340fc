//! The difference of two systems over several seeds and many queries.

use parallax_random::Key;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::significance::{mean, quantile};

/// A mean difference over seeds and queries, with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeedInterval {
    /// The mean over seeds of the mean over queries.
    pub mean: f64,
    /// The 2.5 % quantile of the resampled means.
    pub low: f64,
    /// The 97.5 % quantile of the resampled means.
    pub high: f64,
    /// Seeds.
    pub seeds: usize,
    /// Queries of the first seed.
    pub queries: usize,
    /// Resamples.
    pub resamples: usize,
    /// How the interval was made.
    pub method: String,
}

/// The hierarchical bootstrap: resamples seeds, and queries of each, and takes the mean of means.
///
/// `differences[s][q]` is what the second system has over the first on query `q` with seed `s`. Where `shared` says that query
/// `q` is the same one for every seed, a resample draws the queries once for all its seeds, since a hard query is hard under
/// every seed (crossed factors); else it draws them anew for each seed (nested factors). Resample `b` draws from `key.at(b)`, so that
/// the result is the same for any number of threads. A handful of seeds is a small sample: the interval is as narrow as
/// resampling makes it, not as wide as Student's t of so many seeds would.
///
/// # Errors
/// No seed, a seed without queries, shared queries of different numbers, values that are not finite, 0 resamples.
pub fn hierarchical_bootstrap(
    differences: &[Vec<f64>],
    shared: bool,
    resamples: usize,
    key: Key,
) -> Result<SeedInterval, Error> {
    if resamples == 0 {
        return Err(Error::Resamples);
    }
    let first = differences.first().ok_or(Error::Sample { index: 1, len: 0 })?;
    for column in differences {
        if column.is_empty() {
            return Err(Error::Sample { index: 1, len: 0 });
        }
        if let Some(index) = column.iter().position(|value| !value.is_finite()) {
            return Err(Error::Sample { index: index + 1, len: column.len() });
        }
        if shared && column.len() != first.len() {
            return Err(Error::Unpaired { before: first.len(), after: column.len() });
        }
    }
    let seeds = differences.len();
    let resample = |b: u64| -> f64 {
        let key = key.at(b);
        let drawn: Vec<usize> = (0..seeds as u64).map(|s| key.named("seeds").below(s, seeds)).collect();
        let mean_of = |seed: usize, key: Key| -> f64 {
            let column = &differences[seed];
            let n = column.len();
            (0..n as u64).map(|draw| column[key.below(draw, n)]).sum::<f64>() / n as f64
        };
        let sum: f64 = if shared {
            let n = first.len();
            let mut counts = vec![0u32; seeds];
            drawn.iter().for_each(|&seed| counts[seed] += 1);
            let used: Vec<(usize, f64)> =
                (0..seeds).filter(|&s| counts[s] > 0).map(|s| (s, f64::from(counts[s]))).collect();
            let queries = key.named("queries");
            let total: f64 = (0..n as u64)
                .map(|draw| {
                    let place = queries.below(draw, n);
                    used.iter().map(|&(seed, count)| count * differences[seed][place]).sum::<f64>()
                })
                .sum();
            total / n as f64
        } else {
            let own = |(at, &seed): (u64, &usize)| mean_of(seed, key.named("queries").at(at));
            (0..).zip(&drawn).map(own).sum()
        };
        sum / seeds as f64
    };
    let mut means: Vec<f64> = (0..resamples as u64).into_par_iter().map(resample).collect();
    means.sort_unstable_by(f64::total_cmp);
    let what = if shared { "seeds and the queries they share" } else { "seeds and the queries of each" };
    Ok(SeedInterval {
        mean: mean(differences.iter().map(|column| mean(column.clone())).collect()),
        low: quantile(&means, 0.025),
        high: quantile(&means, 0.975),
        seeds,
        queries: first.len(),
        resamples,
        method: format!("percentile bootstrap over {what}, 95 %"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seed effects, query effects and noise around 0.2.
    fn simulated(key: Key, seeds: u64, queries: u64, shared: bool) -> Vec<Vec<f64>> {
        let one = |s: u64| {
            let seed = 0.1 * key.named("seed").normal(s);
            let value = |q: u64| {
                let own = if shared { key.named("query") } else { key.named("query").at(s) };
                0.2 + seed + 0.5 * own.normal(q) + 0.1 * key.named("noise").at(s).normal(q)
            };
            (0..queries).map(value).collect()
        };
        (0..seeds).map(one).collect()
    }

    #[test]
    fn the_interval_covers_the_true_difference_about_as_often_as_it_says() {
        for shared in [true, false] {
            let covered = (0..300)
                .filter(|&set| {
                    let key = Key::new(77).at(set);
                    let data = simulated(key, 12, 60, shared);
                    let found = hierarchical_bootstrap(&data, shared, 400, key.named("b")).unwrap();
                    found.low <= 0.2 && 0.2 <= found.high
                })
                .count();
            assert!((270..=300).contains(&covered), "{covered} of 300, shared: {shared}");
        }
    }

    #[test]
    fn queries_that_seeds_share_make_the_interval_wider_than_queries_of_their_own() {
        let data = simulated(Key::new(5), 8, 100, true);
        let crossed = hierarchical_bootstrap(&data, true, 2000, Key::new(1)).unwrap();
        let nested = hierarchical_bootstrap(&data, false, 2000, Key::new(1)).unwrap();
        assert!(crossed.high - crossed.low > 1.2 * (nested.high - nested.low), "{crossed:?} {nested:?}");
        assert_eq!(crossed.mean, nested.mean);
    }

    #[test]
    fn one_seed_is_the_paired_bootstrap_and_threads_change_no_bit() {
        let data = simulated(Key::new(9), 1, 200, true);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| hierarchical_bootstrap(&data, true, 4000, Key::new(2)).unwrap())
        };
        let found = run(1);
        assert_eq!(found, run(2));
        let zeros = vec![0.0; 200];
        let paired = crate::paired_bootstrap(&zeros, &data[0], 4000, Key::new(3)).unwrap();
        assert!((found.low - paired.low).abs() < 0.01 && (found.high - paired.high).abs() < 0.01);
        assert_eq!(found.mean, paired.mean_difference);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let key = Key::new(0);
        assert!(hierarchical_bootstrap(&[], true, 10, key).is_err());
        assert!(hierarchical_bootstrap(&[vec![1.0], vec![]], false, 10, key).is_err());
        assert!(hierarchical_bootstrap(&[vec![1.0], vec![1.0, 2.0]], true, 10, key).is_err());
        assert!(hierarchical_bootstrap(&[vec![1.0], vec![1.0, 2.0]], false, 10, key).is_ok());
        assert!(hierarchical_bootstrap(&[vec![f64::NAN]], true, 10, key).is_err());
        assert!(hierarchical_bootstrap(&[vec![1.0]], true, 0, key).is_err());
    }
}
