//! The frame of the page: what stands before and after its sections.

use sha2::{Digest, Sha256};

use super::Page;
use crate::Report;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// From the doctype to the start of `main`.
pub(super) fn open(page: &mut Page, report: &Report) {
    let evidence = report.evidence.as_ref();
    let sections = [
        ("measures", "Measures", !report.measures.is_empty()),
        ("curves", "Curves", super::charts::any(&report.charts)),
        ("maps", "Maps", evidence.is_some_and(|e| e.maps.is_some())),
        ("confusions", "Confusions", evidence.is_some_and(|e| e.confusion.is_some())),
        ("queries", "Queries", evidence.is_some_and(|e| e.cases.is_some())),
        ("run", "Run", super::run::any(report)),
    ];
    let sections: Vec<(&str, &str)> =
        sections.iter().filter(|section| section.2).map(|section| (section.0, section.1)).collect();
    head(page, &report.title, &sections);
}

/// The head of a page with this title and links to these sections (anchor, name).
pub(super) fn head(page: &mut Page, title: &str, sections: &[(&str, &str)]) {
    // The policy forbids every request, and every script but the one below.
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; ");
    page.raw("style-src 'unsafe-inline'; script-src 'sha256-")
        .raw(&base64(&Sha256::digest(SCRIPT)))
        .raw("'\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw(
        "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>",
    );
    page.text(&crate::escape::shorten(title, super::NAME));
    page.raw(if title.is_empty() { "Parallax report" } else { " – Parallax report" });
    page.raw("</title>\n<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n");
    page.raw("<a class=\"skip\" href=\"#main\">Skip to the results</a>\n<header class=\"bar\"><div class=\"wide\">");
    page.raw("<p class=\"brand\">Parallax report</p>\n<nav aria-label=\"Sections\"><ul>");
    for (id, name) in sections {
        page.raw(&format!("<li><a href=\"#{id}\">")).text(name).raw("</a></li>");
    }
    page.raw("</ul></nav>\n<button type=\"button\" id=\"theme\" hidden>Dark</button>\n</div></header>\n");
    page.raw("<main id=\"main\" class=\"wide\">\n");
}

/// From the end of `main` on.
pub(super) fn close(page: &mut Page, file: &str) {
    page.raw("</main>\n<footer class=\"wide\"><p>Made by Parallax. Every number in a table stands in ");
    page.raw("<code>").text(file).raw("</code> beside this page.</p></footer>\n<script>").raw(SCRIPT);
    page.raw("</script>\n</body>\n</html>\n");
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_of_the_rfc() {
        for (plain, coded) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("", "")]
        {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
