//! Classes that queries retrieve instead of their own.

use super::Page;
use crate::Confusion;

const KEY: &str = "/evidence/confusion";

pub(super) fn confusion(page: &mut Page, confusion: &Confusion) {
    page.raw("<section id=\"confusions\" aria-labelledby=\"confusions-title\">\n");
    page.raw("<h2 id=\"confusions-title\">Confused classes</h2>\n<p class=\"lead\">");
    page.raw("The nearest item is of another class for ");
    if let Some(before) = confusion.wrong_before {
        page.count(format!("{KEY}/wrong_before"), before).raw(" queries before and ");
    }
    page.count(format!("{KEY}/wrong_after"), confusion.wrong_after);
    page.raw(if confusion.wrong_before.is_some() { " after, of " } else { " queries of " });
    page.count(format!("{KEY}/queries"), confusion.queries).raw(".");
    let compared = confusion.wrong_before.is_some();
    if confusion.pairs.len() < confusion.all_pairs {
        page.raw(" The table lists the most frequent of ")
            .count(format!("{KEY}/all_pairs"), confusion.all_pairs);
        page.raw(" pairs of classes.");
    }
    page.raw("</p>\n");
    if confusion.pairs.is_empty() {
        page.raw("</section>\n");
        return;
    }
    page.raw("<table class=\"confusions\"><caption>Queries of a class whose nearest item is of another class.</caption>\n");
    page.raw("<thead><tr><th scope=\"col\">Class and what is retrieved instead</th><th scope=\"col\" class=\"n\">Queries</th>");
    page.raw(if compared {
        "<th scope=\"col\" class=\"n\">Before</th><th scope=\"col\" class=\"n\">After</th>"
    } else {
        "<th scope=\"col\" class=\"n\">Confused</th>"
    });
    page.raw("</tr></thead>\n<tbody>\n");
    for (at, pair) in confusion.pairs.iter().enumerate() {
        let key = format!("{KEY}/pairs/{at}");
        page.raw("<tr><th scope=\"row\"><span class=\"pair\"><b>").name(&pair.class);
        page.raw("</b> <span class=\"arrow\" aria-label=\"retrieves\" role=\"img\">→</span> <b>")
            .name(&pair.retrieved);
        page.raw("</b></span><span class=\"example\">");
        page.raw(if pair.example.after || !compared {
            ""
        } else {
            "<span class=\"label\">before only</span> "
        });
        page.raw("<q>").sentence(&pair.example.query).raw("</q> <span class=\"label\">finds</span> <q>");
        page.sentence(&pair.example.item).raw("</q></span></th><td class=\"n quiet\">");
        page.count(format!("{key}/queries"), pair.queries).raw("</td>");
        if let Some(before) = pair.before {
            page.raw("<td class=\"n\">").count(format!("{key}/before"), before).raw("</td>");
        } else if compared {
            page.raw("<td class=\"n\"></td>");
        }
        let class = match pair.before {
            Some(before) if pair.after < before => " better",
            Some(before) if pair.after > before => " worse",
            _ => "",
        };
        page.raw(&format!("<td class=\"n{class}\">"))
            .count(format!("{key}/after"), pair.after)
            .raw("</td></tr>\n");
    }
    page.raw("</tbody></table>\n</section>\n");
}
