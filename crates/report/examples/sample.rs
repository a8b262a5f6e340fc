//! Renders a report from made-up vectors, to look at and to work on the page:
//!
//! ```sh
//! cargo run --release -p parallax-report --example sample -- OUT_FOLDER [support | many | pairs | hostile | small]
//! ```
//!
//! Writes `report.html` and `metrics.json`. `support` has the texts of `examples/support.csv`, `many` has 77 classes and
//! 3,000 rows, `pairs` has no classes, `hostile` has names and texts that try to break the page, `small` has no before, no
//! curves and no evidence.

use std::path::PathBuf;

use parallax_eval::{Gallery, RESAMPLES, RetrievalConfig, Similarity, Vectors, paired_bootstrap, retrieval};
use parallax_random::Key;
use parallax_report::{
    Chart, Embeddings, Evidence, EvidenceConfig, Fact, Figure, MeasureChange, QueryValues, Report, Rows,
    Series, Subject,
};

type Failure = Box<dyn std::error::Error>;

/// Rows of a table, and made-up vectors of them before and after.
struct Sample {
    texts: Vec<String>,
    labels: Vec<u32>,
    classes: Vec<String>,
    before: Vec<f32>,
    after: Vec<f32>,
}

const BEFORE: usize = 96;
const AFTER: usize = 64;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first().map(PathBuf::from) else {
        return Err("which folder? sample OUT_FOLDER [support | many | pairs | hostile | small]".into());
    };
    let kind = arguments.get(1).map_or("support", String::as_str);
    let started = std::time::Instant::now();
    let report = match kind {
        "support" => compared(&support()?, "support", true)?,
        "many" => compared(&many(), "banking", true)?,
        "pairs" => compared(&pairs(), "duplicate questions", false)?,
        "hostile" => hostile(compared(&hostile_rows(), "<script>alert(1)</script>", true)?),
        "small" => small(),
        other => return Err(format!("there is no sample called {other}").into()),
    };
    std::fs::create_dir_all(&folder)?;
    let html = report.render();
    std::fs::write(folder.join("report.html"), &html)?;
    std::fs::write(folder.join("metrics.json"), report.metrics_json())?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{}: {} KiB, {seconds:.1} s", folder.join("report.html").display(), html.len() / 1024);
    Ok(())
}

/// Vectors whose classes lie in themes of four: before, themes are clearer than classes; after, classes are.
fn vectors(labels: &[u32], dim: usize, theme: f64, class: f64, noise: f64, key: Key) -> Vec<f32> {
    let centre = |name: &str, of: u64, j: usize| key.named(name).at(of).normal(j as u64);
    let mut values = Vec::with_capacity(labels.len() * dim);
    for (row, &label) in labels.iter().enumerate() {
        // Some rows are further from their class than others, the same ones before and after.
        let far = 0.6 + 0.9 * Key::new(3).named("far").uniform(row as u64);
        for j in 0..dim {
            let value = theme * centre("theme", u64::from(label) / 4, j)
                + class * centre("class", u64::from(label), j)
                + noise * far * key.named("row").at(row as u64).normal(j as u64);
            values.push(value as f32);
        }
    }
    values
}

fn sample(texts: Vec<String>, labels: Vec<u32>, classes: Vec<String>) -> Sample {
    let before = vectors(&labels, BEFORE, 0.8, 0.42, 1.0, Key::new(1));
    let after = vectors(&labels, AFTER, 0.7, 0.62, 0.95, Key::new(1).named("after"));
    Sample { texts, labels, classes, before, after }
}

fn support() -> Result<Sample, Failure> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/support.csv");
    let table = std::fs::read_to_string(path)?;
    let rows: Vec<(&str, &str)> = table.lines().skip(1).filter_map(|line| line.rsplit_once(',')).collect();
    let mut classes: Vec<String> = rows.iter().map(|row| row.1.to_string()).collect();
    classes.sort();
    classes.dedup();
    let labels =
        rows.iter().map(|row| classes.iter().position(|class| class == row.1).unwrap_or(0) as u32).collect();
    let text = |row: &(&str, &str)| row.0.trim_matches('"').replace("\"\"", "\"");
    Ok(sample(rows.iter().map(text).collect(), labels, classes))
}

