use std::collections::BTreeMap;

use crate::*;

const HOSTILE: &str = "</script><img src=x onerror=\"alert('1')\">\u{202e}\0&amp;<!--";

/// A report with every part, and `text` wherever text from outside can stand.
fn full(text: &str) -> Report {
    let name = |at: usize| format!("{text}{at}");
    let neighbour =
        |relevant| Neighbour { row: 4, text: text.into(), class: Some(text.into()), relevant, score: 0.25 };
    let case = QueryCase {
        row: 3,
        text: text.into(),
        class: Some(text.into()),
        before: Some(0.125),
        after: 0.75,
        neighbours_before: Some(vec![neighbour(false)]),
        neighbours_after: vec![neighbour(true), neighbour(false)],
    };
    let measure = |at: usize| MeasureChange {
        name: name(at),
        before: Some(0.4821),
        before_interval: Some([0.47, 0.49]),
        after: Some(0.51371234),
        after_interval: Some([0.5, f64::NAN]),
        change: Some(0.03161234),
        change_interval: Some([0.0291, 0.0341]),
        definition: text.into(),
    };
    let point = |at: usize| MapPoint {
        row: at,
        class: Some(at % 2),
        text: text.into(),
        before: Some([at as f32 * 0.1, 0.3]),
        after: [0.5, -0.1 * at as f32],
    };
    Report {
        title: text.into(),
        summary: text.into(),
        data: text.into(),
        model: text.into(),
        seed: Some(u64::MAX),
        measured_on: text.into(),
        main: name(1),
        measures: vec![measure(0), measure(1)],
        interval_method: text.into(),
        queries: Some(6468),
        dropped: Some(12),
        figures: vec![Figure { name: name(0), value: 12345.678, digits: 1, unit: text.into() }],
        charts: vec![Chart {
            title: text.into(),
            note: text.into(),
            smooth: true,
            series: (0..2)
                .map(|at| Series {
                    name: name(at),
                    points: (0..50).map(|i| (f64::from(i), f64::from(i * i))).collect(),
                })
                .collect(),
        }],
        evidence: Some(Evidence {
            similarity: text.into(),
            maps: Some(Maps {
                method: text.into(),
                classes: vec![name(0), name(1)],
                points: (0..9).map(point).collect(),
                drawn: Drawn { points: 9, rows: 90, classes: 2, all_classes: 20 },
                kept_before: Some(0.5),
                kept_after: Some(0.625),
            }),
            confusion: Some(Confusion {
                queries: 100,
                wrong_before: Some(20),
                wrong_after: 7,
                all_pairs: 9,
                pairs: vec![ConfusionPair {
                    class: text.into(),
                    retrieved: text.into(),
                    queries: 10,
                    before: Some(5),
                    after: 3,
                    example: ConfusionExample { after: true, query: text.into(), item: text.into() },
                }],
            }),
            cases: Some(QueryCases {
                measure: text.into(),
                queries: 100,
                gained: Some(60),
                lost: Some(30),
                most_gained: vec![case.clone()],
                most_lost: vec![case.clone()],
                worst: vec![case],
            }),
        }),
        config: format!("[a]\n{text}\n"),
        facts: vec![Fact { name: text.into(), value: text.into() }],
        advice: vec![text.into()],
    }
}

/// Tags of the page with how often they open, and a check that they nest.
fn tags(html: &str) -> BTreeMap<String, usize> {
    const VOID: [&str; 5] = ["meta", "link", "br", "!doctype", "img"];
    let mut open: Vec<String> = Vec::new();
    let mut counts = BTreeMap::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag is closed");
        let tag = &rest[..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_string();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "before {}", &rest[..end.min(200)]);
        } else {
            *counts.entry(name.clone()).or_insert(0) += 1;
            if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
                open.push(name.clone());
            }
            // What stands in a script or a style is not markup until its end tag.
            if name == "script" || name == "style" {
                let close = rest.find(&format!("</{name}")).expect("an end tag");
                rest = &rest[close..];
                continue;
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
    counts
}

