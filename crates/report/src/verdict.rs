//! What the deciding measure says, in one sentence.

use crate::number::format_number;
use crate::{MeasureChange, Report};

/// Which way the deciding measure went, as far as its interval tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The whole interval of the change lies above 0.
    Above,
    /// The whole interval of the change lies below 0.
    Below,
    /// The interval of the change includes 0.
    Unclear,
    /// There is no interval, or nothing to compare with.
    Unknown,
}

/// The verdict of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Which way it went.
    pub direction: Direction,
    /// The deciding measure; `None` where nothing was measured.
    pub measure: Option<MeasureChange>,
}

impl Report {
    /// The verdict by the deciding measure ([`Report::main`]).
    pub fn verdict(&self) -> Verdict {
        let measure = self.main_measure().cloned();
        let direction = match measure.as_ref().and_then(|m| m.change.and(m.change_interval)) {
            Some([low, _]) if low > 0.0 => Direction::Above,
            Some([_, high]) if high < 0.0 => Direction::Below,
            Some([low, high]) if low.is_finite() && high.is_finite() => Direction::Unclear,
            _ => Direction::Unknown,
        };
        Verdict { direction, measure }
    }
}

impl Verdict {
    /// The verb for what happened.
    pub(crate) fn verb(&self) -> &'static str {
        match (self.direction, self.measure.as_ref().and_then(|m| m.change)) {
            (Direction::Above, _) => "rose by",
            (Direction::Below, _) => "fell by",
            _ => "changed by",
        }
    }

    /// What the interval says.
    pub(crate) fn ending(&self) -> &'static str {
        match self.direction {
            Direction::Above => "above 0",
            Direction::Below => "below 0",
            Direction::Unclear => "it includes 0, so chance over these queries explains it",
            Direction::Unknown => "without an interval, it may be chance",
        }
    }

    /// The verdict as plain text.
    pub fn sentence(&self) -> String {
        let Some(measure) = &self.measure else { return "Nothing was measured.".into() };
        let name = &measure.name;
        let signed = |value| format_number(Some(value), 4, true);
        match (measure.change, measure.change_interval) {
            (Some(change), Some([low, high])) => format!(
                "{name} {} {} (95 % interval {} to {}): {}.",
                self.verb(),
                signed(change),
                signed(low),
                signed(high),
                self.ending()
            ),
            (Some(change), None) => format!("{name} {} {}: {}.", self.verb(), signed(change), self.ending()),
            (None, _) => match measure.after.or(measure.before) {
                Some(value) => format!(
                    "{name} is {}; there is nothing to compare it with.",
                    format_number(Some(value), 4, false)
                ),
                None => format!("{name} was not measured."),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: Option<f64>, interval: Option<[f64; 2]>) -> Verdict {
        let measure = MeasureChange {
            name: "m".into(),
            after: Some(0.5),
            change,
            change_interval: interval,
            ..Default::default()
        };
        Report { measures: vec![measure], ..Default::default() }.verdict()
    }

    #[test]
    fn every_outcome() {
        assert_eq!(with(Some(0.1), Some([0.05, 0.2])).direction, Direction::Above);
        assert_eq!(with(Some(-0.1), Some([-0.2, -0.05])).direction, Direction::Below);
        assert_eq!(with(Some(0.1), Some([0.0, 0.2])).direction, Direction::Unclear);
        assert_eq!(with(Some(0.1), Some([f64::NAN, 0.2])).direction, Direction::Unknown);
        assert_eq!(with(Some(0.1), None).direction, Direction::Unknown);
        assert_eq!(with(None, None).sentence(), "m is 0.5000; there is nothing to compare it with.");
        assert_eq!(
            with(Some(-0.1), Some([-0.2, -0.05])).sentence(),
            "m fell by −0.1000 (95 % interval −0.2000 to −0.0500): below 0."
        );
        assert_eq!(Report::default().verdict().sentence(), "Nothing was measured.");
    }
}
