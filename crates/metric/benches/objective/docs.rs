//! The table of objectives in README.md: what each computes, and what it takes on this machine.

use std::collections::BTreeMap;
use std::fmt::Write;

use parallax_metric::regularizer::RegularizerConfig;
use parallax_metric::{Objective, Shape};

use crate::measure::{DIM, Data, PER_CLASS, best, named, names};
use crate::{Asked, is_row};

/// Rows of the batch of the table.
const ROWS: usize = 1024;

/// Between these lines of README.md the table stands.
const MARKS: [&str; 2] =
    ["<!-- objectives: cargo bench -p parallax-metric -- docs -->", "<!-- end of objectives -->"];

/// Name; element and value; its own distance and reducer; source; memory.
const LOSSES: &[[&str; 5]] = &[
    [
        "contrastive",
        "positive pair: `max(0, d − pos_margin)`; negative pair: `max(0, neg_margin − d)`",
        "Euclidean, avg non-zero",
        "Hadsell 2006",
        "row",
    ],
    [
        "triplet_margin",
        "triplet: `max(0, d_ap − d_an + margin)`, smooth: `log(1 + e^…)`; swap: `min(d_an, d_pn)`",
        "Euclidean, avg non-zero",
        "Weinberger 2009, Schroff 2015",
        "row; with `swap` threads · class · R",
    ],
    [
        "ntxent",
        "positive pair: `−log e^(s_p/τ) / (e^(s_p/τ) + Σ_N e^(s_n/τ))`",
        "cosine, mean",
        "Sohn 2016, Chen 2020",
        "row",
    ],
    ["supcon", "anchor: `log Σ_(P∪N) e^(s/τ) − mean_P s/τ`", "cosine, avg non-zero", "Khosla 2020", "row"],
    [
        "multi_similarity",
        "anchor: `log(1 + Σ_P e^(−α(s − base)))/α + log(1 + Σ_N e^(β(s − base)))/β`",
        "cosine, mean",
        "Wang 2019",
        "row",
    ],
    [
        "circle",
        "anchor: `log(1 + Σ_N e^(γ aₙ(s − m)) Σ_P e^(−γ aₚ(s − 1 + m)))`, `a` constant",
        "cosine, avg non-zero",
        "Sun 2020",
        "row",
    ],
    [
        "lifted_structure",
        "positive pair: `½ max(0, log(Σ_N(a) e^(m − d) + Σ_N(p) e^(m − d)) + d_ap − pos_margin)²`",
        "Euclidean, mean",
        "Oh Song 2016",
        "row, 2 passes",
    ],
    [
        "generalized_lifted_structure",
        "anchor: `max(0, log Σ_P e^(d − pos_margin) + log Σ_N e^(neg_margin − d))`",
        "Euclidean, mean",
        "Hermans 2017",
        "row",
    ],
    [
        "nca",
        "anchor with positives: `−log Σ_P e^(−scale d) / Σ_(P∪N) e^(−scale d)`",
        "squared Euclidean, mean",
        "Goldberger 2004",
        "row",
    ],
    [
        "margin",
        "triplet: `max(0, d_ap − β + margin) + max(0, β − d_an + margin)`; β may be learned, one or one a class",
        "Euclidean, divisor",
        "Wu 2017",
        "row",
    ],
    [
        "fast_ap",
        "anchor with positives: `1 − (1/P) Σₗ h⁺ₗ H⁺ₗ / Hₗ` over soft bins",
        "squared Euclidean, mean",
        "Cakir 2019",
        "row",
    ],
    [
        "smooth_ap",
        "anchor with positives: `1 − mean_j rank⁺(j)/rank(j)`, ranks by `σ(Δs/τ)`",
        "cosine, mean",
        "Brown 2020",
        "row",
    ],
    [
        "intra_pair_variance",
        "pair: `max(0, (1 − ε)μ⁺ − s)²`, `max(0, s − (1 + ε)μ⁻)²`",
        "cosine, mean",
        "Yu 2019",
        "row, 2 passes",
    ],
    [
        "tuplet_margin",
        "positive pair: `log(1 + Σ_N e^(scale (cos θₙ − cos(θₚ − margin))))`",
        "cosine, mean",
        "Yu 2019",
        "row",
    ],
    ["snr_contrastive", "as `contrastive`", "signal to noise, avg non-zero", "Yuan 2019", "row"],
    [
        "ranked_list",
        "anchor: weighted means of `d − (α − margin)` over far positives and of `α − d` over near negatives",
        "Euclidean, mean",
        "Wang 2019",
        "row",
    ],
    ["instance", "anchor: cross-entropy of its own reference among all", "cosine, mean", "Zheng 2020", "row"],
    [
        "threshold_consistent_margin",
        "positive pair: `λ⁺ max(0, m⁺ − s)`; negative pair: `λ⁻ max(0, s − m⁻)`",
        "cosine, avg non-zero",
        "Zhang 2024",
        "row",
    ],
    [
        "binomial_deviance",
        "anchor: `mean_P log(1 + e^(−α(s − base))) + mean_N log(1 + e^(β(s − base)))`",
        "cosine, mean",
        "Yi 2014",
        "row",
    ],
    [
        "pnp",
        "anchor with positives: `mean_j f(Σ_N σ((sₙ − s_j)/τ))`, five `f`",
        "cosine, mean",
        "Li 2022",
        "row",
    ],
    [
        "multiple_negatives_ranking",
        "pair: cross-entropy of `scale (s_p − margin)` against `scale s` over negatives",
        "cosine, mean",
        "Henderson 2017",
        "row",
    ],
    [
        "hardest_negative_hinge",
        "pair: `[margin + max_N s − s_p]₊`, both ways",
        "dot, sum",
        "Faghri 2018",
        "row",
    ],
    [
        "similarity_distillation",
        "anchor: `τ² KL(softmax(t/τ_t) ‖ softmax(s/τ))` of a teacher's `t`; or pair: `(s − t)²`",
        "cosine, mean",
        "Hinton 2015, Tung 2019",
        "row",
    ],
    [
        "proxy_anchor",
        "proxy: `log(1 + Σ_P e^(−α(s − δ)))` over its class, `log(1 + Σ_N e^(α(s + δ)))` over the others",
        "cosine, mean",
        "Kim 2020",
        "row, P × B",
    ],
    [
        "proxy_nca",
        "anchor: `−log e^(−c d_y) / Σⱼ e^(−c dⱼ)` over proxies",
        "squared Euclidean, mean",
        "Movshovitz-Attias 2017",
        "row, B × P",
    ],
    [
        "proxy_nca_plus_plus",
        "anchor: `−log e^(−d_y/T) / Σⱼ e^(−dⱼ/T)`",
        "squared Euclidean, mean",
        "Teh 2020",
        "row, B × P",
    ],
    [
        "soft_triple",
        "anchor: cross-entropy of `λ(S_y − δ)` against `λ S_c`, `S_c = Σ_k softmax(s_ck/γ) s_ck`",
        "cosine, mean",
        "Qian 2019",
        "row, B × P",
    ],
    [
        "normalized_softmax",
        "anchor: `−log e^(s_y/τ) / Σⱼ e^(sⱼ/τ)`",
        "cosine, mean",
        "Wang 2017, Zhai 2019",
        "row, B × P",
    ],
    [
        "arcface",
        "anchor: cross-entropy of `c cos(θ_y + m)` against `c sⱼ`",
        "cosine, mean",
        "Deng 2019",
        "row, B × P",
    ],
    [
        "sub_center_arcface",
        "anchor: `arcface` on the nearest of `K` proxies a class",
        "cosine, mean",
        "Deng 2020",
        "row, B × P",
    ],
    [
        "cosface",
        "anchor: cross-entropy of `c (s_y − m)` against `c sⱼ`",
        "cosine, mean",
        "Wang 2018",
        "row, B × P",
    ],
    [
        "sphereface",
        "anchor: cross-entropy of `c ‖x‖ ψ(θ_y)` against `c ‖x‖ cos θⱼ`",
        "cosine and lengths, mean",
        "Liu 2017",
        "row, B × P",
    ],
    [
        "large_margin_softmax",
        "anchor: cross-entropy of `c ‖x‖ ‖w_y‖ ψ(θ_y)` against `c x·wⱼ`",
        "cosine and lengths, mean",
        "Liu 2016",
        "row, B × P",
    ],
    ["p2s_grad", "anchor and proxy: `(sⱼ − [j = y])²`", "cosine, mean", "Zhang 2019", "row, B × P"],
    [
        "manifold",
        "anchor: `log(1 + Σ_(k≠y) e^t [t ≥ 0])`, `t = F_k − F_y + m`, on a walk `F` over all points, plus `λ` times the same on rows of `F`",
        "cosine",
        "Aziere 2019",
        "`8 · 8 · (B + P)²` bytes",
    ],
    [
        "n_pairs",
        "class with a pair: cross-entropy of `a_c·p_c` against `a_c·p_k`",
        "inner product, mean",
        "Sohn 2016",
        "row, C × C, `4·C·D`",
    ],
    [
        "angular",
        "positive pair: `log(1 + Σ_N e^(4 tan²α (â + p̂)·n − 2 (1 + tan²α) â·p̂))`",
        "cosine, mean",
        "Wang 2017",
        "row, threads · class · B",
    ],
    [
        "histogram",
        "`Σ_r h⁻_r Σ_(q≤r) h⁺_q` of soft histograms `h` of all pairs",
        "cosine",
        "Ustinova 2016",
        "row, `2·B·bins`",
    ],
    [
        "dynamic_soft_margin",
        "triplet: `F(v) v`, `v = d_ap − d_an`, `F` the cumulated moving histogram of `v`",
        "Euclidean, mean",
        "Zhang 2019",
        "row, `B·bins`",
    ],
    [
        "vicreg",
        "`λ mean (x − r)² + μ Σ ½ mean_d max(0, 1 − √(var_d + ε)) + ν Σ Σ_(d≠e) cov_de²/D`",
        "none",
        "Bardes 2022",
        "`4·B·D + D²`",
    ],
    [
        "anyloss",
        "`1 − score(tp, fp, fn, tn)` of a soft confusion matrix, `ŷ = σ(L(σ(z) − ½))`",
        "logits",
        "Han 2024",
        "`B·C`",
    ],
    ["binary_cross_entropy", "`mean w y log(1 + e^(−z)) + (1 − y) log(1 + e^z)`", "logits", "-", "`B·C`"],
    ["cross_entropy", "`mean log Σ_c e^(z_c) − z_y`", "logits", "-", "`B·C`"],
    ["cosent", "`log(1 + Σ_(tᵢ > tⱼ) e^(λ(sⱼ − sᵢ)))` over pairs of pairs", "cosine", "Su 2022", "`B·D`"],
    ["angle", "as `cosent` on angles in the complex plane", "cosine", "Li 2024", "`B·D`"],
    ["cosine_mse", "`mean (sᵢ − tᵢ)²`", "cosine", "Reimers 2019", "`B·D`"],
    ["margin_mse", "`mean ((s_i0 − s_ik) − (t_i0 − t_ik))²`", "inner product", "Hofstätter 2020", "`B·D`"],
    [
        "listwise_kl",
        "`τ² mean KL(softmax(t/τ_t) ‖ softmax(s/τ))` over the candidates of a pair",
        "inner product",
        "Hinton 2015",
        "`B·D`",
    ],
];