#[test]
fn every_number_shown_stands_in_metrics_json() {
    for text in ["plain", "a/b~1", HOSTILE] {
        let report = full(text);
        let file: serde_json::Value = serde_json::from_str(&report.metrics_json()).unwrap();
        let cells = report.cells();
        assert!(cells.len() > 40, "{}", cells.len());
        for cell in &cells {
            let value = file.pointer(&cell.key).unwrap_or_else(|| panic!("{} is not in the file", cell.key));
            assert_eq!(value.as_f64(), cell.value, "{}", cell.key);
        }
        let html = report.render();
        assert_eq!(html.matches("<data").count(), cells.len());
        let main =
            cells.iter().find(|cell| cell.key.ends_with("/after") && cell.key.starts_with("/measures"));
        assert_eq!(main.unwrap().text(), "0.5137");
    }
}

#[test]
fn hostile_text_makes_no_tags() {
    let (plain, hostile) = (full("plain").render(), full(HOSTILE).render());
    let (mut plain, mut hostile) = (tags(&plain), tags(&hostile));
    // A label is drawn or not by its length, and a leader line with it.
    for name in ["text", "path"] {
        plain.remove(name);
        hostile.remove(name);
    }
    assert_eq!(plain, hostile);
    let html = full(HOSTILE).render();
    assert!(!html.contains('\0') && !html.contains('\u{202e}') && !html.contains("<img"));
    assert!(html.contains(
        "&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;␀&amp;amp;&lt;!--"
    ));
}

#[test]
fn any_part_may_be_missing() {
    let remove: [fn(&mut Report); 11] = [
        |r| r.measures.clear(),
        |r| r.measures.iter_mut().for_each(|m| (m.before, m.change, m.change_interval) = (None, None, None)),
        |r| r.measures.iter_mut().for_each(|m| (m.after, m.after_interval) = (None, None)),
        |r| r.charts.clear(),
        |r| r.charts[0].series[0].points = vec![(1.0, f64::NAN)],
        |r| r.evidence = None,
        |r| r.evidence.iter_mut().for_each(|e| (e.maps, e.confusion) = (None, None)),
        |r| {
            r.evidence
                .iter_mut()
                .flat_map(|e| &mut e.maps)
                .for_each(|m| m.points.iter_mut().for_each(|p| p.before = None))
        },
        |r| r.evidence.iter_mut().flat_map(|e| &mut e.maps).for_each(|m| m.classes.clear()),
        |r| (r.config, r.facts, r.figures, r.advice) = Default::default(),
        |r| *r = Report::default(),
    ];
    for (at, remove) in remove.iter().enumerate() {
        let mut report = full("x");
        remove(&mut report);
        let html = report.render();
        let counts = tags(&html);
        assert_eq!((counts["h1"], counts["main"]), (1, 1), "part {at}");
        for id in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(html.contains(&format!("id=\"{id}\"")), "part {at}: the link to {id} leads nowhere");
        }
        let file: serde_json::Value = serde_json::from_str(&report.metrics_json()).unwrap();
        for cell in report.cells() {
            assert_eq!(file.pointer(&cell.key).unwrap().as_f64(), cell.value, "part {at}: {}", cell.key);
        }
    }
    assert!(Report::default().render().contains("Nothing was measured."));
}

#[test]
fn long_texts_are_cut() {
    let report = full(&"long text ".repeat(20_000));
    let html = report.render();
    assert!(html.len() < 300_000, "{} bytes", html.len());
    assert!(html.contains('…'));
}

#[test]
fn a_page_asks_for_nothing() {
    let html = full("x").render();
    for word in ["http:", "https:", "url(", "@import", "src=", "<link rel=\"stylesheet", "fetch(", "XMLHttp"]
    {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn a_report_survives_its_file() {
    let report = full("x");
    let mut report = report;
    report.measures.iter_mut().for_each(|m| m.after_interval = Some([0.5, 0.6]));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}
