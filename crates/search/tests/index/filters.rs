use std::cmp::Ordering;

use parallax_random::Key;
use parallax_search::{Filter, Index, Similarity, delete};
use serde_json::Value;

use crate::rows::{Draw, Rows};

type Truth = Box<dyn Fn(&Value) -> Option<bool>>;

/// A condition and its truth for a row, found the slow way: `None` is neither true nor false.
struct Case {
    text: String,
    truth: Truth,
}

fn order(value: &Value, other: &Value) -> Option<Ordering> {
    match (value, other) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (a, b) => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()),
    }
}

/// A random condition, nested up to `depth`.
fn condition(key: Key, depth: usize) -> Case {
    let (left, right) = (key.named("left"), key.named("right"));
    match if depth == 0 { 3 + key.below(0, 7) } else { key.below(0, 10) } {
        0 => {
            let (a, b) = (condition(left, depth - 1), condition(right, depth - 1));
            Case {
                text: format!("({} AND {})", a.text, b.text),
                truth: Box::new(move |row| match ((a.truth)(row), (b.truth)(row)) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                }),
            }
        }
        1 => {
            let (a, b) = (condition(left, depth - 1), condition(right, depth - 1));
            Case {
                text: format!("({} or {})", a.text, b.text),
                truth: Box::new(move |row| match ((a.truth)(row), (b.truth)(row)) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                }),
            }
        }
        2 => {
            let a = condition(left, depth - 1);
            Case { text: format!("NOT {}", a.text), truth: Box::new(move |row| (a.truth)(row).map(|t| !t)) }
        }
        3 => Case { text: "archived".into(), truth: Box::new(|row| row["archived"].as_bool()) },
        4 => {
            let name = ["topic", "price", "weight", "archived"][key.below(1, 4)];
            let not = key.below(2, 2) == 1;
            Case {
                text: format!("{name} IS {}NULL", if not { "NOT " } else { "" }),
                truth: Box::new(move |row| Some(row[name].is_null() != not)),
            }
        }
        5 => {
            let (pattern, test): (&str, fn(&str) -> bool) = [
                ("%i%", (|t| t.contains('i')) as fn(&str) -> bool),
                ("_r%", |t| t.chars().nth(1) == Some('r')),
                ("%ing", |t| t.ends_with("ing")),
                ("billing", |t| t == "billing"),
            ][key.below(1, 4)];
            let not = key.below(2, 2) == 1;
            Case {
                text: format!("topic {}LIKE '{pattern}'", if not { "NOT " } else { "" }),
                truth: Box::new(move |row| row["topic"].as_str().map(|t| test(t) != not)),
            }
        }
        kind => {
            let (name, constant): (&str, fn(Key) -> Value) = [
                (
                    "topic",
                    (|k| ["billing", "access", "b", "größe", "x"][k.below(0, 5)].into()) as fn(Key) -> Value,
                ),
                ("price", |k| (k.below(0, 24) as i64 - 8).into()),
                ("price", |k| (k.below(0, 48) as f64 / 2.0 - 8.0).into()),
                ("weight", |k| (k.below(0, 70) as f64 / 8.0).into()),
                ("weight", |k| (k.below(0, 10) as i64).into()),
                ("archived", |k| (k.below(0, 2) == 1).into()),
            ][key.below(1, 6)];
            let spelled = |value: &Value| match value {
                Value::String(text) => format!("'{text}'"),
                other => other.to_string(),
            };
            let not = key.below(2, 2) == 1;
            let prefix = if not { "NOT " } else { "" };
            match kind {
                6 => {
                    let values: Vec<Value> =
                        (0..1 + key.below(3, 9) as u64).map(|i| constant(key.at(i))).collect();
                    let list = values.iter().map(spelled).collect::<Vec<_>>().join(", ");
                    Case {
                        text: format!("{name} {prefix}in ({list})"),
                        truth: Box::new(move |row| {
                            (!row[name].is_null()).then(|| {
                                values.iter().any(|v| order(&row[name], v) == Some(Ordering::Equal)) != not
                            })
                        }),
                    }
                }
                7 => {
                    let (low, high) = (constant(key.at(0)), constant(key.at(1)));
                    Case {
                        text: format!("{name} {prefix}BETWEEN {} AND {}", spelled(&low), spelled(&high)),
                        truth: Box::new(move |row| {
                            let (a, b) = (order(&row[name], &low)?, order(&row[name], &high)?);
                            Some((a.is_ge() && b.is_le()) != not)
                        }),
                    }
                }
                _ => {
                    let (symbol, accepts): (&str, fn(Ordering) -> bool) = [
                        ("=", Ordering::is_eq as fn(Ordering) -> bool),
                        ("!=", Ordering::is_ne),
                        ("<>", Ordering::is_ne),
                        ("<", Ordering::is_lt),
                        ("<=", Ordering::is_le),
                        (">", Ordering::is_gt),
                        (">=", Ordering::is_ge),
                    ][key.below(3, 7)];
                    let value = constant(key.at(0));
                    Case {
                        text: format!("{name}{symbol}{}", spelled(&value)),
                        truth: Box::new(move |row| order(&row[name], &value).map(accepts)),
                    }
                }
            }
        }
    }
}

