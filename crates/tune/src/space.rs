//! Spaces of settings and points in them.

use std::collections::BTreeMap;

use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::Error;

/// A value for each key that is searched.
pub type Point = BTreeMap<String, Value>;

/// What is searched: a dimension for each key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Space(pub BTreeMap<String, Dimension>);

/// The values of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Dimension {
    // First, since a list of two numbers would otherwise be read as the fields of a range.
    /// Any of a list: numbers, names, whole components.
    Choices(Vec<Value>),
    /// Numbers of a range.
    Range(Range),
}

/// Numbers from `low` to `high`, both included. Two whole numbers make a range of whole numbers; write `1.0` for a range of
/// any numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The smallest value.
    pub low: Number,
    /// The largest value.
    pub high: Number,
    /// Whether equal factors are equally likely, not equal differences; for rates and sizes.
    #[serde(default)]
    pub log: bool,
}

impl Range {
    /// Whole numbers.
    fn whole(&self) -> bool {
        !self.low.is_f64() && !self.high.is_f64()
    }

    /// The ends on the scale on which every value is equally likely. Whole numbers have half a step on either side.
    fn ends(&self) -> (f64, f64) {
        let half = if self.whole() { 0.5 } else { 0.0 };
        let low = self.low.as_f64().unwrap_or(f64::NAN) - half;
        let high = self.high.as_f64().unwrap_or(f64::NAN) + half;
        if self.log { (low.ln(), high.ln()) } else { (low, high) }
    }

    fn at(&self, unit: f64) -> Value {
        let (low, high) = self.ends();
        let scaled = low + unit * (high - low);
        let value = if self.log { scaled.exp() } else { scaled };
        let (least, most) = (self.low.as_f64().unwrap_or(value), self.high.as_f64().unwrap_or(value));
        if self.whole() {
            return Value::from(value.round().clamp(least, most) as i64);
        }
        // Four digits are more than a search tells apart, and read well in a run file.
        let size = 10f64.powi(3 - value.abs().max(f64::MIN_POSITIVE).log10().floor() as i32);
        let rounded = if size.is_finite() { (value * size).round() / size } else { value };
        Value::from(rounded.clamp(least, most))
    }

    fn unit(&self, value: &Value) -> Option<f64> {
        let value = value.as_f64()?;
        let (low, high) = self.ends();
        let scaled = if self.log { value.ln() } else { value };
        let unit = (scaled - low) / (high - low);
        (0.0..=1.0).contains(&unit).then(|| unit.min(1.0 - f64::EPSILON))
    }
}

impl Dimension {
    /// How many values there are, where they are counted.
    pub(crate) fn choices(&self) -> Option<usize> {
        match self {
            Dimension::Choices(values) => Some(values.len()),
            Dimension::Range(_) => None,
        }
    }

    /// The value at a place from 0 to 1; of a list the one whose stretch the place lies in.
    pub(crate) fn at(&self, unit: f64) -> Value {
        match self {
            Dimension::Range(range) => range.at(unit),
            Dimension::Choices(values) => {
                let at = (unit * values.len() as f64) as usize;
                values[at.min(values.len() - 1)].clone()
            }
        }
    }

    /// The place of a value; the middle of its stretch for a list.
    pub(crate) fn unit(&self, value: &Value) -> Option<f64> {
        match self {
            Dimension::Range(range) => range.unit(value),
            Dimension::Choices(values) => {
                let at = values.iter().position(|other| same(other, value))?;
                Some((at as f64 + 0.5) / values.len() as f64)
            }
        }
    }

    fn check(&self, key: &str) -> Result<(), Error> {
        let must = |must: &str| Err(Error::Setting { field: format!("space.\"{key}\""), must: must.into() });
        match self {
            Dimension::Choices(values) if values.len() < 2 => must("a list of at least two values"),
            Dimension::Choices(_) => Ok(()),
            Dimension::Range(range) => {
                let (low, high) = (range.low.as_f64(), range.high.as_f64());
                let (Some(low), Some(high)) = (low, high) else { return must("a range of numbers") };
                if range.log && low <= 0.0 {
                    return must("a range above 0, since log = true");
                }
                if low >= high || !(high - low).is_finite() {
                    return must("a range whose low end lies below its high end");
                }
                Ok(())
            }
        }
    }
}

/// Numbers are the same by value, whole or not.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

impl Space {
    /// Whether nothing is searched.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses ranges and lists that hold no choice.
    ///
    /// # Errors
    /// [`Error::Setting`] with the key.
    pub fn check(&self) -> Result<(), Error> {
        self.0.iter().try_for_each(|(key, dimension)| dimension.check(key))
    }

    /// A point drawn evenly: a function of the key alone, one draw for each dimension.
    pub fn draw(&self, key: Key) -> Point {
        let draw = |(name, dimension): (&String, &Dimension)| {
            (name.clone(), dimension.at(key.named(name).uniform(0)))
        };
        self.0.iter().map(draw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(text: &str) -> Space {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn ranges_are_even_on_their_scale_and_keep_their_ends() {
        let space = space(
            r#"{ "rate": { "low": 1e-5, "high": 1e-1, "log": true }, "epochs": { "low": 1, "high": 4 },
                 "size": { "low": 16, "high": 256, "log": true }, "loss": ["a", "b", "c"] }"#,
        );
        space.check().unwrap();
        let points: Vec<Point> = (0..4000).map(|i| space.draw(Key::new(3).at(i))).collect();
        let below = points.iter().filter(|p| p["rate"].as_f64().unwrap() < 1e-3).count();
        assert!((1800..2200).contains(&below), "half of the factors lie below the middle: {below}");
        for epochs in 1..=4 {
            let count = points.iter().filter(|p| p["epochs"] == epochs).count();
            assert!((880..1120).contains(&count), "{epochs}: {count}");
        }
        assert!(points.iter().all(|p| (16..=256).contains(&p["size"].as_i64().unwrap())));
        for name in ["a", "b", "c"] {
            let count = points.iter().filter(|p| p["loss"] == name).count();
            assert!((1200..1460).contains(&count), "{name}: {count}");
        }
        let rate = &space.0["rate"];
        assert_eq!(rate.at(0.0), 1e-5);
        assert_eq!(rate.at(1.0), 1e-1);
        assert_eq!(rate.at(0.5), 1e-3);
    }

    #[test]
    fn a_value_has_its_place() {
        let space =
            space(r#"{ "x": { "low": 1, "high": 4 }, "y": [1, 2.5, { "name": "z" }], "two": [5, 10] }"#);
        assert_eq!(space.0["two"], Dimension::Choices(vec![5.into(), 10.into()]));
        for (key, value) in
            [("x", Value::from(3)), ("y", Value::from(2.5)), ("y", serde_json::json!({"name": "z"}))]
        {
            let dimension = &space.0[key];
            assert_eq!(dimension.at(dimension.unit(&value).unwrap()), value);
        }
        assert_eq!(space.0["x"].unit(&Value::from(9)), None);
        assert_eq!(space.0["y"].unit(&Value::from("z")), None);
    }

    #[test]
    fn spaces_without_a_choice_are_refused() {
        for text in [
            r#"{ "x": { "low": 2.0, "high": 1.0 } }"#,
            r#"{ "x": { "low": 0.0, "high": 1.0, "log": true } }"#,
            r#"{ "x": ["one"] }"#,
        ] {
            let error = space(text).check().unwrap_err().to_string();
            assert!(error.contains("tune.space.\"x\" must be"), "{error}");
        }
        assert!(serde_json::from_str::<Space>(r#"{ "x": { "low": 1 } }"#).is_err());
    }
}
