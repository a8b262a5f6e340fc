//! The page of a [`Sheet`].

use std::fmt::Write;

use super::plane::{HEIGHT, Plane, WIDTH};
use super::{Page, charts, document, settings, ticks};
use crate::escape::shorten;
use crate::{IntervalLine, Part, Points, Section, Sheet, Table, format_number};

/// Rows of a table, and points of a picture, that the page keeps.
const MOST: usize = 2000;

impl Sheet {
    /// The page: one file that fetches nothing.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        let ids: Vec<String> = (0..self.sections.len()).map(|at| format!("section-{at}")).collect();
        let named = |section: &&(usize, &Section)| !section.1.title.is_empty();
        let sections: Vec<(usize, &Section)> = self.sections.iter().enumerate().collect();
        let links: Vec<(&str, &str)> = sections
            .iter()
            .filter(named)
            .map(|(at, section)| (ids[*at].as_str(), section.title.as_str()))
            .collect();
        document::head(&mut page, &self.title, &links);
        page.raw("<section class=\"headline\">\n<h1>").name(&self.title).raw("</h1>\n");
        if !self.summary.is_empty() {
            page.raw("<p class=\"summary\">").sentence(&self.summary).raw("</p>\n");
        }
        for verdict in &self.verdicts {
            let class = match verdict.good {
                Some(true) => "above",
                Some(false) => "below",
                None => "unclear",
            };
            page.raw("<div class=\"verdict ").raw(class).raw("\"><p class=\"sentence\">");
            page.sentence(&verdict.sentence).raw("</p>");
            if !verdict.from.is_empty() {
                page.raw("<p class=\"from\">").sentence(&verdict.from).raw("</p>");
            }
            page.raw("</div>\n");
        }
        if !self.facts.is_empty() {
            page.raw("<dl class=\"facts\">");
            for fact in &self.facts {
                page.raw("<div><dt>")
                    .name(&fact.name)
                    .raw("</dt><dd>")
                    .sentence(&fact.value)
                    .raw("</dd></div>");
            }
            page.raw("</dl>\n");
        }
        page.raw("</section>\n");
        let mut number = 0;
        for (at, section) in sections {
            page.raw(&format!("<section id=\"{}\">\n<h2>", ids[at])).name(&section.title).raw("</h2>\n");
            if !section.text.is_empty() {
                page.raw("<p class=\"lead\">").sentence(&section.text).raw("</p>\n");
            }
            let mut open = false;
            for part in &section.parts {
                // Pictures that follow one another stand side by side.
                let picture = matches!(part, Part::Lines(_) | Part::Points(_));
                if picture != open {
                    page.raw(if picture { "<div class=\"charts\">\n" } else { "</div>\n" });
                    open = picture;
                }
                number += 1;
                match part {
                    Part::Table(table) => draw_table(&mut page, table),
                    Part::Lines(chart) => charts::chart(&mut page, chart, number),
                    Part::Points(points) => draw_points(&mut page, points),
                    Part::Intervals(lines) => draw_intervals(&mut page, lines),
                    Part::Code(title, text) => {
                        page.raw("<details class=\"settings\"><summary>").name(title);
                        page.raw("</summary>\n<pre><code dir=\"ltr\">").text(&settings(text));
                        page.raw("</code></pre></details>\n");
                    }
                }
            }
            page.raw(if open { "</div>\n</section>\n" } else { "</section>\n" });
        }
        document::close(&mut page, &self.file);
        page.html
    }
}

fn draw_table(page: &mut Page, table: &Table) {
    page.raw("<table>");
    if !table.caption.is_empty() {
        page.raw("<caption>").sentence(&table.caption).raw("</caption>");
    }
    page.raw("<thead><tr>");
    for (at, head) in table.head.iter().enumerate() {
        page.raw(if at == 0 { "<th scope=\"col\">" } else { "<th scope=\"col\" class=\"n\">" });
        page.name(head).raw("</th>");
    }
    page.raw("</tr></thead>\n<tbody>\n");
    for row in table.rows.iter().take(MOST) {
        page.raw("<tr>");
        for (at, cell) in row.iter().enumerate() {
            page.raw(if at == 0 { "<th scope=\"row\">" } else { "<td class=\"n\">" });
            page.sentence(cell).raw(if at == 0 { "</th>" } else { "</td>" });
        }
        page.raw("</tr>\n");
    }
    page.raw("</tbody></table>\n");
}

/// A stretch that holds all values, with room on both sides.
fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if !(high - low).is_finite() {
        return None;
    }
    let room = if high > low { 0.06 * (high - low) } else { 0.5 * high.abs().max(1e-3) };
    Some((low - room, high + room))
}

