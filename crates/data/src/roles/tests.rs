use super::{Columns, Roles, Shape};
use crate::error::Result;

fn columns(names: &str) -> Vec<String> {
    names.split(',').map(str::to_owned).collect()
}

fn resolve(names: &str) -> Result<Roles> {
    Columns::default().resolve(&columns(names))
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn conventions_give_the_shape_whatever_the_order() {
    let shape = |names| resolve(names).unwrap().shape;
    assert_eq!(shape("text,category"), Shape::Labelled { text: 0, label: 1 });
    assert_eq!(shape("Label,id,Sentence"), Shape::Labelled { text: 2, label: 0 });
    assert_eq!(shape("intent,query"), Shape::Labelled { text: 1, label: 0 });
    assert_eq!(shape("answer,question"), Shape::Pairs { anchor: 1, positive: 0 });
    assert_eq!(shape("sentence_A,sentence_B"), Shape::Pairs { anchor: 0, positive: 1 });
    assert_eq!(shape("score,sentence2,sentence1"), Shape::ScoredPairs { anchor: 2, positive: 1, score: 0 });
    assert_eq!(
        shape("negative_10,negative_2,anchor,positive"),
        Shape::Triplets { anchor: 2, positive: 3, negatives: vec![1, 0], scores: vec![] }
    );
    assert_eq!(
        shape("query,positive,negative"),
        Shape::Triplets { anchor: 0, positive: 1, negatives: vec![2], scores: vec![] }
    );
}

#[test]
fn the_mapping_says_why() {
    let set = Columns { label: some("mood"), ..Columns::default() };
    let roles = set.resolve(&columns("id,text,mood,split,notes")).unwrap();
    assert_eq!((roles.split, roles.id), (Some(3), Some(0)));
    let expected = "labelled rows\n  text      <- text   (by its name)\n  label     <- mood   (set by data.label)\
                    \n  split     <- split  (by its name)\n  id        <- id     (by its name)\n  not used: notes";
    assert_eq!(roles.to_string(), expected);
}

#[test]
fn names_that_are_set_win_over_conventions() {
    let set = Columns { anchor: some("label"), positive: some("text"), ..Columns::default() };
    assert_eq!(set.resolve(&columns("text,label")).unwrap().shape, Shape::Pairs { anchor: 1, positive: 0 });
    let set = Columns { text: some("answer"), label: some("topic"), ..Columns::default() };
    let roles = set.resolve(&columns("question,answer,topic,category")).unwrap();
    assert_eq!(roles.shape, Shape::Labelled { text: 1, label: 2 });
    assert_eq!(roles.unused, ["question", "category"]);
    let set = Columns { score: Some(vec!["label".into()]), ..Columns::default() };
    let roles = set.resolve(&columns("premise,hypothesis,label")).unwrap();
    assert_eq!(roles.shape, Shape::ScoredPairs { anchor: 0, positive: 1, score: 2 });
    let set = Columns { negatives: Some(vec![]), ..Columns::default() };
    let roles = set.resolve(&columns("anchor,positive,negative")).unwrap();
    assert_eq!(roles.shape, Shape::Pairs { anchor: 0, positive: 1 });
}

#[test]
fn what_is_unclear_names_the_options() {
    let error = |names| {
        let error = resolve(names).unwrap_err();
        format!("{error}; {}", error.hint().unwrap_or_default())
    };
    for (names, words) in [
        ("text,label,category", "data.label"),
        ("text,label,question,answer", "data.anchor"),
        ("premise,hypothesis,label", "data.score = \"label\""),
        ("a,b", "data.text"),
        ("question,b", "data.positive"),
        ("text,b", "data.label"),
        ("a,label", "data.text"),
        ("query,question,answer", "data.anchor"),
    ] {
        let error = error(names);
        assert!(error.contains(words) && error.contains("columns are \""), "{names}: {error}");
    }
}

#[test]
fn a_name_that_is_not_there_is_matched_to_the_nearest() {
    let set = Columns { label: some("categroy"), ..Columns::default() };
    let error = set.resolve(&columns("text,category")).unwrap_err().to_string();
    assert!(error.contains("did you mean \"category\"?"), "{error}");
    let set = Columns { text: some("text"), label: some("text"), ..Columns::default() };
    assert!(set.resolve(&columns("text,category")).unwrap_err().to_string().contains("two roles"));
}

#[test]
fn beside_vectors_everything_is_optional() {
    let roles = Columns::default().beside_vectors(&columns("name,class,split")).unwrap();
    assert_eq!(roles.shape, Shape::Vectors { label: Some(1) });
    assert_eq!(roles.split, Some(2));
    let roles = Columns::default().beside_vectors(&columns("name")).unwrap();
    assert_eq!(roles.shape, Shape::Vectors { label: None });
}

#[test]
fn the_text_to_embed() {
    let find = |names| Columns::default().text_column(&columns(names)).ok();
    assert_eq!(find("id,sentence"), Some(1));
    assert_eq!(find("whatever"), Some(0));
    assert_eq!(find("a,b"), None);
}

#[test]
fn scores_beside_negatives_are_those_of_a_teacher() {
    let scores = |names| match resolve(names).unwrap().shape {
        Shape::Triplets { scores, .. } => scores,
        other => panic!("{other:?}"),
    };
    assert_eq!(scores("query,positive,negative,score"), [3]);
    assert_eq!(scores("query,positive,negative,score_2,score_1"), [4, 3]);
    assert_eq!(scores("query,positive,negative,negative_score,positive_score"), [4, 3]);
    // One score alone of several candidates is not one.
    assert!(scores("query,positive,negative,score_1").is_empty());
    let set = Columns { score: Some(vec!["good".into(), "bad".into()]), ..Columns::default() };
    let roles = set.resolve(&columns("query,positive,negative,bad,good")).unwrap();
    let triplets = Shape::Triplets { anchor: 0, positive: 1, negatives: vec![2], scores: vec![4, 3] };
    assert_eq!(roles.shape, triplets);
    assert!(roles.to_string().contains("score     <- good      (set by data.score)"), "{roles}");
    let error = set.resolve(&columns("query,positive,bad,good")).unwrap_err().to_string();
    assert!(error.contains("a pair without negatives has one"), "{error}");
}

#[test]
fn a_list_has_a_score_for_each_candidate_or_a_margin_for_each_negative() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists.jsonl");
    let lines = [
        r#"{"query": "a", "positive": "b", "negatives": ["c", "d"], "score": [3, 1.5, "0.5"]}"#,
        r#"{"query": "a", "positive": "b", "negatives": ["c", "d"], "score": "[2, -1]"}"#,
        r#"{"query": "a", "positive": "b", "negatives": ["c"], "score": 0.25}"#,
        r#"{"query": "a", "positive": "b", "negatives": ["c", "d"], "score": [1]}"#,
        r#"{"query": "a", "positive": "b", "negatives": ["c"], "score": [1, "much"]}"#,
        r#"{"query": "a", "positive": "b", "negatives": ["c"], "score": null}"#,
    ];
    std::fs::write(&path, lines.join("\n")).unwrap();
    let table = crate::Table::open(&[&path], &crate::TableOptions::default()).unwrap();
    let Shape::Triplets { negatives, scores, .. } = Roles::of(&table, &Columns::default()).unwrap().shape
    else {
        panic!("no triplets")
    };
    let found = |row: usize| {
        let row = table.row(row).unwrap();
        let n = super::negatives(&row, &negatives).unwrap().len();
        super::scores(&row, &scores, n)
    };
    assert_eq!(found(0).unwrap(), [3.0, 1.5, 0.5]);
    assert_eq!(found(1).unwrap(), [0.0, -2.0, 1.0]);
    assert_eq!(found(2).unwrap(), [0.0, -0.25]);
    for (row, words) in [(3, "1 of them for 2 negatives"), (4, "\"much\""), (5, "score")] {
        let error = found(row).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(&format!("{}", row + 1)), "{error}");
    }
}
