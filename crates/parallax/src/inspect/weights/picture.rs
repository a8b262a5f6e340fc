//! The curves of a loss as an SVG picture.

use std::fmt::Write;

use super::Weights;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;

/// Two colours that are told apart by most eyes, also in grey.
const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];

pub(super) fn svg(weights: &Weights) -> String {
    let all = || weights.positive.iter().chain(&weights.negative).copied();
    let (mut low, mut high) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
    if low == high {
        (low, high) = (low - 1.0, high + 1.0);
    }
    let x = |s: f64| LEFT + (s + 1.0) / 2.0 * (WIDTH - LEFT - RIGHT);
    let y = |w: f64| HEIGHT - BOTTOM - (w - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, fill: &str, text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{text}</text>"
        );
    };
    text(LEFT, 20.0, "start", "black", &weights.title());
    text(LEFT, 36.0, "start", "#555", &weights.beside());
    text(LEFT, 54.0, "start", COLOURS[0], "drawn together, if positive");
    text(LEFT + 220.0, 54.0, "start", COLOURS[1], "pushed apart, if negative");
    text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16.0, "middle", "black", "cosine similarity of the pair");
    for s in [-1.0, -0.5, 0.0, 0.5, 1.0] {
        text(x(s), HEIGHT - BOTTOM + 18.0, "middle", "#555", &s.to_string());
    }
    for w in [low, 0.0, high] {
        text(LEFT - 8.0, y(w) + 4.0, "end", "#555", &format!("{w:.3}"));
    }
    let (from, to, zero) = (x(-1.0), x(1.0), y(0.0));
    let _ = writeln!(
        svg,
        "<path d=\"M{from:.1} {TOP}V{:.1}H{to:.1}M{from:.1} {zero:.1}H{to:.1}\" fill=\"none\" stroke=\"#999\"/>",
        HEIGHT - BOTTOM
    );
    for (values, colour) in [&weights.positive, &weights.negative].into_iter().zip(COLOURS) {
        let points: Vec<String> = weights
            .similarity
            .iter()
            .zip(values)
            .map(|(&s, &w)| format!("{:.1},{:.1}", x(s), y(w)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
    }
    svg.push_str("</svg>\n");
    svg
}
