/// Rows of cells as lines with aligned columns, two spaces apart; the columns in `right` end together instead of beginning
/// together.
pub(super) fn grid(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in rows {
        // The last cell of a row may run on: it does not push others apart.
        for (width, cell) in widths.iter_mut().zip(&row[..row.len().saturating_sub(1)]) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = rows.iter().map(|row| {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if column > 0 {
                line.push_str("  ");
            }
            match right.contains(&column) {
                true => line.extend([&fill, cell.as_str()]),
                false => line.extend([cell.as_str(), &fill]),
            }
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::grid;

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let rows = [row(&["a", "bé", "c"]), row(&["long", "1", "x"]), row(&["m", "a note that is long"])];
        assert_eq!(grid(&rows, &[1]), "a     bé  c\nlong   1  x\nm     a note that is long");
        assert_eq!(grid(&[], &[]), "");
    }
}
