use parallax_data::Split;
use parallax_data::split::Share;
use parallax_metric::{LossConfig, MinerConfig};

use super::{Files, RunConfig, parse_component, schema};
use crate::Error;

const NONE: &[&str] = &[];

fn parse(text: &str) -> RunConfig {
    RunConfig::parse(text, NONE).unwrap()
}

/// The message and the hint of a refusal.
fn refused(text: &str, sets: &[&str]) -> (String, String) {
    let error = RunConfig::parse(text, sets).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn an_empty_file_is_the_default_run() {
    let config = parse("");
    assert_eq!(config, RunConfig { name: "run".into(), ..RunConfig::default() });
    assert_eq!(config.evaluate.resamples, 10_000);
    let measures: Vec<String> = config.evaluate.measures.iter().map(ToString::to_string).collect();
    assert_eq!(measures, ["precision@1", "r_precision", "map@r", "mrr", "recall@5"]);
}

#[test]
fn bare_names_stand_for_tables() {
    let short = parse(
        "head = 'linear'\ndata.split = 'stratified'\n[objective]\nloss = 'contrastive'\nminer = 'multi_similarity'\n\
         distance = 'cosine'\nreducer = 'mean'\n[train]\nsampler = 'per_class'\noptimizer = 'adamw'\nschedule = 'cosine'\n",
    );
    let long = parse(
        "[head]\nname = 'linear'\n[data.split]\nname = 'stratified'\n[objective]\nloss.name = 'contrastive'\n\
         miner.name = 'multi_similarity'\ndistance.name = 'cosine'\nreducer.name = 'mean'\n[train]\n\
         sampler.name = 'per_class'\noptimizer.name = 'adamw'\nschedule.name = 'cosine'\n",
    );
    assert_eq!(short, long);
    assert!(matches!(short.objective.loss, LossConfig::Contrastive(_)));
    assert!(matches!(short.objective.miner, Some(MinerConfig::MultiSimilarity(_))));
    assert_eq!(
        parse("objective.loss = 'mnrl'").objective.loss,
        parse("objective.loss = 'multiple_negatives_ranking'").objective.loss
    );
}

#[test]
fn a_table_without_a_name_keeps_the_default_component() {
    let config = parse("[train.optimizer]\nlr = 0.5\n");
    assert_eq!(config.train.optimizer.adamw().lr, 0.5);
    assert_eq!(config.train.optimizer.adamw().betas, [0.9, 0.999]);
    let (message, hint) = refused("[head]\nbias = true\n", NONE);
    assert_eq!(message, "head needs a name");
    assert!(hint.contains("linear") && hint.contains("multi_head"), "{hint}");
}

#[test]
fn the_shape_of_the_documented_file_is_read() {
    let config = parse(
        "name = 'banking77'\nseed = 7\n[data]\npath = ['a.csv', 'b.csv']\ntext = 'utterance'\nnegatives = 'other'\n\
         delimiter = ';'\nsplit = { name = 'class_disjoint', seen = 38 }\n[model]\npath = 'all-MiniLM-L6-v2'\n\
         pooling = 'mean'\nmax_tokens = 128\nprompt = 'query'\n[evaluate]\nmeasures = ['recall@5']\n\
         [output]\ndir = 'elsewhere'\n",
    );
    assert_eq!(config.data.path, Files(vec!["a.csv".into(), "b.csv".into()]));
    let Some(Split::ClassDisjoint(split)) = &config.data.split else { panic!("{:?}", config.data.split) };
    assert_eq!(split.seen, Share::Count(38));
    assert_eq!(config.data.columns().negatives, Some(vec!["other".to_owned()]));
    assert_eq!(config.data.table_options().delimiter, Some(';'));
    assert_eq!(config.model.as_ref().unwrap().max_tokens, Some(128));
    assert_eq!(config.output.folder(&config.name), std::path::Path::new("elsewhere/banking77"));
}

#[test]
fn what_is_written_is_read_back() {
    let config = parse(
        "head = { name = 'mlp', hidden = 7 }\n[data]\npath = 'x.csv'\nsplit = { name = 'random', test = 0.25 }\n\
         [model]\npath = 'm'\n[objective]\nloss = 'ntxent'\nminer = 'multi_similarity'\n[train]\nclip_norm = 1.5\n\
         groups = [{ parameters = 'head', lr = 0.1 }]\n",
    );
    let text = config.to_toml().unwrap();
    assert_eq!(parse(&text), config, "{text}");
    assert!(text.contains("path = \"x.csv\""), "{text}");
}

#[test]
fn unknown_keys_name_the_nearest() {
    let (message, hint) = refused("[train]\nepohcs = 3\n", NONE);
    assert_eq!(message, "unknown key \"train.epohcs\"; did you mean \"epochs\"?");
    assert!(hint.starts_with("keys of train: epochs, precision"), "{hint}");
    let (message, _) = refused("[objective.loss]\nname = 'contrastive'\nneg_marign = 1.0\n", NONE);
    assert_eq!(message, "unknown key \"objective.loss.neg_marign\"; did you mean \"neg_margin\"?");
    let (message, hint) = refused("objective.distance = { name = 'cosine', x = 1 }", NONE);
    assert_eq!(message, "unknown key \"objective.distance.x\"");
    assert_eq!(hint, "objective.distance has no settings");
    assert_eq!(refused("modle = 1", NONE).0, "unknown key \"modle\"; did you mean \"model\"?");
}

#[test]
fn unknown_names_name_the_nearest() {
    for (text, given, near) in [
        ("objective.loss = 'contrastiv'", "contrastiv", "contrastive"),
        ("objective.loss = { name = 'multisimilarity', alpha = 1 }", "multisimilarity", "multi_similarity"),
        ("head = 'liner'", "liner", "linear"),
        ("train.sampler = 'perclass'", "perclass", "per_class"),
        ("data.split = 'class-disjoint'", "class-disjoint", "class_disjoint"),
    ] {
        let (message, hint) = refused(text, NONE);
        let found = message.contains(&format!("unknown name \"{given}\""))
            && message.contains(&format!("did you mean \"{near}\"?"));
        assert!(found, "{message}");
        assert!(hint.starts_with("known names: "), "{hint}");
    }
    let (message, hint) = refused("model = { path = 'm', pooling = 'maen' }", NONE);
    assert_eq!(message, "model.pooling cannot be \"maen\"; did you mean \"mean\"?");
    assert!(hint.contains("lasttoken"), "{hint}");
    let (message, _) = refused("evaluate.measures = ['recal@5']", NONE);
    assert!(message.contains("evaluate.measures") && message.contains("recall@K"), "{message}");
}

#[test]
fn wrong_types_and_ranges_say_the_dotted_path() {
    for (text, expected) in [
        ("seed = 'x'", "seed must be a whole number, not the text \"x\""),
        ("train.epochs = -1", "train.epochs = -1 must be 0 or more"),
        ("train.epochs = 1.5", "train.epochs must be a whole number, not the number 1.5"),
        ("train.dropout = 1", "train.dropout must be true or false, not the whole number 1"),
        ("train = 3", "train must be a table, not the whole number 3"),
        ("objective.loss = 3", "objective.loss must be a name or a table, not the whole number 3"),
        ("train.optimizer.betas = [0.9]", "train.optimizer.betas must have 2 entries, not 1"),
        ("train.freeze = [1]", "train.freeze[0] must be a text, not the whole number 1"),
        ("data.path = 3", "data.path must be a text or a list, not the whole number 3"),
        ("data.delimiter = 'ab'", "data.delimiter = \"ab\" must be one character"),
        ("train.batch_size = 0", "train.batch_size = 0 must be 1 or more"),
        ("evaluate.batch_tokens = 0", "evaluate.batch_tokens = 0 must be 1 or more"),
        ("evaluate.measures = []", "evaluate.measures is empty"),
        ("model = {}", "model.path is not set"),
        ("name = '../x'", "name = \"../x\" must be the name of a folder, without a path"),
    ] {
        assert_eq!(refused(text, NONE).0, expected, "{text}");
    }
    let (message, _) = refused("train.optimizer.lr = -1", NONE);
    assert!(message.contains("train.optimizer.lr = -1"), "{message}");
    let (message, _) = refused("objective.loss = { name = 'ntxent', temperature = -1 }", NONE);
    assert!(message.starts_with("objective.loss: ") && message.contains("temperature"), "{message}");
}

#[test]
fn overrides_come_last_and_are_checked() {
    let text = "[train]\nepochs = 1\n[objective]\nloss = 'contrastive'\n";
    let sets = ["train.epochs=3", "objective.loss.neg_margin=0.25", "name=a b", "train.optimizer.lr=1e-3"];
    let config = RunConfig::parse(text, &sets).unwrap();
    assert_eq!((config.train.epochs, config.name.as_str()), (3, "a b"));
    assert_eq!(config.train.optimizer.adamw().lr, 1e-3);
    let LossConfig::Contrastive(loss) = &config.objective.loss else { panic!() };
    assert_eq!(loss.neg_margin, 0.25);
    assert_eq!(RunConfig::parse(text, &["head=linear"]).unwrap().head, parse("head = 'linear'").head);

    let (message, hint) = refused(text, &["train.epoch=3"]);
    assert_eq!(message, "--set train.epoch=3: unknown key \"train.epoch\"; did you mean \"epochs\"?");
    assert!(hint.contains("keys of train"), "{hint}");
    assert!(refused(text, &["trian.epochs=3"]).0.contains("did you mean \"train\"?"));
    assert!(refused(text, &["train.epochs"]).0.contains("there is no \"=\""));
    assert!(refused(text, &["train..epochs=1"]).0.contains("empty part"));
    assert!(refused("seed = 1", &["seed.x=1"]).0.contains("\"seed\" is not a table"));
    // The mistake in the file is not blamed on an override of something else.
    assert!(!refused("[train]\nepohcs = 1", &["train.batch_size=2"]).0.contains("--set"));
}

#[test]
fn a_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my run.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        RunConfig::load(&file, NONE)
    };
    assert_eq!(load("seed = 3\n").unwrap().name, "my run");
    for (text, line) in
        [("seed = 1\n\n[train]\nepohcs = 3\n", 4), ("seed = = 1", 1), ("a\n", 1), ("seed = 1\nseed = 2\n", 2)]
    {
        let message = load(text).unwrap_err().to_string();
        assert!(message.contains(&format!("my run.toml, line {line}: ")), "{message}");
    }
    std::fs::write(&file, b"seed = 1\nname = '\xff'\n").unwrap();
    let error = RunConfig::load(&file, NONE).unwrap_err();
    assert!(error.to_string().contains("line 2: not UTF-8"), "{error}");
    let error = RunConfig::load(folder.path().join("none.toml"), NONE).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn relative_paths_are_found_beside_the_file_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    std::fs::write(folder.path().join("there.csv"), "text,label\n").unwrap();
    std::fs::create_dir(folder.path().join("model")).unwrap();
    std::fs::write(&file, "data.path = ['there.csv', 'not-there.csv']\nmodel.path = 'model'\n").unwrap();
    let config = RunConfig::load(&file, NONE).unwrap();
    assert_eq!(config.data.path.0, [folder.path().join("there.csv"), "not-there.csv".into()]);
    assert_eq!(config.model.unwrap().path, folder.path().join("model").to_str().unwrap());
}

#[test]
fn components_are_read_alone() {
    let split: Split = parse_component("stratified", "data.split").unwrap();
    assert!(matches!(split, Split::Stratified(_)));
    let split: Split = parse_component("{ name = 'class_disjoint', seen = 0.25 }", "data.split").unwrap();
    let Split::ClassDisjoint(split) = split else { panic!() };
    assert_eq!(split.seen, Share::Fraction(0.25));
    let error = parse_component::<Split>("{ name = 'random', tset = 0.5 }", "data.split").unwrap_err();
    assert_eq!(error.to_string(), "unknown key \"data.split.tset\"; did you mean \"test\"?");
    let error = parse_component::<Split>("randm", "data.split").unwrap_err();
    assert!(error.to_string().contains("did you mean \"random\"?"), "{error}");
}

#[test]
fn the_schema_takes_bare_names_too() {
    let schema = schema();
    assert_eq!(schema["type"], "object");
    let loss = &schema["$defs"]["LossConfig"]["oneOf"];
    let bare = loss.as_array().unwrap().last().unwrap();
    assert_eq!(bare["type"], "string");
    assert!(bare["enum"].as_array().unwrap().iter().any(|name| name == "contrastive"));
}