#[test]
fn random_filters_keep_the_rows_that_three_valued_logic_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i");
    let rows = Rows::new(Key::new(1), 600, 3, Draw::Whole);
    rows.write(&path, Similarity::Dot, 170, 600);
    delete(&path, &["doc-5", "doc-599", "doc-170"]).unwrap();
    let index = Index::open(&path).unwrap();
    let objects: Vec<Value> = (0..600)
        .map(|row| {
            // Names that a row lacks are null.
            let mut object = rows.attributes[row].clone();
            object.entry("price").or_insert(Value::Null);
            object.into()
        })
        .collect();
    let (mut kept, mut dropped) = (0, 0);
    for case in 0..1500 {
        let Case { text, truth } = condition(Key::new(2).at(case), (case % 4) as usize);
        let filter = Filter::parse(&text).unwrap_or_else(|e| panic!("{e}\n{}", e.excerpt()));
        let want: Vec<usize> =
            (0..600).filter(|r| ![5, 599, 170].contains(r) && truth(&objects[*r]) == Some(true)).collect();
        let hits = &index.search(&[1.0, 2.0, 3.0], 600, Some(&filter)).unwrap()[0];
        let mut got: Vec<usize> = hits.iter().map(|hit| hit.row).collect();
        got.sort_unstable();
        assert_eq!(got, want, "{text}");
        assert_eq!(index.count(Some(&filter)).unwrap(), want.len());
        kept += usize::from(!want.is_empty() && want.len() < 597);
        dropped += usize::from(want.is_empty());
    }
    assert!(kept > 1000 && dropped > 20, "{kept} filters keep some rows, {dropped} none");
}

#[test]
fn a_filter_that_does_not_fit_the_index_says_where_and_what_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i");
    Rows::new(Key::new(1), 30, 3, Draw::Whole).write(&path, Similarity::Dot, 100, 30);
    let index = Index::open(&path).unwrap();
    let names = "the attributes are \"topic\", \"price\", \"weight\", \"archived\"";
    for (text, message, hint) in [
        (
            "price > 3 AND topik = 'x'",
            format!("filter, character 15: there is no attribute \"topik\"; {names}"),
            Some("did you mean \"topic\"?"),
        ),
        ("zzz = 1", format!("filter, character 1: there is no attribute \"zzz\"; {names}"), None),
        (
            "topic = 3",
            "filter, character 9: the attribute \"topic\" holds texts, not numbers".into(),
            Some("put the value in single quotes"),
        ),
        (
            "price IN (1, '2')",
            "filter, character 14: the attribute \"price\" holds whole numbers, not texts".into(),
            Some("write the value without quotes"),
        ),
        (
            "NOT topic",
            "filter, character 5: the attribute \"topic\" holds texts, which is not a condition by itself"
                .into(),
            Some("compare it: topic = …"),
        ),
        (
            "price LIKE '3%'",
            "filter, character 1: the attribute \"price\" holds whole numbers, and LIKE is for texts".into(),
            Some("use =, < or BETWEEN"),
        ),
        (
            "archived = 1",
            "filter, character 12: the attribute \"archived\" holds true and false, not numbers".into(),
            None,
        ),
    ] {
        let error = index.search(&[0.0; 3], 1, Some(&Filter::parse(text).unwrap())).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.hint().as_deref(), hint, "{text}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_a_filter_or_an_error_inside_it(text in "(?s).{0,60}") {
        if let Err(error) = Filter::parse(&text) {
            proptest::prop_assert!((1..=text.chars().count() + 1).contains(&error.position));
            error.excerpt();
        }
    }

    #[test]
    fn any_sequence_of_words_is_a_filter_or_an_error(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", "\"b c\"", "'x'", "3", "-1.5", "AND", "OR", "NOT", "IN", "(", ")", ",", "=", "!=", "<", "IS",
                "NULL", "BETWEEN", "LIKE", "true",
            ]),
            0..14,
        )
    ) {
        let text = words.join(" ");
        if let Err(error) = Filter::parse(&text) {
            proptest::prop_assert!((1..=text.chars().count() + 1).contains(&error.position));
        }
    }
}
