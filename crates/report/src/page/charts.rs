//! Line charts against the step.

use std::fmt::Write;

use super::plane::{HEIGHT, Plane, WIDTH};
use super::{Page, ticks};
use crate::escape::{script_json, shorten};
use crate::{Chart, Series, format_number};

/// Points drawn of a line; of longer ones the lowest and highest of each stretch.
const POINTS: usize = 600;
/// Lines of this many points have no mark at each, and may be smoothed.
const SMOOTHED: usize = 40;
const LINES: usize = 8;

/// Whether there is a chart to draw.
pub(super) fn any(charts: &[Chart]) -> bool {
    charts.iter().any(|chart| plane(chart).is_some())
}

/// One chart by itself; nothing where it has no points. `number` tells it from the other charts of the page.
pub(super) fn chart(page: &mut Page, chart: &Chart, number: usize) {
    if let Some(plane) = plane(chart) {
        draw(page, chart, &plane, number);
    }
}

pub(super) fn charts(page: &mut Page, charts: &[Chart]) {
    if !any(charts) {
        return;
    }
    page.raw(
        "<section id=\"curves\" aria-labelledby=\"curves-title\">\n<h2 id=\"curves-title\">Curves</h2>\n",
    );
    page.raw("<div class=\"charts\">\n");
    for (at, chart) in charts.iter().enumerate() {
        if let Some(plane) = plane(chart) {
            draw(page, chart, &plane, at);
        }
    }
    page.raw("</div>\n</section>\n");
}

fn finite(series: &Series) -> impl Iterator<Item = (f64, f64)> + '_ {
    series.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
}

/// The plane that holds all points of a chart, where it has any.
fn plane(chart: &Chart) -> Option<Plane> {
    let mut points = chart.series.iter().take(LINES).flat_map(finite);
    let first = points.next()?;
    let mut plane = Plane { x: (first.0, first.0), y: (first.1, first.1) };
    for (x, y) in points {
        plane.x = (plane.x.0.min(x), plane.x.1.max(x));
        plane.y = (plane.y.0.min(y), plane.y.1.max(y));
    }
    let widen = |(low, high): (f64, f64), share: f64| {
        let margin = if high > low { (high - low) * share } else { high.abs().max(1e-6) * 0.5 };
        (low - margin, high + margin)
    };
    // A line that comes near zero is shown down to zero.
    let to_zero = plane.y.0 >= 0.0 && plane.y.0 < 0.35 * plane.y.1;
    plane.y = widen(plane.y, 0.07);
    if to_zero {
        plane.y.0 = 0.0;
    }
    if plane.x.0 == plane.x.1 {
        plane.x = (plane.x.0 - 1.0, plane.x.1 + 1.0);
    }
    let sane = |(low, high): (f64, f64)| (high - low).is_finite() && high > low;
    (sane(plane.x) && sane(plane.y)).then_some(plane)
}

/// A line through points, broken where a value is missing.
fn path(plane: &Plane, points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut pen = false;
    for &point in points {
        if !(point.0.is_finite() && point.1.is_finite()) {
            pen = false;
            continue;
        }
        let (x, y) = plane.at(point);
        let _ = write!(path, "{}{x:.1} {y:.1}", if pen { "L" } else { "M" });
        pen = true;
    }
    path
}

fn draw(page: &mut Page, chart: &Chart, plane: &Plane, number: usize) {
    let series = &chart.series[..chart.series.len().min(LINES)];
    page.raw("<figure class=\"chart\">\n<figcaption><h3 id=\"chart-").raw(&number.to_string()).raw("\">");
    page.name(&chart.title).raw("</h3>");
    if series.len() > 1 {
        page.raw("<ul class=\"key\">");
        for (at, line) in series.iter().enumerate() {
            page.raw(&format!("<li><span class=\"swatch k{at}\" aria-hidden=\"true\"></span>"));
            page.name(&line.name).raw("</li>");
        }
        page.raw("</ul>");
    }
    page.raw("</figcaption>\n");
    let mut svg = String::new();
    plane.grid(&mut svg);
    for tick in ticks::ticks(plane.x.0, plane.x.1, 5).iter().filter(|tick| tick.value.fract() == 0.0) {
        plane.tick(&mut svg, tick.value, &tick.label);
    }
    Plane::axis(&mut svg, "step");
    let mut data = Vec::new();
    for (at, line) in series.iter().enumerate() {
        let points = thinned(&line.points);
        let smooth = chart.smooth && finite(line).count() >= SMOOTHED;
        let dense = finite(line).count() >= SMOOTHED;
        let class = if smooth { "raw" } else { "line" };
        let _ = write!(svg, "<path class=\"{class} k{at}\" d=\"{}\"/>", path(plane, &points));
        if smooth {
            let _ =
                write!(svg, "<path class=\"line k{at}\" d=\"{}\"/>", path(plane, &thinned(&smoothed(line))));
        } else if !dense {
            for point in points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()) {
                let (x, y) = plane.at(point);
                let _ = write!(svg, "<circle class=\"mark k{at}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
            }
        }
        for point in points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let (x, y) = plane.at(point);
            data.push((point, x, y, at));
        }
    }
    data.sort_by(|a, b| a.0.0.total_cmp(&b.0.0).then(a.3.cmp(&b.3)));
    let words = words(chart);
    page.raw("<div class=\"plane\">");
    page.raw(&format!("<svg class=\"explore\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" tabindex=\"0\" data-kind=\"chart\" "));
    page.raw(&format!("aria-describedby=\"chart-words-{number}\" aria-label=\""))
        .text(&shorten(&chart.title, 80));
    page.raw(". Arrow keys step through the points.\">").raw(&svg);
    page.raw("<circle class=\"ring\" r=\"5\" visibility=\"hidden\"/></svg>");
    page.raw("<div class=\"tip\" role=\"status\" hidden></div></div>\n<p class=\"note\" id=\"chart-words-");
    page.raw(&number.to_string()).raw("\">").sentence(&words);
    if !chart.note.is_empty() {
        page.raw(" ").sentence(&chart.note);
    }
    page.raw("</p>\n<script type=\"application/json\">");
    let points: Vec<_> = data
        .iter()
        .map(|&((step, value), x, y, at)| {
            let name = if series.len() > 1 { shorten(&series[at].name, 40) } else { String::new() };
            let value = readable(value);
            let step = format_number(Some(step), usize::from(step.fract() != 0.0), false);
            let says = if name.is_empty() {
                format!("step {step}: {value}")
            } else {
                format!("step {step}: {name} {value}")
            };
            serde_json::json!([rounded(x), rounded(y), says])
        })
        .collect();
    page.raw(&script_json(&serde_json::Value::from(points))).raw("</script>\n</figure>\n");
}

