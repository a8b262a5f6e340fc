use std::fmt;

use serde::Serialize;

/// A quantity that was measured several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; of an even number of values the mean of the two in the middle.
    pub median: f64,
    /// The smallest value.
    pub lowest: f64,
    /// The largest value.
    pub highest: f64,
    /// How many values there are.
    pub runs: usize,
}

impl Spread {
    /// Of these values; all zero where there is none.
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let runs = values.len();
        let (Some(&lowest), Some(&highest)) = (values.first(), values.last()) else {
            return Spread::default();
        };
        Spread { median: (values[(runs - 1) / 2] + values[runs / 2]) / 2.0, lowest, highest, runs }
    }

    /// The same values in another unit.
    pub(crate) fn times(self, factor: f64) -> Spread {
        let Spread { median, lowest, highest, runs } = self;
        Spread { median: median * factor, lowest: lowest * factor, highest: highest * factor, runs }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, lowest, highest, .. } = self;
        write!(f, "{} ({} to {})", digits(*median), digits(*lowest), digits(*highest))
    }
}

/// At least three digits that count: 2134, 21.3, 0.213.
pub(crate) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The value below which `part` of the values lie: the smallest with at least that part at or below it.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (part * sorted.len() as f64).ceil().max(1.0) as usize - 1;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let odd = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(odd, Spread { median: 2.0, lowest: 1.0, highest: 3.0, runs: 3 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 10.0]).median, 3.0);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        assert_eq!(odd.times(10.0).highest, 30.0);
        assert_eq!(Spread::of(vec![0.5, 2134.4, 21.34]).to_string(), "21.3 (0.500 to 2134)");
    }

    #[test]
    fn quantiles_are_values() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 100.0);
        assert_eq!(quantile(&values, 0.99), 198.0);
        assert_eq!(quantile(&values, 1.0), 200.0);
        assert_eq!(quantile(&[7.0], 0.01), 7.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
