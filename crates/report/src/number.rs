//! The one rule by which a number of `metrics.json` becomes text.

use crate::metrics::key_name;

/// A number on the page and where it stands in `metrics.json`.
///
/// In the page it is `<data data-key="KEY" data-digits="D" [data-sign]>TEXT</data>`: KEY is a JSON Pointer (RFC 6901)
/// into `metrics.json`, and TEXT is [`format_number`] of the value there.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// JSON Pointer, for example `/measures/map@r/before`.
    pub key: String,
    /// The value; `None` stands as `null` in the file.
    pub value: Option<f64>,
    /// Decimals shown.
    pub digits: usize,
    /// Whether a positive number has a `+`.
    pub sign: bool,
}

impl Cell {
    /// The text that stands on the page.
    pub fn text(&self) -> String {
        format_number(self.value, self.digits, self.sign)
    }
}

/// A number as text.
///
/// The exact binary value is rounded to `digits` decimals, to the nearest and half to even; thousands are set apart by
/// commas; a negative number begins with U+2212 and, where `sign` is set, a positive one with `+`; what rounds to zero
/// has no sign. No number (`None`, NaN, infinite: `null` in JSON) is an en dash.
///
/// ```
/// use parallax_report::format_number;
/// assert_eq!(format_number(Some(-1234.56789), 3, true), "−1,234.568");
/// assert_eq!(format_number(Some(0.03161), 4, true), "+0.0316");
/// assert_eq!(format_number(Some(-0.00001), 4, true), "0.0000");
/// assert_eq!(format_number(None, 4, true), "–");
/// ```
pub fn format_number(value: Option<f64>, digits: usize, sign: bool) -> String {
    let Some(value) = value.filter(|v| v.is_finite()) else { return "–".into() };
    let plain = format!("{:.digits$}", value.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::new();
    if plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        if value < 0.0 {
            text.push('−');
        } else if sign {
            text.push('+');
        }
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if digits > 0 {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// One step of a JSON Pointer to what has this name.
pub(crate) fn pointer_step(name: &str) -> String {
    key_name(name).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule() {
        for (value, digits, sign, want) in [
            (0.5, 0, false, "0"),
            (1.5, 0, false, "2"),
            (2.5, 0, false, "2"),
            (0.125, 2, false, "0.12"),
            (999.9996, 3, true, "+1,000.000"),
            (-0.05, 1, false, "−0.1"),
            (1e6, 0, false, "1,000,000"),
            (123.0, 0, false, "123"),
            (-1000.0, 0, true, "−1,000"),
            (0.0, 4, true, "0.0000"),
        ] {
            assert_eq!(format_number(Some(value), digits, sign), want, "{value}");
        }
        assert_eq!(format_number(Some(f64::NAN), 4, false), "–");
        assert_eq!(pointer_step("a/b~c"), "a~1b~0c");
    }
}
