//! A classifier from its loss to its measures, its folder and back.

use parallax::config::{Data, Evaluate, Files};
use parallax::{Evaluation, Model, Part};
use parallax_data::Vectors;

use super::{config, train, value, world};

const SETTINGS: &str = "[train]\nepochs = 40\nbatch_size = 64\noptimizer = { name = \"adamw\", lr = 0.05 }\n\
                        [evaluate]\nresamples = 200\n";

fn with(loss: &str, more: &str) -> String {
    format!("{SETTINGS}[objective]\nloss = {loss}\n{more}")
}

/// Adds keys to the `[data]` table.
fn data(config: &mut parallax::RunConfig, change: impl FnOnce(&mut Data)) {
    change(&mut config.data);
}

#[test]
fn a_score_is_learned_measured_saved_and_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = world(folder.path(), &["ham", "spam"], &[300, 60], 6, 1.0);
    let settings = with("{ name = \"anyloss\", score = \"f1\", warm_up = 10 }", "");
    let (outcome, said) = train(config(folder.path(), &files, &settings)).unwrap();
    assert!(said.iter().any(|line| line.contains("positive class: \"spam\", the rarer one")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("60 of 360 rows (16.7 %)")), "{said:?}");
    assert!(value(&outcome, "f1") > 0.7, "{:?}", outcome.measures);
    assert_eq!(outcome.queries, 72);
    for measure in &outcome.measures {
        assert_eq!((measure.before, measure.change), (None, None));
        let [low, high] = measure.after_interval.unwrap();
        assert!(low <= measure.after.unwrap() && measure.after.unwrap() <= high, "{measure:?}");
    }
    let table = outcome.table();
    assert!(table.contains("72 rows, positive where the logit is at least 0"), "{table}");

    // Class and logit of every test row, from which the measures follow.
    let predictions = Vectors::open(outcome.folder.join("predictions.npy")).unwrap();
    assert_eq!((predictions.rows(), predictions.dim()), (72, 2));
    let mut cells = [0.0; 4];
    for row in 0..72 {
        let line = predictions.row(row);
        cells[2 * line[0] as usize + usize::from(line[1] >= 0.0)] += 1.0;
    }
    let [_, fp, fn_, tp] = cells;
    assert!((value(&outcome, "f1") - 2.0 * tp / (2.0 * tp + fp + fn_)).abs() < 1e-12, "{cells:?}");

    // The folder is a classifier of these classes, and measures the same on the same rows.
    let path = outcome.model.clone().unwrap();
    let card = std::fs::read_to_string(path.join("README.md")).unwrap();
    assert!(card.contains("`spam` where it is at least 0, `ham` where it is below"), "{card}");
    let model = Model::load(&path).unwrap();
    assert_eq!(model.encoder().classes().unwrap().names(), ["ham", "spam"]);
    let evaluation = Evaluation {
        data: Data {
            path: Files(vec![files.1.clone()]),
            vectors: Some(files.0.clone()),
            split: Some(parallax_data::Split::Stratified(Default::default())),
            ..Data::default()
        },
        evaluate: Evaluate { resamples: 50, ..Evaluate::default() },
        part: Part::Test,
        ..Evaluation::default()
    };
    let report = parallax::evaluate(Some(&model), &evaluation, &mut |_| ()).unwrap();
    for measure in &report.retrieval.measures {
        assert_eq!(measure.value, value(&outcome, &measure.name), "{}", measure.name);
    }
    let shown = report.to_string();
    assert!(shown.contains("balanced_accuracy") && shown.contains("called positive where"), "{shown}");

    // A table with a class that the model does not know is refused by its name.
    let text = std::fs::read_to_string(&files.1).unwrap().replacen("ham", "eggs", 1);
    let other = folder.path().join("other.csv");
    std::fs::write(&other, text).unwrap();
    let mut strange = evaluation.clone();
    strange.data.path = Files(vec![other]);
    strange.part = Part::All;
    strange.data.split = None;
    let error = parallax::evaluate(Some(&model), &strange, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the classifier does not know the class \"eggs\"");
    assert_eq!(error.hint().unwrap(), "it knows: ham, spam");
}

