//! Round numbers along an axis.

/// A place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

/// About `wanted` round numbers in `[low, high]`, in steps of 1, 2 or 5 times a power of ten.
pub(super) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || wanted == 0 {
        return Vec::new();
    }
    let rough = span / wanted as f64;
    let power = rough.log10().floor() as i32;
    let unit = 10f64.powi(power);
    let factor =
        [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * unit >= rough * 0.999).unwrap_or(10.0);
    let step = factor * unit;
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    if !(first.is_finite() && last - first < 100.0) {
        return Vec::new();
    }
    let digits = if factor == 10.0 { -(power + 1) } else { -power };
    let count = (last - first).max(-1.0) as i64;
    (0..=count)
        .map(|at| {
            let value = (first + at as f64) * step + 0.0;
            Tick { value, label: label(value, digits, low.abs().max(high.abs())) }
        })
        .collect()
}

/// Plain where it is short, else with a power of ten.
fn label(value: f64, digits: i32, largest: f64) -> String {
    let text = if value == 0.0 {
        "0".to_string()
    } else if largest >= 1e6 || digits > 4 {
        let power = largest.log10().floor() as i32;
        let scaled = format!("{:.*}", (digits + power).max(0) as usize, value / 10f64.powi(power));
        format!("{scaled}e{power}")
    } else {
        crate::format_number(Some(value), digits.max(0) as usize, false)
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::ticks;

    fn labels(low: f64, high: f64, wanted: usize) -> Vec<String> {
        ticks(low, high, wanted).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn round_numbers() {
        assert_eq!(
            labels(0.0, 1.0, 5),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"].map(|x| if x == "0.0" { "0" } else { x })
        );
        assert_eq!(labels(-0.013, 0.034, 4), ["0", "0.02"]);
        assert_eq!(labels(1.0, 102.0, 4), ["50", "100"]);
        assert_eq!(labels(0.0, 2e-5, 2), ["0", "1e−5", "2e−5"]);
        assert_eq!(labels(0.0, 2500.0, 3), ["0", "1,000", "2,000"]);
        assert_eq!(labels(-20.0, 0.0, 2), ["−20", "−10", "0"]);
        assert!(labels(1.0, 1.0, 4).is_empty());
        assert!(labels(0.0, f64::INFINITY, 4).is_empty());
        assert!(labels(1e300, 1.000001e300, 4).len() < 100);
    }
}
