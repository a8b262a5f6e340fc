//! The maps before and after, side by side.

mod labels;

use std::fmt::Write;

use super::{Page, markers};
use crate::Maps;
use crate::escape::{escape, script_json, shorten, visible};
use labels::Label;

const SIDE: f64 = 560.0;
const MARGIN: f64 = 18.0;
/// Legends longer than this are closed at first.
const OPEN: usize = 40;

/// Where a coordinate in [−1, 1] lies on the drawing.
fn place([x, y]: [f32; 2]) -> [f64; 2] {
    let at = |x: f32| {
        let x = if x.is_finite() { f64::from(x).clamp(-1.0, 1.0) } else { 0.0 };
        ((SIDE / 2.0 + x * (SIDE / 2.0 - MARGIN)) * 10.0).round() / 10.0
    };
    [at(x), at(y)]
}

pub(super) fn maps(page: &mut Page, maps: &Maps) {
    if maps.points.is_empty() {
        return;
    }
    let before: Option<Vec<[f64; 2]>> = maps.points.iter().map(|point| point.before.map(place)).collect();
    let after: Vec<[f64; 2]> = maps.points.iter().map(|point| place(point.after)).collect();
    page.raw("<section id=\"maps\" aria-labelledby=\"maps-title\">\n<h2 id=\"maps-title\">");
    page.raw(if before.is_some() { "Maps before and after" } else { "Map" }).raw("</h2>\n");
    intro(page, maps, before.is_some());
    page.raw("<div class=\"maps\" id=\"map-set\">\n");
    if let Some(before) = &before {
        map(page, maps, before, 0, "Before");
    }
    map(page, maps, &after, 1, if before.is_some() { "After" } else { "After training" });
    page.raw("<div class=\"tip\" role=\"status\" hidden></div>\n</div>\n");
    legend(page, maps);
    let points: Vec<_> = maps
        .points
        .iter()
        .enumerate()
        .map(|(at, point)| {
            let old = before.as_ref().map(|before| before[at]);
            let class = point.class.filter(|&class| class < maps.classes.len());
            let text = visible(&shorten(&point.text, 2000));
            serde_json::json!([old.map(|p| p[0]), old.map(|p| p[1]), after[at][0], after[at][1], class, text])
        })
        .collect();
    let classes: Vec<String> = maps.classes.iter().map(|name| visible(&shorten(name, super::NAME))).collect();
    let data = serde_json::json!({ "classes": classes, "points": points });
    page.raw("<script type=\"application/json\" id=\"map-data\">")
        .raw(&script_json(&data))
        .raw("</script>\n</section>\n");
}

fn intro(page: &mut Page, maps: &Maps, compared: bool) {
    let drawn = &maps.drawn;
    page.raw("<p class=\"lead\">").count("/evidence/maps/points", drawn.points);
    if drawn.rows > drawn.points {
        page.raw(" of ").count("/evidence/maps/rows", drawn.rows);
    }
    page.raw(" rows");
    if drawn.classes > 0 {
        page.raw(" of ").count("/evidence/maps/classes", drawn.classes);
        if drawn.all_classes > drawn.classes {
            page.raw(" (of ").count("/evidence/maps/all_classes", drawn.all_classes).raw(")");
        }
        page.raw(if drawn.classes == 1 { " class" } else { " classes" });
    }
    page.raw(", laid out by ").text(&shorten(&maps.method, 200)).raw(". ");
    if compared {
        page.raw("Both maps show the same rows with the same settings and scale; the second is turned to lie as the first does. ");
    }
    if let Some(after) = maps.kept_after {
        page.raw("The share of a row’s ten nearest drawn rows that are among its ten nearest on the map is ");
        if let Some(before) = maps.kept_before {
            page.number("/evidence/maps/kept_before", Some(before), 2, false).raw(" before and ");
            page.number("/evidence/maps/kept_after", Some(after), 2, false).raw(" after: ");
        } else {
            page.number("/evidence/maps/kept_after", Some(after), 2, false).raw(": ");
        }
        page.raw("read heaps and their neighbours, not distances.");
    }
    page.raw("</p>\n");
}

fn map(page: &mut Page, maps: &Maps, points: &[[f64; 2]], side: usize, title: &str) {
    page.raw("<figure class=\"map\"><figcaption><h3>").raw(title).raw("</h3></figcaption>");
    page.raw(&format!(
        "<svg class=\"explore\" viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\" tabindex=\"0\" data-kind=\"map\" \
         data-side=\"{side}\" aria-label=\"Map {}: {} points",
        title.to_lowercase(),
        points.len()
    ));
    if !maps.classes.is_empty() {
        page.raw(&format!(" in {} classes", maps.classes.len()));
    }
    page.raw(". Arrow keys step from point to point.\">\n<g class=\"points\">");
    let classes = maps.classes.len().max(1);
    let mut of_class: Vec<Vec<[f64; 2]>> = vec![Vec::new(); classes];
    for (point, &at) in maps.points.iter().zip(points) {
        of_class[point.class.filter(|&class| class < classes).unwrap_or(0)].push(at);
    }
    for (class, members) in of_class.iter().enumerate().filter(|(_, members)| !members.is_empty()) {
        let outline = markers::outline(class);
        let mut path = format!("<path class=\"c{}\" data-class=\"{class}\" d=\"", markers::colour(class));
        for [x, y] in members {
            let _ = write!(path, "M{x} {y}{outline}");
        }
        page.raw(&path).raw("\"/>");
    }
    page.raw("</g>\n");
    if !maps.classes.is_empty() {
        for (name, size, most) in [("wide", 11.0, 24), ("narrow", 18.0, 18)] {
            page.raw("<g class=\"labels ").raw(name).raw("\" aria-hidden=\"true\">");
            for Label { class, x, y, text, from } in labels::labels(&of_class, &maps.classes, size, most) {
                let mut escaped = String::new();
                if let Some([from_x, from_y]) = from {
                    let base = if y < from_y { y + 2.0 } else { y - 0.7 * size };
                    page.raw(&format!(
                        "<path data-class=\"{class}\" d=\"M{from_x:.0} {from_y:.0}L{x:.0} {base:.0}\"/>"
                    ));
                }
                escape(&mut escaped, &text);
                page.raw(&format!("<text data-class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\">{escaped}</text>"));
            }
            page.raw("</g>\n");
        }
    }
    page.raw("<circle class=\"ring\" r=\"8\" visibility=\"hidden\"/></svg></figure>\n");
}

fn legend(page: &mut Page, maps: &Maps) {
    if maps.classes.is_empty() {
        return;
    }
    page.raw("<details class=\"legend\"").raw(if maps.classes.len() <= OPEN { " open>" } else { ">" });
    page.raw("<summary>Classes on the maps</summary>\n<ul>");
    for (class, name) in maps.classes.iter().enumerate() {
        page.raw(&format!(
            "<li><button type=\"button\" aria-pressed=\"false\" data-class=\"{class}\"><svg viewBox=\"-6 -6 12 12\" \
             width=\"12\" height=\"12\" aria-hidden=\"true\"><path class=\"c{}\" d=\"M0 0{}\"/></svg>",
            markers::colour(class),
            markers::outline(class)
        ));
        page.name(name).raw("</button></li>");
    }
    page.raw("</ul>\n</details>\n");
}
