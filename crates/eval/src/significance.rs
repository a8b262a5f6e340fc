use parallax_random::Key;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How the intervals of this module are made.
pub const METHOD: &str =
    "percentile bootstrap over queries, 95 %, linear interpolation between order statistics";

/// A mean over queries with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeanInterval {
    /// The mean over queries.
    pub mean: f64,
    /// The 2.5 % quantile of the resampled means.
    pub low: f64,
    /// The 97.5 % quantile of the resampled means.
    pub high: f64,
    /// How many resamples were drawn.
    pub resamples: usize,
    /// How many queries the mean is over.
    pub queries: usize,
    /// How the interval was made: [`METHOD`].
    pub method: String,
}

/// The mean difference of two systems on the same queries, with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Mean over queries of after − before.
    pub mean_difference: f64,
    /// The 2.5 % quantile of the resampled mean differences.
    pub low: f64,
    /// The 97.5 % quantile of the resampled mean differences.
    pub high: f64,
    /// One-sided p of a difference ≤ 0: (1 + resamples with mean difference ≤ 0) / (1 + resamples), so never 0.
    pub p_not_positive: f64,
    /// How many resamples were drawn.
    pub resamples: usize,
    /// How many queries the mean is over.
    pub queries: usize,
    /// How the interval was made: [`METHOD`].
    pub method: String,
}

/// The mean of one column with a percentile interval (Efron, *Bootstrap methods: another look at the jackknife*, 1979).
///
/// Each resample draws as many queries as there are, with replacement. The values are put in ascending order first,
/// so that the answer is the same for every order of the queries, to the last bit; and resample `b` draws from
/// `key.at(b)`, so that it is the same for any number of threads.
///
/// # Errors
/// [`Error::Sample`] for an empty column or a value that is not finite; [`Error::Resamples`] for 0 resamples.
pub fn bootstrap_mean(values: &[f64], resamples: usize, key: Key) -> Result<MeanInterval, Error> {
    let mut intervals = bootstrap_columns(&[values], resamples, key)?;
    intervals.pop().ok_or(Error::Sample { index: 1, len: 0 })
}

/// [`bootstrap_mean`] of several columns of equal length, with one set of draws: each answer is what that function
/// gives.
pub(crate) fn bootstrap_columns(
    columns: &[&[f64]],
    resamples: usize,
    key: Key,
) -> Result<Vec<MeanInterval>, Error> {
    let sorted = columns.iter().map(|column| ascending(column)).collect::<Result<Vec<_>, _>>()?;
    let means = resampled_means(&sorted, resamples, key)?;
    let intervals = sorted.iter().zip(means).map(|(column, means)| MeanInterval {
        mean: mean_of_ascending(column),
        low: quantile(&means, 0.025),
        high: quantile(&means, 0.975),
        resamples,
        queries: column.len(),
        method: METHOD.to_string(),
    });
    Ok(intervals.collect())
}

/// The paired bootstrap: resamples queries, keeps both values of each, and compares the means.
///
/// `before[i]` and `after[i]` are one measure of the same query under two systems. Positive differences mean that
/// `after` is better. The usual number of resamples is [`RESAMPLES`].
///
/// # Errors
/// [`Error::Unpaired`] for columns of different lengths, and those of [`bootstrap_mean`].
pub fn paired_bootstrap(
    before: &[f64],
    after: &[f64],
    resamples: usize,
    key: Key,
) -> Result<Interval, Error> {
    if before.len() != after.len() {
        return Err(Error::Unpaired { before: before.len(), after: after.len() });
    }
    let differences: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
    let sorted = ascending(&differences)?;
    let means = resampled_means(std::slice::from_ref(&sorted), resamples, key)?.remove(0);
    let not_positive = means.iter().filter(|&&mean| mean <= 0.0).count();
    Ok(Interval {
        mean_difference: mean_of_ascending(&sorted),
        low: quantile(&means, 0.025),
        high: quantile(&means, 0.975),
        p_not_positive: (1 + not_positive) as f64 / (1 + resamples) as f64,
        resamples,
        queries: sorted.len(),
        method: METHOD.to_string(),
    })
}

/// The usual number of resamples of [`paired_bootstrap`].
pub const RESAMPLES: usize = 10_000;