/// Name; value; source.
const REGULARIZERS: &[[&str; 3]] = &[
    ["lp", "`mean ‖x‖ₚ^power`", "Movshovitz-Attias 2017"],
    ["zero_mean", "`mean |Σ_k x_k|`", "Yuan 2019"],
    ["quantization", "`mean (|x_k| − 1)²`", "Liu 2016"],
    ["center_invariant", "`mean (‖w‖² − m)²/4`, `m` the mean of `‖w‖²`", "Wu 2017"],
    ["sparse_centers", "`½ mean √(2 − 2 cos(w_ck, w_cl))` over pairs of proxies of a class", "Qian 2019"],
    ["regular_face", "`mean max_(j≠i) cos(wᵢ, wⱼ)`", "Zhao 2019"],
];

/// What `large json` has measured: the ratio by the name of the loss, the size and the largest peak in GB.
fn large(asked: &Asked) -> (BTreeMap<String, f64>, Option<(u64, f64)>) {
    let Some(path) = asked.text("large") else { return (BTreeMap::new(), None) };
    let text = std::fs::read_to_string(path).expect("a file of JSON lines");
    let mut ratios = BTreeMap::new();
    let mut measured: Option<(u64, f64)> = None;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let name = line["loss"].as_str().expect("a loss").to_owned();
        ratios.insert(name, line["ratio"].as_f64().expect("a ratio"));
        let peak = line["peak_gb"].as_f64().unwrap_or(f64::NAN);
        let before = measured.map_or(0.0, |(_, peak)| peak);
        measured = Some((line["batch"].as_u64().expect("a batch"), before.max(peak)));
    }
    (ratios, measured)
}