#[test]
fn the_same_run_twice_gives_the_same_bytes() {
    let run = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let files = world(folder.path(), &["a", "b"], &[90, 30], 4, 1.0);
        let settings =
            with("{ name = \"anyloss\", score = { formula = \"tp / (tp + fp + fn)\" }, warm_up = 5 }", "");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (outcome, _) = pool.install(|| train(config(folder.path(), &files, &settings)).unwrap());
        let read = |name: &str| std::fs::read(outcome.folder.join(name)).unwrap();
        (read("predictions.npy"), read("model/0_Dense/model.safetensors"))
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn some_classes_against_the_rest_and_each_against_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let files = world(folder.path(), &["a", "b", "c", "d"], &[80, 30, 30, 80], 6, 0.7);
    let mut rest = config(&folder.path().join("one"), &files, &with("\"binary_cross_entropy\"", ""));
    data(&mut rest, |data| {
        data.positive_class = Some(parallax::config::Strings(vec!["b".into(), "c".into()]))
    });
    let (outcome, _) = train(rest).unwrap();
    let classes = outcome.classes.clone().unwrap();
    assert_eq!(classes.names(), ["not b or c", "b or c"]);
    assert_eq!(
        (classes.number("a"), classes.number("new"), classes.number("c")),
        (Some(0), Some(0), Some(1))
    );
    assert!(value(&outcome, "auc") > 0.8);

    for loss in ["\"cross_entropy\"", "{ name = \"anyloss\", score = \"balanced_accuracy\" }"] {
        let at = folder.path().join(if loss.contains("any") { "any" } else { "ce" });
        let head = "[head]\nname = \"classifier\"\nhidden = 8\n";
        let (outcome, _) = train(config(&at, &files, &with(loss, head))).unwrap();
        assert_eq!(outcome.classes.as_ref().unwrap().outputs(), 4);
        assert!(value(&outcome, "balanced_accuracy") > 0.7, "{loss} {:?}", outcome.measures);
        let predictions = Vectors::open(outcome.folder.join("predictions.npy")).unwrap();
        assert_eq!(predictions.dim(), 5);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let files = world(folder.path(), &["a", "b", "c"], &[20, 20, 20], 4, 1.0);
    let refused = |settings: &str, change: &dyn Fn(&mut Data)| {
        let at = folder.path().join("out");
        let mut config = config(&at, &files, settings);
        change(&mut config.data);
        let error = train(config).unwrap_err().to_string();
        assert!(!at.exists(), "{error}");
        error
    };
    let any = with("\"anyloss\"", "");
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        move |data: &mut Data| data.positive_class = Some(parallax::config::Strings(names.clone()))
    };
    assert!(refused(&any, &named(&["aa"])).contains("unknown class in data.positive_class \"aa\""));
    assert!(refused(&any, &named(&["a", "b", "c"])).contains("leaves no class on one side"));
    let pairs = with("\"contrastive\"", "");
    assert!(refused(&pairs, &named(&["a"])).contains("contrastive is not a loss of a classifier"));
    let head = |loss: &str, head: &str| refused(&with(loss, &format!("[head]\n{head}\n")), &|_| ());
    assert!(head("\"contrastive\"", "name = \"classifier\"").contains("has logits"));
    assert!(head("\"anyloss\"", "name = \"mlp\"").contains("needs logits"));
    assert!(head("\"anyloss\"", "name = \"classifier\"\noutputs = 2").contains("the classes need 3"));
    let split = |data: &mut Data| data.split = Some(parallax_data::Split::ClassDisjoint(Default::default()));
    assert!(refused(&any, &split).contains("has not learned"));
    let decider = any.replace("epochs = 40", "epochs = 40\nvalidate_with = \"log_loss\"");
    assert!(refused(&decider, &|_| ()).contains("smaller is better"));
    // A formula is read with the run file.
    let formula = with("{ name = \"anyloss\", score = { formula = \"tp / (tp + fp\" } }", "");
    let error = parallax::RunConfig::parse::<&str>(&formula, &[]).unwrap_err().to_string();
    assert!(error.contains("objective.loss: ") && error.contains("character 14"), "{error}");
}
