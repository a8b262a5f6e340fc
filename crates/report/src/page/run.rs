//! How the numbers came about: what it took, definitions, versions, settings.

use super::{Page, settings};
use crate::Report;
use crate::number::pointer_step;

/// Whether there is anything to show.
pub(super) fn any(report: &Report) -> bool {
    !(report.figures.is_empty()
        && report.facts.is_empty()
        && report.config.trim().is_empty()
        && report.measures.iter().all(|measure| measure.definition.is_empty()))
}

/// What a reader should know before relying on the result.
pub(super) fn advice(page: &mut Page, report: &Report) {
    if report.advice.is_empty() {
        return;
    }
    page.raw("<aside class=\"advice\" aria-labelledby=\"advice-title\"><h2 id=\"advice-title\">Before you rely on this</h2><ul>");
    for advice in report.advice.iter().take(50) {
        page.raw("<li>").sentence(advice).raw("</li>");
    }
    page.raw("</ul></aside>\n");
}

pub(super) fn run(page: &mut Page, report: &Report) {
    if !any(report) {
        return;
    }
    page.raw("<section id=\"run\" aria-labelledby=\"run-title\">\n<h2 id=\"run-title\">The run</h2>\n");
    let figures = report.unique_figures();
    if !figures.is_empty() || !report.facts.is_empty() {
        page.raw("<dl class=\"facts\">");
        for figure in figures.into_iter().take(100) {
            page.raw("<div><dt>").name(&figure.name).raw("</dt><dd>");
            let key = format!("/figures/{}/value", pointer_step(&figure.name));
            page.number(key, Some(figure.value), figure.digits.min(12), false);
            page.raw(" ").text(&crate::escape::shorten(&figure.unit, 20)).raw("</dd></div>");
        }
        for fact in report.facts.iter().take(100) {
            page.raw("<div><dt>").name(&fact.name).raw("</dt><dd>").sentence(&fact.value).raw("</dd></div>");
        }
        page.raw("</dl>\n");
    }
    definitions(page, report);
    if !report.config.trim().is_empty() {
        page.raw("<h3>Settings</h3>\n<details class=\"settings\"><summary>Resolved settings (TOML)</summary>\n<pre><code dir=\"ltr\">");
        page.text(&settings(&report.config)).raw("</code></pre></details>\n");
    }
    page.raw("</section>\n");
}

fn definitions(page: &mut Page, report: &Report) {
    let defined: Vec<(&str, &str)> = report
        .unique_measures()
        .into_iter()
        .filter(|measure| !measure.definition.trim().is_empty())
        .map(|measure| (measure.name.as_str(), measure.definition.trim()))
        .collect();
    if defined.is_empty() && report.interval_method.is_empty() {
        return;
    }
    page.raw("<h3>What the measures mean</h3>\n<dl class=\"definitions\">");
    let shared = shared_end(&defined);
    for (name, text) in &defined {
        page.raw("<div><dt>").name(name).raw("</dt><dd>");
        page.sentence(text.strip_suffix(shared).unwrap_or(text)).raw("</dd></div>");
    }
    for (name, text) in
        [("All of them", shared.trim_start_matches(['.', ';', ' '])), ("Intervals", &report.interval_method)]
    {
        if !text.is_empty() {
            page.raw("<div><dt>").raw(name).raw("</dt><dd><bdi>").text(&crate::escape::shorten(text, 2000));
            page.raw("</bdi></dd></div>");
        }
    }
    page.raw("</dl>\n");
}

/// What all definitions end with, from the start of a clause.
fn shared_end<'a>(definitions: &[(&str, &'a str)]) -> &'a str {
    let Some(((_, first), rest)) = definitions.split_first() else { return "" };
    if rest.is_empty() {
        return "";
    }
    let clauses =
        first.char_indices().filter(|&(at, c)| (c == ';' || c == '.') && first[at + 1..].starts_with(' '));
    clauses
        .map(|(at, _)| &first[at..])
        .find(|end| rest.iter().all(|(_, text)| text.ends_with(end)))
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_all_definitions_share_is_said_once() {
        let two = [("a", "x of y; mean. Ties: half."), ("b", "z; mean. Ties: half.")];
        assert_eq!(super::shared_end(&two), "; mean. Ties: half.");
        assert_eq!(super::shared_end(&two[..1]), "");
        assert_eq!(super::shared_end(&[("a", "x. y"), ("b", "z")]), "");
    }
}