fn many() -> Sample {
    let things = [
        "card",
        "transfer",
        "top up",
        "refund",
        "exchange rate",
        "PIN",
        "account",
        "cash",
        "payment",
        "identity",
        "passcode",
    ];
    let events = ["not working", "arrival", "limit", "fee charged", "declined", "pending", "cancelled"];
    let openings = [
        "Why is my",
        "I do not understand the",
        "Please tell me about the",
        "Since yesterday there is trouble with my",
        "Could someone look at the",
    ];
    let endings =
        ["thank you", "it has been a week", "I am abroad", "the app says nothing", "this is urgent", "again"];
    let classes: Vec<String> = things
        .iter()
        .flat_map(|thing| events.iter().map(move |event| format!("{thing} {event}").replace(' ', "_")))
        .collect();
    let key = Key::new(11);
    let labels: Vec<u32> =
        (0..3000).map(|i| (key.uniform(i).powf(1.3) * classes.len() as f64) as u32).collect();
    let text = |(row, &label): (usize, &u32)| {
        let key = key.named("text").at(row as u64);
        let about = classes[label as usize].replace('_', " ");
        format!(
            "{} {about}, {}",
            openings[key.below(0, openings.len())],
            endings[key.below(1, endings.len())]
        )
    };
    let texts = labels.iter().enumerate().map(text).collect();
    sample(texts, labels, classes)
}

fn pairs() -> Sample {
    let labels: Vec<u32> = (0..600).map(|i| i / 2).collect();
    let texts = (0..600).map(|i| format!("question {} asked in way {}", i / 2, i % 2 + 1)).collect();
    sample(texts, labels, Vec::new())
}

/// Texts that would break a page that trusts them.
const HOSTILE: [&str; 6] = [
    "</script><script>document.title='broken'</script>",
    "\" onmouseover=\"alert(1)\" <img src=x onerror=alert(1)>",
    "\u{202e}this runs to the left\u{202c} and \u{2066}does not end",
    "nul \0 bell \u{7} escape \u{1b}[31m and \u{85} more",
    "مرحبا بالعالم <b>bold</b> שלום",
    "averyveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryverylongword",
];

fn hostile_rows() -> Sample {
    let labels: Vec<u32> = (0..240).map(|i| i % 6).collect();
    let texts = (0..240).map(|i| format!("{} {i} {}", HOSTILE[i % 6], "x ".repeat(i))).collect();
    sample(texts, labels, HOSTILE.map(String::from).to_vec())
}

fn hostile(mut report: Report) -> Report {
    report.summary = HOSTILE.join(" ");
    report.data = HOSTILE[2].repeat(3);
    report.model = HOSTILE[5].repeat(5);
    report.config = HOSTILE.join("\n");
    report.advice = HOSTILE.map(String::from).to_vec();
    report.facts = HOSTILE.map(|text| Fact { name: text.into(), value: text.into() }).to_vec();
    for (at, measure) in report.measures.iter_mut().enumerate() {
        measure.name = format!("a/b~{at} {}", HOSTILE[at % 6]);
        measure.definition = HOSTILE[at % 6].into();
    }
    report.charts[0].title = HOSTILE[1].into();
    report.charts[0].series[0].points[5].1 = f64::NAN;
    report.figures.push(Figure { name: "a/b~c".into(), value: f64::INFINITY, digits: 3, unit: "<s>".into() });
    report
}

fn small() -> Report {
    let measure = MeasureChange { name: "mrr".into(), after: Some(0.7312), ..Default::default() };
    Report { title: "measured only".into(), measures: vec![measure], ..Default::default() }
}

