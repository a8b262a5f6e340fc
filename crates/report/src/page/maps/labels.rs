//! Names of classes at the medians of their points, where there is room.

use crate::escape::shorten;

use super::SIDE;

/// A name and where its middle stands.
#[derive(Debug, PartialEq)]
pub(super) struct Label {
    pub(super) class: usize,
    pub(super) x: f64,
    /// The base line.
    pub(super) y: f64,
    pub(super) text: String,
    /// Where the median is, if the label stands off it.
    pub(super) from: Option<[f64; 2]>,
}

/// Places one label a class in letters of `size`, larger classes first; a label that finds no free place within two
/// lines of its median is left out.
pub(super) fn labels(of_class: &[Vec<[f64; 2]>], names: &[String], size: f64, most: usize) -> Vec<Label> {
    let mut order: Vec<usize> = (0..of_class.len()).filter(|&class| !of_class[class].is_empty()).collect();
    order.sort_by_key(|&class| (std::cmp::Reverse(of_class[class].len()), class));
    let mut taken: Vec<[f64; 4]> = Vec::new();
    let mut labels = Vec::new();
    for class in order {
        let text = shorten(names.get(class).map_or("", String::as_str), most);
        // A letter is at most about 0.64 of the size wide on average, and an ideograph about twice as wide.
        let letters: f64 = text.chars().map(|c| if c < '\u{1100}' { 1.0 } else { 1.8 }).sum();
        let (width, height) = (letters * LETTER * size + 6.0, size * 1.15);
        if width > SIDE {
            continue;
        }
        let [middle_x, middle_y] = median(&of_class[class]);
        let free = SHIFTS.iter().find_map(|[across, down]| {
            let x = (middle_x + across * width).clamp(width / 2.0, SIDE - width / 2.0);
            let y = (middle_y + down * height).clamp(height / 2.0, SIDE - height / 2.0);
            let area = [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0];
            let meets = |other: &[f64; 4]| {
                area[0] < other[2] && other[0] < area[2] && area[1] < other[3] && other[1] < area[3]
            };
            (!taken.iter().any(meets)).then_some((area, x, y))
        });
        if let Some((area, x, y)) = free {
            taken.push(area);
            // A line joins the label to its points, unless it stands on them.
            let off = (y - middle_y).abs() > 0.9 * height || (x - middle_x).abs() > 0.35 * width;
            let from = off.then_some([middle_x, middle_y]);
            labels.push(Label { class, x, y: y + 0.35 * size, text, from });
        }
    }
    labels
}

/// Width of a letter, as a share of its size.
const LETTER: f64 = 0.64;

/// Where a label is tried, in widths and heights from the median.
const SHIFTS: [[f64; 2]; 13] = [
    [0.0, 0.0],
    [0.0, -1.05],
    [0.0, 1.05],
    [0.3, -0.6],
    [-0.3, -0.6],
    [0.3, 0.6],
    [-0.3, 0.6],
    [0.0, -2.1],
    [0.0, 2.1],
    [0.5, 0.0],
    [-0.5, 0.0],
    [0.4, -1.6],
    [-0.4, 1.6],
];

/// The median of each coordinate.
fn median(points: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|axis| {
        let mut values: Vec<f64> = points.iter().map(|point| point[axis]).collect();
        values.sort_by(f64::total_cmp);
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_medians_and_do_not_meet() {
        let of_class: Vec<Vec<[f64; 2]>> = (0..30)
            .map(|class| {
                let x = 60.0 + f64::from(class % 6) * 80.0;
                let y = 40.0 + f64::from(class / 6) * 14.0;
                vec![[x - 5.0, y], [x, y], [x + 500.0, y]]
            })
            .collect();
        let names: Vec<String> = (0..30).map(|class| format!("class number {class}")).collect();
        let found = labels(&of_class, &names, 11.0, 24);
        assert!(found.len() > 10 && found.len() < 30, "{}", found.len());
        assert_eq!((found[0].class, found[0].x), (0, 60.0));
        for (at, a) in found.iter().enumerate() {
            for b in &found[..at] {
                let apart = (a.y - b.y).abs() >= 11.0 || (a.x - b.x).abs() >= 14.0 * LETTER * 11.0;
                assert!(apart, "{a:?} {b:?}");
            }
        }
        assert_eq!(median(&[[1.0, 5.0], [3.0, 7.0]]), [2.0, 6.0]);
    }
}