/// The processor and its threads, as the system names them.
fn machine(threads: usize) -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let wide = if text.contains(" avx512f ") { " with AVX-512" } else { "" };
    format!("{}{wide}, {threads} threads", name.unwrap_or("unknown processor").trim())
}

/// Writes the table in place of the one that stands in README.md.
pub(crate) fn write(asked: &Asked) {
    let known: Vec<&str> = LOSSES.iter().map(|loss| loss[0]).collect();
    for name in names() {
        assert!(known.contains(&name.as_str()), "{name} is not in the table of benches/objective/docs.rs");
    }
    let (ratios, measured) = large(asked);
    let mut text = format!("{}\n", MARKS[0]);
    let header = measured.map_or("× products".to_owned(), |(b, _)| format!("× products at {b}"));
    let _ = writeln!(
        text,
        "| name | element: value | its distance, reducer | source | memory | bytes at {ROWS} | ms at {ROWS} | {header} |"
    );
    text += "|---|---|---|---|---|---|---|---|\n";
    for [name, formula, setting, source, memory] in LOSSES {
        let objective = named(name);
        let data = Data::new(ROWS, &objective);
        let (references, proxies) = data.others();
        let shape = Shape {
            references,
            proxies,
            threads: asked.threads,
            largest_class: PER_CLASS,
            ..Shape::batch(ROWS, DIM)
        };
        let megabytes = objective.memory_bytes(&shape) as f64 / 1e6;
        let ms = milliseconds(asked, &data, &objective);
        let ratio = ratios.get(*name).map_or("".to_owned(), |ratio| format!("{ratio:.2}"));
        let formula = formula.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{name}` | {formula} | {setting} | {source} | {memory} | {megabytes:.1} MB | {ms:.2} | {ratio} |"
        );
        eprintln!("{name}: {ms:.2} ms");
        assert!(ratio.is_empty() || is_row(name), "{name} is no row loss");
    }
    let _ = writeln!(text, "\n| regulariser | value | source | ms at {ROWS} |\n|---|---|---|---|");
    for [name, formula, source] in REGULARIZERS {
        let config = serde_json::json!({ "name": name });
        let config: RegularizerConfig = serde_json::from_value(config).expect("a regulariser of this name");
        let rows = ROWS / 10 * 10;
        let x = Data::new(rows, &named("contrastive")).x;
        let mut gradient = vec![0f32; x.len()];
        let found = asked.pool.install(|| {
            best(300, || {
                config.add(&x, DIM, &mut gradient).expect("rows of embeddings");
            })
        });
        let formula = formula.replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {formula} | {source} | {:.2} |", found.processor * 1e3);
    }
    let _ = write!(
        text,
        "\nBy `cargo bench -p parallax-metric -- docs` on {}: f32, {DIM} dimensions, {PER_CLASS} items a class, proxies of \
         B/{PER_CLASS} classes; time of the processor over all threads, the mean of many runs, gradients included.",
        machine(asked.threads)
    );
    if let Some((b, peak)) = measured {
        let _ = write!(
            text,
            " The last column is the time at B = {b} as a multiple of that of the three matrix products of that size by the \
             `gemm` crate (`-- large json`, each loss in a process of its own); the highest peak of memory there was \
             {peak:.2} GB."
        );
    }
    text += "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let (before, rest) = readme.split_once(MARKS[0]).expect("the first mark");
    let (_, after) = rest.split_once(MARKS[1]).expect("the last mark");
    std::fs::write(path, format!("{before}{text}{}{after}", MARKS[1])).expect("README.md written");
}

/// Processor time of one evaluation.
fn milliseconds(asked: &Asked, data: &Data, objective: &Objective) -> f64 {
    let found = asked.pool.install(|| {
        let first = best(1, || data.evaluate(objective));
        let runs = (0.5 / first.clock.max(1e-4)) as usize;
        best(runs.clamp(2, 200), || data.evaluate(objective))
    });
    found.processor * 1e3
}
