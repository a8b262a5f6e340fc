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
        Shape::Triplets { anchor: 2, positive: 3, negatives: vec![1, 0] }
    );
    assert_eq!(
        shape("query,positive,negative"),
        Shape::Triplets { anchor: 0, positive: 1, negatives: vec![2] }
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
    let set = Columns { score: some("label"), ..Columns::default() };
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
