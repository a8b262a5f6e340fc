//! Whole numbers written as `1.0`, as tables of numbers with gaps are saved.

/// Whether all of some values are whole numbers, and whether some are spelled with a decimal point.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WholeNumbers {
    other: bool,
    point: bool,
}

impl WholeNumbers {
    pub(crate) fn see(&mut self, text: &str) {
        match whole(text) {
            Some(digits) => self.point |= digits.len() < text.len(),
            None => self.other = true,
        }
    }

    /// Whether all are whole and a decimal point occurs.
    pub(crate) fn with_point(self) -> bool {
        self.point && !self.other
    }
}

/// `12.0` as `12`; `None` for anything but a whole number in digits.
pub(crate) fn whole(text: &str) -> Option<&str> {
    let digits = text.trim().trim_end_matches('0');
    let digits = match digits.strip_suffix('.') {
        Some(digits) => digits,
        None => text.trim(),
    };
    let bare = digits.strip_prefix('-').unwrap_or(digits);
    let is_number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
    if is_number && bare.bytes().all(|b| b == b'0') {
        return Some(bare);
    }
    is_number.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::{WholeNumbers, whole};

    #[test]
    fn spellings_of_whole_numbers() {
        let cases = [
            ("1.0", "1"),
            ("10", "10"),
            ("10.000", "10"),
            ("-3.", "-3"),
            ("-0.0", "0"),
            ("0", "0"),
            ("007", "007"),
        ];
        for (text, expected) in cases {
            assert_eq!(whole(text), Some(expected), "{text}");
        }
        for text in ["", ".", ".0", "1.5", "1e3", "a", "1.0.0", "+-1", "--1", "NaN"] {
            assert_eq!(whole(text), None, "{text}");
        }
        let of = |texts: &[&str]| {
            let mut numbers = WholeNumbers::default();
            texts.iter().for_each(|text| numbers.see(text));
            numbers.with_point()
        };
        assert!(of(&["1.0", "2"]));
        assert!(!of(&["1", "2"]) && !of(&["1.0", "x"]) && !of(&["1.0", "2.5"]) && !of(&[]));
    }
}