fn draw_points(page: &mut Page, chart: &Points) {
    let place = |x: f64| if chart.log { x.log10() } else { x };
    let points: Vec<(usize, f64, f64)> = chart
        .points
        .iter()
        .take(MOST)
        .enumerate()
        .map(|(at, &(x, y))| (at, place(x), y))
        .filter(|(_, x, y)| x.is_finite() && y.is_finite())
        .collect();
    let across = match chart.names.len() {
        0 => span(points.iter().map(|p| p.1)),
        names => Some((-0.5, names as f64 - 0.5)),
    };
    let (Some(across), Some(up)) = (across, span(points.iter().map(|p| p.2))) else { return };
    let plane = Plane { x: across, y: up };
    page.raw("<figure class=\"chart\">\n<figcaption><h3>").name(&chart.title).raw("</h3></figcaption>\n");
    let mut svg = String::new();
    plane.grid(&mut svg);
    let mut tick = |x: f64, label: &str| plane.tick(&mut svg, x, label);
    if !chart.names.is_empty() {
        for (at, name) in chart.names.iter().enumerate() {
            let mut label = String::new();
            crate::escape::escape(&mut label, &shorten(name, 60 / chart.names.len().max(1)));
            tick(at as f64, &label);
        }
    } else if chart.log {
        let (low, high) = (across.0.ceil() as i32, across.1.floor() as i32);
        if low <= high {
            (low..=high).for_each(|power| tick(f64::from(power), &format!("1e{power}").replace('-', "−")));
        } else {
            for end in [across.0, across.1] {
                tick(end, &format!("{:.1e}", 10f64.powf(end)).replace('-', "−"));
            }
        }
    } else {
        ticks::ticks(across.0, across.1, 5).iter().for_each(|t| tick(t.value, &t.label));
    }
    Plane::axis(&mut svg, "");
    for (at, x, y) in points {
        let marked = chart.marked == Some(at);
        let (x, y) = plane.at((x, y));
        let _ = write!(svg, "<circle class=\"mark k0\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        if marked {
            let _ = write!(svg, "<circle class=\"ring\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>");
        }
    }
    page.raw(&format!("<svg class=\"explore\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\""));
    page.text(&shorten(&chart.title, 80)).raw("\">").raw(&svg).raw("</svg>\n");
    if !chart.note.is_empty() {
        page.raw("<p class=\"note\">").sentence(&chart.note).raw("</p>");
    }
    page.raw("</figure>\n");
}

fn draw_intervals(page: &mut Page, lines: &[IntervalLine]) {
    let ends = lines.iter().flat_map(|line| {
        let [low, high] = line.interval.unwrap_or([line.value; 2]);
        [line.value, low, high, line.margin]
    });
    let Some((low, high)) = span(ends) else { return };
    let at = |x: f64| 260.0 * (x - low) / (high - low);
    page.raw("<table class=\"measures\"><thead><tr><th scope=\"col\">comparison</th><th scope=\"col\" class=\"n\">difference</th>");
    page.raw("<th scope=\"col\" class=\"n\">95 % interval</th><th scope=\"col\" class=\"n\">margin</th><td></td></tr></thead>\n<tbody>\n");
    let number = |value: f64| format_number(Some(value), 4, true);
    for line in lines {
        let [from, to] = line.interval.unwrap_or([line.value; 2]);
        let class = match (from > line.margin, to < line.margin) {
            (true, _) => "above",
            (_, true) => "below",
            _ => "unclear",
        };
        page.raw("<tr><th scope=\"row\">").sentence(&line.name).raw("</th><td class=\"n\">");
        page.raw(&number(line.value)).raw("</td><td class=\"n\">");
        page.raw(&format!("{} to {}", number(from), number(to))).raw("</td><td class=\"n\">");
        page.raw(&number(line.margin))
            .raw("</td><td class=\"plot\"><svg viewBox=\"0 0 260 34\" aria-hidden=\"true\">");
        page.raw(&format!(
            "<path class=\"zero\" d=\"M{m:.1} 0V34\"/><path class=\"whisker {class}\" d=\"M{f:.1} 17H{t:.1}\"/><circle class=\"dot {class}\" cx=\"{v:.1}\" cy=\"17\" r=\"4\"/>",
            m = at(line.margin),
            f = at(from),
            t = at(to),
            v = at(line.value)
        ));
        page.raw("</svg></td></tr>\n");
    }
    page.raw("</tbody></table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chart, Fact, Series, SheetVerdict};

    #[test]
    fn a_sheet_shows_its_parts_and_nothing_from_outside_as_markup() {
        let points = Points {
            title: "rate <b>".into(),
            log: true,
            points: vec![(1e-5, 0.4), (1e-3, 0.6), (0.0, 0.5), (1e-4, f64::NAN)],
            marked: Some(1),
            ..Points::default()
        };
        let chart = Chart {
            title: "loss".into(),
            series: vec![Series { name: "a".into(), points: vec![(1.0, 2.0), (2.0, 1.0)] }],
            ..Chart::default()
        };
        let line =
            IntervalLine { name: "b - a".into(), value: 0.02, interval: Some([0.01, 0.03]), margin: 0.0 };
        let table = Table {
            caption: "c".into(),
            head: vec!["x".into(), "y".into()],
            rows: vec![vec!["<i>".into(), "1".into()]],
        };
        let parts = vec![
            Part::Table(table),
            Part::Lines(chart),
            Part::Points(points),
            Part::Intervals(vec![line]),
            Part::Code("settings".into(), "a = 1\n</script>".into()),
        ];
        let sheet = Sheet {
            title: "a & b".into(),
            verdicts: vec![SheetVerdict { good: Some(true), sentence: "holds".into(), from: String::new() }],
            sections: vec![Section { title: "One".into(), text: String::new(), parts }],
            facts: vec![Fact { name: "n".into(), value: "v".into() }],
            file: "result.json".into(),
            ..Sheet::default()
        };
        let page = sheet.render();
        assert!(page.starts_with("<!doctype html>") && page.contains("a &amp; b"));
        assert!(
            page.contains("&lt;i&gt;")
                && page.contains("rate &lt;b&gt;")
                && !page.contains("a = 1\n</script>")
        );
        // Two points can be drawn, one of them marked, beside the points of the chart.
        assert_eq!(page.matches("<circle class=\"ring\"").count(), 2);
        assert!(
            page.contains("result.json") && page.contains("whisker above") && page.contains("verdict above")
        );
        assert_eq!(page.matches("<div").count(), page.matches("</div>").count());
    }
}
