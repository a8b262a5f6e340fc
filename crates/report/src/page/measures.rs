//! The table of measures, with a drawing of the intervals of change.

use std::fmt::Write;

use super::{Page, ticks};
use crate::number::pointer_step;
use crate::{MeasureChange, Report};

pub(super) fn measures(page: &mut Page, report: &Report) {
    let measures = report.unique_measures();
    if measures.is_empty() {
        return;
    }
    let compared = measures.iter().any(|m| m.before.is_some());
    let frame = Frame::new(&measures);
    let main = report.main_measure().map(|measure| measure.name.as_str());
    page.raw("<section id=\"measures\" aria-labelledby=\"measures-title\">\n<h2 id=\"measures-title\">Measures</h2>\n");
    page.raw("<table class=\"measures\"><caption>");
    if let Some(queries) = report.queries {
        page.raw("Means over ").count("/queries", queries).raw(" queries");
        if let Some(dropped) = report.dropped.filter(|&dropped| dropped > 0) {
            page.raw("; ").count("/dropped", dropped).raw(" left out because nothing is relevant for them");
        }
        page.raw(". ");
    }
    page.raw(if compared {
        "Small figures are 95 % intervals; the change is paired, query by query."
    } else {
        "Small figures are 95 % intervals."
    });
    page.raw("</caption>\n<thead><tr><th scope=\"col\">Measure</th>");
    if compared {
        page.raw("<th scope=\"col\" class=\"n\">Before</th><th scope=\"col\" class=\"n\">After</th>");
        page.raw("<th scope=\"col\" class=\"n\">Change</th>");
        if frame.is_some() {
            page.raw("<td class=\"plot\"></td>");
        }
    } else {
        page.raw("<th scope=\"col\" class=\"n\">Value</th>");
    }
    page.raw("</tr></thead>\n<tbody>\n");
    for measure in &measures {
        let key = format!("/measures/{}", pointer_step(&measure.name));
        page.raw(if Some(measure.name.as_str()) == main { "<tr class=\"main\">" } else { "<tr>" });
        page.raw("<th scope=\"row\">").name(&measure.name).raw("</th>");
        if compared {
            cell(page, &format!("{key}/before"), measure.before, measure.before_interval, false);
        }
        cell(page, &format!("{key}/after"), measure.after, measure.after_interval, false);
        if compared {
            cell(page, &format!("{key}/change"), measure.change, measure.change_interval, true);
            if let Some(frame) = &frame {
                page.raw("<td class=\"plot\">").raw(&frame.row(measure)).raw("</td>");
            }
        }
        page.raw("</tr>\n");
    }
    page.raw("</tbody>");
    if let Some(frame) = &frame {
        page.raw("<tfoot class=\"plot\" aria-hidden=\"true\"><tr><td colspan=\"4\"></td><td class=\"plot\">");
        page.raw(&frame.axis()).raw("</td></tr></tfoot>");
    }
    page.raw("</table>\n</section>\n");
}

fn cell(page: &mut Page, key: &str, value: Option<f64>, interval: Option<[f64; 2]>, sign: bool) {
    page.raw("<td class=\"n\">").number(key, value, 4, sign);
    if let (Some(_), Some(interval)) = (value, interval) {
        page.raw("<small>").interval(&format!("{key}_interval"), interval, sign).raw("</small>");
    }
    page.raw("</td>");
}

const WIDTH: f64 = 260.0;

/// The scale on which all changes are drawn.
struct Frame {
    low: f64,
    high: f64,
}

impl Frame {
    fn new(measures: &[&MeasureChange]) -> Option<Self> {
        let ends = measures.iter().filter(|m| m.change.is_some()).filter_map(|m| m.change_interval).flatten();
        let ends: Vec<f64> = ends.filter(|x| x.is_finite()).collect();
        if ends.is_empty() {
            return None;
        }
        let low = ends.iter().copied().fold(0.0, f64::min);
        let high = ends.iter().copied().fold(0.0, f64::max);
        let margin = ((high - low) * 0.06).max(1e-9);
        Some(Frame { low: low - margin, high: high + margin })
    }

    fn x(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low) * WIDTH
    }

    /// The interval of one measure; the numbers stand in the cell beside it.
    fn row(&self, measure: &MeasureChange) -> String {
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} 58\" aria-hidden=\"true\">");
        let zero = self.x(0.0);
        let _ = write!(svg, "<path class=\"zero\" d=\"M{zero:.1} 0V58\"/>");
        if let (Some(change), Some([low, high])) = (measure.change, measure.change_interval)
            && [change, low, high].iter().all(|x| x.is_finite())
        {
            let class = if low > 0.0 {
                "above"
            } else if high < 0.0 {
                "below"
            } else {
                "unclear"
            };
            let (low, high) = (self.x(low), self.x(high));
            let _ = write!(
                svg,
                "<path class=\"whisker {class}\" d=\"M{low:.1} 29H{high:.1}M{low:.1} 25v8M{high:.1} 25v8\"/>\
                 <circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"29\" r=\"4\"/>",
                self.x(change)
            );
        }
        svg + "</svg>"
    }

    fn axis(&self) -> String {
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} 22\" aria-hidden=\"true\">");
        for tick in ticks::ticks(self.low, self.high, 4) {
            let x = self.x(tick.value);
            let anchor = if x < 20.0 {
                "start"
            } else if x > WIDTH - 20.0 {
                "end"
            } else {
                "middle"
            };
            let label = if tick.value > 0.0 { format!("+{}", tick.label) } else { tick.label };
            let _ = write!(
                svg,
                "<path class=\"tick\" d=\"M{x:.1} 0v4\"/><text x=\"{x:.1}\" y=\"16\" text-anchor=\"{anchor}\">{label}</text>"
            );
        }
        svg + "</svg>"
    }
}
