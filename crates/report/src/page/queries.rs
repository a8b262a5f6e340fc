//! Single queries with their neighbours before and after.

use super::Page;
use crate::escape::shorten;
use crate::{Neighbour, QueryCase, QueryCases};

const KEY: &str = "/evidence/cases";

pub(super) fn queries(page: &mut Page, cases: &QueryCases, similarity: &str) {
    page.raw("<section id=\"queries\" aria-labelledby=\"queries-title\">\n<h2 id=\"queries-title\">Single queries</h2>\n");
    page.raw("<p class=\"lead\">Chosen by ").name(&cases.measure);
    if let (Some(gained), Some(lost)) = (cases.gained, cases.lost) {
        page.raw(": of ").count(format!("{KEY}/queries"), cases.queries).raw(" queries, ");
        page.count(format!("{KEY}/gained"), gained).raw(" gained and ");
        page.count(format!("{KEY}/lost"), lost).raw(" lost");
    }
    page.raw(". At most two of a class in each list.");
    if !similarity.is_empty() {
        page.raw(" Scores are <code>").text(&shorten(similarity, 200)).raw("</code>.");
    }
    page.raw("</p>\n");
    for (key, title, list) in [
        ("most_gained", "Largest gains", &cases.most_gained),
        ("most_lost", "Largest losses", &cases.most_lost),
        ("worst", "Worst after", &cases.worst),
    ] {
        if list.is_empty() {
            continue;
        }
        page.raw("<h3>").raw(title).raw("</h3>\n");
        for (at, query) in list.iter().enumerate() {
            case(page, query, &format!("{KEY}/{key}/{at}"), at == 0);
        }
    }
    page.raw("</section>\n");
}

fn case(page: &mut Page, case: &QueryCase, key: &str, open: bool) {
    page.raw("<details class=\"case\"").raw(if open { " open>" } else { ">" });
    page.raw("<summary><span class=\"query\"><q>").sentence(&case.text).raw("</q>");
    if let Some(class) = &case.class {
        page.raw(" <span class=\"class\">").name(class).raw("</span>");
    }
    page.raw("</span> <span class=\"values\">");
    if let Some(before) = case.before {
        page.number(format!("{key}/before"), Some(before), 4, false);
        page.raw(" <span class=\"arrow\" role=\"img\" aria-label=\"to\">→</span> ");
    }
    page.raw("<b>").number(format!("{key}/after"), Some(case.after), 4, false).raw("</b></span></summary>\n");
    page.raw("<div class=\"sides\">");
    if let Some(before) = &case.neighbours_before {
        neighbours(page, before, &format!("{key}/neighbours_before"), "Nearest before");
    }
    let title = if case.neighbours_before.is_some() { "Nearest after" } else { "Nearest" };
    neighbours(page, &case.neighbours_after, &format!("{key}/neighbours_after"), title);
    page.raw("</div></details>\n");
}

fn neighbours(page: &mut Page, found: &[Neighbour], key: &str, title: &str) {
    page.raw("<table class=\"neighbours\"><caption>").raw(title).raw("</caption>\n<thead><tr>");
    page.raw("<th scope=\"col\"><span class=\"hidden\">Rank</span></th><th scope=\"col\">Item</th>");
    page.raw("<th scope=\"col\" class=\"n\">Score</th></tr></thead>\n<tbody>");
    for (at, item) in found.iter().enumerate() {
        page.raw(if item.relevant { "<tr class=\"relevant\">" } else { "<tr>" });
        page.raw(&format!("<th scope=\"row\">{}</th><td data-text>", at + 1)).sentence(&item.text);
        page.raw(" <span class=\"class\">");
        page.raw(if item.relevant {
            "<span class=\"tick\" role=\"img\" aria-label=\"relevant\">✓</span> "
        } else {
            "<span class=\"hidden\">not relevant</span>"
        });
        if let Some(class) = &item.class {
            page.name(class);
        } else if item.relevant {
            page.raw("relevant");
        }
        page.raw("</span></td><td class=\"n\">");
        page.number(format!("{key}/{at}/score"), Some(item.score), 4, false).raw("</td></tr>\n");
    }
    page.raw("</tbody></table>");
}