fn ascending(values: &[f64]) -> Result<Vec<f64>, Error> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::Sample { index: index + 1, len: values.len() });
    }
    if values.is_empty() {
        return Err(Error::Sample { index: 1, len: 0 });
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

/// The mean, the same for every order of `values` to the last bit: they are summed in ascending order.
pub(crate) fn mean(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    mean_of_ascending(&values)
}

fn mean_of_ascending(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// For each column the means of all resamples, ascending. Columns have equal lengths above 0.
fn resampled_means(columns: &[Vec<f64>], resamples: usize, key: Key) -> Result<Vec<Vec<f64>>, Error> {
    if resamples == 0 {
        return Err(Error::Resamples);
    }
    let n = columns.first().map_or(0, Vec::len);
    let draws: Vec<Vec<f64>> = (0..resamples as u64)
        .into_par_iter()
        .map(|resample| {
            let key = key.at(resample);
            let mut sums = vec![0.0; columns.len()];
            for draw in 0..n as u64 {
                let place = key.below(draw, n);
                sums.iter_mut().zip(columns).for_each(|(sum, column)| *sum += column[place]);
            }
            sums
        })
        .collect();
    let of_column = |c: usize| {
        let mut means: Vec<f64> = draws.iter().map(|sums| sums[c] / n as f64).collect();
        means.sort_unstable_by(f64::total_cmp);
        means
    };
    Ok((0..columns.len()).map(of_column).collect())
}

/// Linear interpolation between order statistics at position `q·(n − 1)`.
pub(crate) fn quantile(ascending: &[f64], q: f64) -> f64 {
    let position = q * (ascending.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(ascending.len() - 1);
    ascending[below] + (position - below as f64) * (ascending[above] - ascending[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_hand() {
        assert_eq!(quantile(&[3.0], 0.975), 3.0);
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[0.0, 10.0], 0.025), 0.25);
    }

    #[test]
    fn interval_covers_the_true_mean_about_as_often_as_it_says() {
        // Skewed values with mean 1/3 (a square of a uniform), 60 queries, 400 data sets.
        let covered = (0..400)
            .filter(|&set| {
                let key = Key::new(21).at(set);
                let values: Vec<f64> = (0..60).map(|i| key.uniform(i).powi(2)).collect();
                let interval = bootstrap_mean(&values, 500, key.named("bootstrap")).unwrap();
                interval.low <= 1.0 / 3.0 && 1.0 / 3.0 <= interval.high
            })
            .count();
        assert!((360..=396).contains(&covered), "{covered} of 400 cover the mean");
    }

    #[test]
    fn paired_interval_covers_the_true_difference() {
        // Queries differ far more than systems do: only the pairing makes the interval this narrow.
        let (mut covered, mut width) = (0, 0.0);
        for set in 0..400 {
            let key = Key::new(22).at(set);
            let before: Vec<f64> = (0..80).map(|i| 10.0 * key.named("query").normal(i)).collect();
            let after: Vec<f64> = before
                .iter()
                .enumerate()
                .map(|(i, b)| b + 0.1 + 0.5 * key.named("noise").normal(i as u64))
                .collect();
            let interval = paired_bootstrap(&before, &after, 500, key).unwrap();
            covered += usize::from(interval.low <= 0.1 && 0.1 <= interval.high);
            width += (interval.high - interval.low) / 400.0;
        }
        assert!((360..=396).contains(&covered), "{covered} of 400 cover the difference");
        let expected = 2.0 * 1.96 * 0.5 / 80f64.sqrt();
        assert!((width / expected - 1.0).abs() < 0.05, "mean width {width}, by theory {expected}");
    }

    #[test]
    fn equal_systems_are_not_significant_and_better_ones_are() {
        let before: Vec<f64> = (0..50).map(|i| f64::from(i % 7)).collect();
        let same = paired_bootstrap(&before, &before, 1000, Key::new(1)).unwrap();
        assert_eq!((same.mean_difference, same.low, same.high, same.p_not_positive), (0.0, 0.0, 0.0, 1.0));
        let after: Vec<f64> = before.iter().map(|b| b + 0.25).collect();
        let better = paired_bootstrap(&before, &after, 1000, Key::new(1)).unwrap();
        assert_eq!((better.mean_difference, better.low), (0.25, 0.25));
        assert_eq!(better.p_not_positive, 1.0 / 1001.0);
    }

    #[test]
    fn order_of_queries_and_threads_change_no_bit() {
        let key = Key::new(4);
        let values: Vec<f64> = (0..500).map(|i| key.normal(i)).collect();
        let mut shuffled = values.clone();
        key.shuffle(&mut shuffled);
        let run = |threads: usize, values: &[f64]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bootstrap_mean(values, 300, Key::new(8)).unwrap())
        };
        let first = run(1, &values);
        assert_eq!(first, run(2, &values));
        assert_eq!(first, run(2, &shuffled));
        let columns = bootstrap_columns(&[&shuffled, &values], 300, Key::new(8)).unwrap();
        assert_eq!(columns, [first.clone(), first]);
    }

    #[test]
    fn bad_columns_are_refused() {
        let key = Key::new(0);
        assert_eq!(paired_bootstrap(&[1.0], &[], 10, key), Err(Error::Unpaired { before: 1, after: 0 }));
        assert_eq!(bootstrap_mean(&[], 10, key), Err(Error::Sample { index: 1, len: 0 }));
        assert_eq!(bootstrap_mean(&[0.0, f64::NAN], 10, key), Err(Error::Sample { index: 2, len: 2 }));
        assert_eq!(bootstrap_mean(&[0.0], 0, key), Err(Error::Resamples));
    }
}