fn rounded(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// Four significant digits.
fn readable(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}").replace('-', "−");
    }
    let digits = if size == 0.0 { 0 } else { (3 - size.log10().floor() as i32).clamp(0, 6) };
    format_number(Some(value), digits as usize, false)
}

/// The chart in words: first, last and extreme values of each line.
fn words(chart: &Chart) -> String {
    let one = |line: &Series| -> Option<String> {
        let points: Vec<(f64, f64)> = finite(line).collect();
        let (first, last) = (points.first()?, points.last()?);
        let step = |x: f64| format_number(Some(x), 0, false);
        let name = if chart.series.len() > 1 { format!("{}: ", line.name) } else { String::new() };
        if points.len() == 1 {
            return Some(format!("{name}{} at step {}.", readable(first.1), step(first.0)));
        }
        let low = points.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a })?;
        let high = points.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a })?;
        if low.1 == high.1 {
            return Some(format!(
                "{name}{} throughout, steps {} to {}.",
                readable(low.1),
                step(first.0),
                step(last.0)
            ));
        }
        Some(format!(
            "{name}{} at step {}, {} at step {}; lowest {} at {}, highest {} at {}.",
            readable(first.1),
            step(first.0),
            readable(last.1),
            step(last.0),
            readable(low.1),
            step(low.0),
            readable(high.1),
            step(high.0)
        ))
    };
    chart.series.iter().take(LINES).filter_map(one).collect::<Vec<_>>().join(" ")
}

/// At most [`POINTS`] points: of each stretch the lowest and the highest, in order of the step, so that spikes stay.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(POINTS / 2);
    let mut kept = Vec::with_capacity(POINTS);
    for part in points.chunks(stretch) {
        let values = || part.iter().enumerate().filter(|(_, p)| p.0.is_finite() && p.1.is_finite());
        let low = values().min_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let high = values().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let (Some((low, _)), Some((high, _))) = (low, high) else {
            kept.push((part[0].0, f64::NAN));
            continue;
        };
        kept.push(part[low.min(high)]);
        if low != high {
            kept.push(part[low.max(high)]);
        }
    }
    kept
}

/// The mean of the points around each, over a tenth of the line, and over half of that at its ends.
fn smoothed(line: &Series) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = finite(line).collect();
    let half = (points.len() / 20).max(2);
    let mut sums = vec![0.0];
    for point in &points {
        sums.push(sums[sums.len() - 1] + point.1);
    }
    (0..points.len())
        .map(|at| {
            let (from, to) = (at.saturating_sub(half), (at + half + 1).min(points.len()));
            (points[at].0, (sums[to] - sums[from]) / (to - from) as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_spikes_and_gaps() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (i as f64, 1.0)).collect();
        points[7_777].1 = 50.0;
        points[1_234].1 = -50.0;
        points[4_000..4_200].iter_mut().for_each(|p| p.1 = f64::NAN);
        let kept = thinned(&points);
        assert!(kept.len() <= POINTS && kept.is_sorted_by(|a, b| a.0 < b.0));
        assert!(kept.contains(&(7_777.0, 50.0)) && kept.contains(&(1_234.0, -50.0)));
        assert!(kept.iter().any(|p| p.1.is_nan()));
    }

    #[test]
    fn smoothing_is_a_moving_mean() {
        let line = |value: fn(f64) -> f64| Series {
            name: String::new(),
            points: (0..100).map(|i| (i as f64, value(i as f64))).collect(),
        };
        let straight = smoothed(&line(|x| 3.0 * x));
        assert!(straight[5..95].iter().all(|point| (point.1 - 3.0 * point.0).abs() < 1e-9));
        assert!((straight[0].1 - 7.5).abs() < 1e-9, "mean of 0, 3, ..., 15");
        assert!(smoothed(&line(|_| 2.0)).iter().all(|point| (point.1 - 2.0).abs() < 1e-12));
    }

    #[test]
    fn words_name_the_extremes() {
        let points = vec![(1.0, 0.9), (2.0, 0.2), (3.0, f64::NAN), (4.0, 0.5)];
        let chart = Chart { series: vec![Series { name: "a".into(), points }], ..Default::default() };
        assert_eq!(
            words(&chart),
            "0.9000 at step 1, 0.5000 at step 4; lowest 0.2000 at 2, highest 0.9000 at 1."
        );
        assert_eq!(readable(2e-5), "2.00e−5");
        assert_eq!(readable(12345.6), "12,346");
    }
}
