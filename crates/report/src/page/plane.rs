//! The plane that a chart is drawn on: its scales, its grid and its axis.

use std::fmt::Write;

use super::ticks;

pub(super) const WIDTH: f64 = 360.0;
pub(super) const HEIGHT: f64 = 220.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 38.0;
/// Where the axis lies.
const FLOOR: f64 = HEIGHT - BOTTOM;

/// The stretches of numbers that a plane shows, each of a finite length above 0.
pub(super) struct Plane {
    pub(super) x: (f64, f64),
    pub(super) y: (f64, f64),
}

impl Plane {
    /// Where a point lies, in units of the picture.
    pub(super) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let up = (y - self.y.0) / (self.y.1 - self.y.0);
        (LEFT + across * (WIDTH - LEFT - RIGHT), FLOOR - up * (FLOOR - TOP))
    }

    /// Lines across at round values, with their numbers.
    pub(super) fn grid(&self, svg: &mut String) {
        for tick in ticks::ticks(self.y.0, self.y.1, 5) {
            let (_, y) = self.at((self.x.0, tick.value));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                tick.label
            );
        }
    }

    /// A mark below the axis, with what it says (as markup).
    pub(super) fn tick(&self, svg: &mut String, x: f64, label: &str) {
        let (x, _) = self.at((x, self.y.0));
        let _ = write!(
            svg,
            "<path class=\"tick\" d=\"M{x:.1} {FLOOR}v4\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            FLOOR + 17.0
        );
    }

    /// The axis, and what it is of.
    pub(super) fn axis(svg: &mut String, of: &str) {
        let right = WIDTH - RIGHT;
        let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {FLOOR}H{right}\"/>");
        if !of.is_empty() {
            let _ = write!(svg, "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{of}</text>", HEIGHT - 4.0);
        }
    }
}