fn compared(sample: &Sample, title: &str, named: bool) -> Result<Report, Failure> {
    let config = RetrievalConfig {
        measures: ["precision@1", "r_precision", "map@r", "mrr", "recall@5"]
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?,
        ..Default::default()
    };
    let measure = |values: &[f32], dim: usize| {
        retrieval(&config, Vectors { values, dim, labels: &sample.labels }, Gallery::LeaveOneOut)
    };
    let (before, after) = (measure(&sample.before, BEFORE)?, measure(&sample.after, AFTER)?);
    let mut measures = Vec::new();
    for ((x, y), &name) in before.measures.iter().zip(&after.measures).zip(&config.measures) {
        let (a, b) = (before.column(name).unwrap_or_default(), after.column(name).unwrap_or_default());
        let change = paired_bootstrap(a, b, RESAMPLES, Key::new(0).named(&x.name))?;
        measures.push(MeasureChange {
            name: x.name.clone(),
            before: Some(x.value),
            before_interval: x.interval,
            after: Some(y.value),
            after_interval: y.interval,
            change: Some(change.mean_difference),
            change_interval: Some([change.low, change.high]),
            definition: x.definition.clone(),
        });
    }
    let main = config.measures[2];
    let rows = before.per_query.as_ref().map(|values| values.query.clone()).unwrap_or_default();
    let text = |row: usize| sample.texts[row].clone();
    let subject = Subject {
        queries: Rows {
            before: Some(Embeddings { values: &sample.before, dim: BEFORE }),
            after: Embeddings { values: &sample.after, dim: AFTER },
            labels: Some(&sample.labels),
            text: &text,
        },
        gallery: None,
        classes: if named { &sample.classes } else { &[] },
        similarity: Similarity::Cosine,
        values: Some(QueryValues {
            measure: "map@r",
            rows: &rows,
            before: before.column(main).unwrap_or_default(),
            after: after.column(main).unwrap_or_default(),
        }),
    };
    let evidence = Evidence::gather(&EvidenceConfig::default(), &subject, Key::new(0).named("report"))?;
    let n = sample.texts.len();
    let figure = |name: &str, value: f64, digits: usize, unit: &str| Figure {
        name: name.into(),
        value,
        digits,
        unit: unit.into(),
    };
    let fact = |name: &str, value: &str| Fact { name: name.into(), value: value.into() };
    Ok(Report {
        title: title.into(),
        summary: "Fine-tuned all of a small encoder with the multi-similarity objective, and measured it before and after on classes that training never saw. The numbers of this sample are made up.".into(),
        data: format!("support.csv: {n} rows in {} classes, split by class", sample.classes.len()),
        model: "all-MiniLM-L6-v2".into(),
        seed: Some(0),
        measured_on: format!("{} test rows of classes that training never saw", after.queries),
        main: main.to_string(),
        interval_method: after.interval_method.clone(),
        queries: Some(after.queries),
        dropped: Some(after.dropped),
        measures,
        figures: vec![
            figure("steps", 400.0, 0, ""),
            figure("training time", 282.42, 1, "s"),
            figure("speed", 19.4, 1, "rows/s"),
            figure("peak memory", 0.6042, 2, "GiB"),
            figure("trained parameters", 22_713_216.0, 0, ""),
            figure("negatives an anchor", 124.0, 1, ""),
        ],
        charts: curves(),
        evidence: Some(evidence),
        config: "[data]\npath = [\"support.csv\"]\nsplit = { name = \"class_disjoint\", seen = 12 }\n\n[model]\npath = \"all-MiniLM-L6-v2\"\n\n[objective]\nloss = \"multi_similarity\"\nminer = \"multi_similarity\"\n\n[train]\nepochs = 8\nbatch_size = 48\noptimizer = { name = \"adamw\", lr = 2e-5, eps = 1e-8, weight_decay = 0.01 }\n".into(),
        facts: vec![
            fact("Parallax", "0.1.0"),
            fact("Processor", "two cores of a shared machine"),
            fact("Threads", "2"),
            fact("Finished", "2026-01-31 14:02 UTC"),
        ],
        advice: vec!["the best step was chosen on validation rows of the classes that were trained on".into()],
    })
}

fn curves() -> Vec<Chart> {
    let key = Key::new(5);
    let steps = 400;
    let loss = |i: u64| 0.32 + 0.5 * (-(i as f64) / 120.0).exp() + 0.035 * key.normal(i);
    let rate =
        |i: u64| 2e-5 * if i < 40 { i as f64 / 40.0 } else { (steps - i) as f64 / (steps - 40) as f64 };
    let valid = |i: u64| 0.41 + 0.06 * (1.0 - (-(i as f64) / 150.0).exp()) + 0.002 * key.normal(9000 + i);
    let line = |every: u64, value: &dyn Fn(u64) -> f64| -> Vec<Series> {
        let points = (1..=steps).filter(|i| i % every == 0).map(|i| (i as f64, value(i))).collect();
        vec![Series { name: String::new(), points }]
    };
    let chart = |title: &str, note: &str, smooth, series| Chart {
        title: title.into(),
        note: note.into(),
        smooth,
        series,
    };
    vec![
        chart("Training loss", "Thin: each step; thick: a moving mean.", true, line(1, &loss)),
        chart("Learning rate", "", false, line(1, &rate)),
        chart("Validation map@r", "", false, line(50, &valid)),
    ]
}
