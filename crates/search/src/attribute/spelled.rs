use serde_json::Value as Json;

use super::AttributeKind;

/// Finds the type of a column whose values are spelled out, as those of a CSV file are.
///
/// Show it every cell with [`observe`](Self::observe), then turn the cells into values with [`value`](Self::value). A
/// column is of truth values if every cell is `true` or `false`; of whole numbers or of numbers if every cell is spelled
/// as JSON spells one (so that codes such as `007` or `+1` stay texts) and none would lose digits; of texts otherwise.
/// Empty cells are null and decide nothing.
///
/// ```
/// use parallax_search::SpelledColumn;
/// let mut column = SpelledColumn::default();
/// ["3", "", "4.5"].iter().for_each(|cell| column.observe(cell));
/// assert_eq!(column.value("3"), serde_json::json!(3.0));
/// assert_eq!(column.value(""), serde_json::Value::Null);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpelledColumn {
    /// The type so far; `None` before the first cell that is not empty.
    kind: Option<AttributeKind>,
    /// A whole number beyond 2⁵³ was seen.
    wide: bool,
}

/// The number that `cell` spells: whole or not.
fn number(cell: &str) -> Option<Json> {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match serde_json::from_str::<serde_json::Number>(cell) {
        Ok(number) if number.is_i64() => Some(Json::Number(number)),
        // What has no dot or exponent is a whole number that is too long: its digits would be lost.
        Ok(number) if !number.is_u64() && cell.contains(['.', 'e', 'E']) => Some(Json::Number(number)),
        _ => None,
    }
}

impl SpelledColumn {
    /// Takes one more cell into account.
    pub fn observe(&mut self, cell: &str) {
        use AttributeKind::{Bool, F64, I64, String};
        if cell.is_empty() || self.kind == Some(String) {
            return;
        }
        let found = match cell {
            "true" | "false" => Bool,
            _ => match number(cell) {
                None => String,
                Some(number) => match number.as_i64() {
                    Some(n) => {
                        self.wide |= n.unsigned_abs() > super::EXACT;
                        I64
                    }
                    None => F64,
                },
            },
        };
        self.kind = Some(match (self.kind, found) {
            (None, found) => found,
            (Some(a), b) if a == b => a,
            (Some(I64 | F64), I64 | F64) => F64,
            _ => String,
        });
        if self.kind == Some(F64) && self.wide {
            self.kind = Some(String);
        }
    }

    /// The type of the column, from what was observed.
    pub fn kind(&self) -> AttributeKind {
        self.kind.unwrap_or(AttributeKind::Null)
    }

    /// The value of a cell in the type of the column; null for an empty cell. A cell that was not observed and does not
    /// fit becomes a text.
    pub fn value(&self, cell: &str) -> Json {
        if cell.is_empty() {
            return Json::Null;
        }
        let typed = match self.kind() {
            AttributeKind::Bool => match cell {
                "true" => Some(true.into()),
                "false" => Some(false.into()),
                _ => None,
            },
            AttributeKind::I64 => number(cell),
            AttributeKind::F64 => number(cell).and_then(|number| number.as_f64()).map(Json::from),
            _ => None,
        };
        typed.unwrap_or_else(|| cell.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_get_the_narrowest_type_that_holds_every_cell() {
        for (cells, want) in [
            (&["1", "-20", ""][..], json!([1, -20, null])),
            (&["1", "2.5", "1e3"], json!([1.0, 2.5, 1000.0])),
            (&["true", "", "false"], json!([true, null, false])),
            (&["true", "1"], json!(["true", "1"])),
            (&["007", "8"], json!(["007", "8"])),
            (&["1", "x"], json!(["1", "x"])),
            (&["2024-01-01", "2024"], json!(["2024-01-01", "2024"])),
            (&["NaN", "1"], json!(["NaN", "1"])),
            (&["1e999", "1"], json!(["1e999", "1"])),
            (&[" 1", "1 "], json!([" 1", "1 "])),
            (&["18446744073709551615"], json!(["18446744073709551615"])),
            (&["9007199254740993", "1"], json!([9007199254740993i64, 1])),
            (&["9007199254740993", "0.5"], json!(["9007199254740993", "0.5"])),
            (&["", ""], json!([null, null])),
        ] {
            let mut column = SpelledColumn::default();
            cells.iter().for_each(|cell| column.observe(cell));
            let got: Vec<Json> = cells.iter().map(|cell| column.value(cell)).collect();
            assert_eq!(Json::from(got), want, "{cells:?} as {:?}", column.kind());
        }
    }
}
