//! What was done, and what came of it.

use super::Page;
use crate::number::pointer_step;
use crate::{Direction, Report};

pub(super) fn headline(page: &mut Page, report: &Report) {
    page.raw("<section class=\"headline\" aria-labelledby=\"title\">\n<h1 id=\"title\">");
    page.name(if report.title.is_empty() { "Run" } else { &report.title }).raw("</h1>\n");
    if !report.summary.is_empty() {
        page.raw("<p class=\"summary\">").sentence(&report.summary).raw("</p>\n");
    }
    verdict(page, report);
    let seed = report.seed.map(|seed| seed.to_string()).unwrap_or_default();
    let facts = [
        ("Data", &report.data),
        ("Model", &report.model),
        ("Measured on", &report.measured_on),
        ("Seed", &seed),
    ];
    if facts.iter().any(|fact| !fact.1.is_empty()) {
        page.raw("<dl class=\"about\">");
        for (name, value) in facts.iter().filter(|fact| !fact.1.is_empty()) {
            page.raw(&format!("<div><dt>{name}</dt><dd>")).sentence(value).raw("</dd></div>");
        }
        page.raw("</dl>\n");
    }
    super::run::advice(page, report);
    page.raw("</section>\n");
}

fn verdict(page: &mut Page, report: &Report) {
    let verdict = report.verdict();
    let Some(measure) = &verdict.measure else {
        if report.charts.is_empty() && report.evidence.is_none() {
            page.raw("<p class=\"verdict unknown\">Nothing was measured.</p>\n");
        }
        return;
    };
    let class = match verdict.direction {
        Direction::Above => "above",
        Direction::Below => "below",
        Direction::Unclear => "unclear",
        Direction::Unknown => "unknown",
    };
    let key = format!("/measures/{}", pointer_step(&measure.name));
    page.raw("<div class=\"verdict ")
        .raw(class)
        .raw("\">\n<p class=\"sentence\"><strong>")
        .name(&measure.name);
    match (measure.change, measure.change_interval) {
        (Some(change), interval) => {
            page.raw(" ").raw(verdict.verb()).raw(" ");
            page.number(format!("{key}/change"), Some(change), 4, true).raw("</strong>");
            if let Some(interval) = interval {
                page.raw(" (95 % interval ");
                page.interval(&format!("{key}/change_interval"), interval, true).raw(")");
            }
            page.raw(": ").raw(verdict.ending()).raw(".");
        }
        (None, _) if measure.after.or(measure.before).is_some() => {
            let side = if measure.after.is_some() { "after" } else { "before" };
            page.raw(" is ");
            page.number(format!("{key}/{side}"), measure.after.or(measure.before), 4, false);
            page.raw("</strong>; there is nothing to compare it with.");
        }
        (None, _) => {
            page.raw("</strong> was not measured.");
        }
    }
    page.raw("</p>\n");
    if let (Some(before), Some(after)) = (measure.before, measure.after) {
        page.raw("<p class=\"from\"><span class=\"label\">before</span> ");
        page.number(format!("{key}/before"), Some(before), 4, false);
        page.raw(
            " <span class=\"arrow\" aria-hidden=\"true\">→</span> <span class=\"label\">after</span> <b>",
        );
        page.number(format!("{key}/after"), Some(after), 4, false).raw("</b></p>\n");
    }
    page.raw("</div>\n");
}
