use super::{Condition, Constant, Filter, Literal, Node, Test};
use crate::attribute::AttributeKind;
use crate::error::{FilterError, quoted};
use crate::format::ColumnEntry;

/// A filter whose attributes exist and have the types that it supposes.
pub(crate) struct Bound<'a> {
    pub(super) filter: &'a Filter,
    pub(super) columns: &'a [ColumnEntry],
}

impl<'a> Bound<'a> {
    pub(crate) fn new(filter: &'a Filter, columns: &'a [ColumnEntry]) -> Result<Self, FilterError> {
        let bound = Bound { filter, columns };
        bound.check(&filter.root)?;
        Ok(bound)
    }

    /// The place of an attribute; `check` has found every name of the filter.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    fn check(&self, node: &Node) -> Result<(), FilterError> {
        match node {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().try_for_each(|node| self.check(node)),
            Node::Not(node) => self.check(node),
            Node::Test(test) => self.check_test(test),
        }
    }

    fn check_test(&self, test: &Test) -> Result<(), FilterError> {
        let text = &self.filter.text;
        let Some(place) = self.place(&test.name) else { return Err(self.missing(test)) };
        let kind = self.columns[place].kind;
        if kind == AttributeKind::Null {
            return Ok(());
        }
        let wrong = |position, wants: &str| {
            FilterError::new(text, position, format!("the attribute \"{}\" holds {kind}, {wants}", test.name))
        };
        let fits = |literal: &Literal| {
            let (fits, wants) = match (&literal.value, kind) {
                (Constant::Bool(_), _) => (kind == AttributeKind::Bool, "not true or false"),
                (Constant::String(_), _) => (kind == AttributeKind::String, "not texts"),
                _ => (matches!(kind, AttributeKind::I64 | AttributeKind::F64), "not numbers"),
            };
            if fits {
                return Ok(());
            }
            let error = wrong(literal.position, wants);
            Err(if kind == AttributeKind::String {
                error.advise("put the value in single quotes")
            } else if matches!(literal.value, Constant::String(_)) {
                error.advise("write the value without quotes")
            } else {
                error
            })
        };
        match &test.condition {
            Condition::IsNull => Ok(()),
            Condition::Holds if kind == AttributeKind::Bool => Ok(()),
            Condition::Holds => Err(wrong(test.position, "which is not a condition by itself")
                .advise(format!("compare it: {} = …", test.name))),
            Condition::Compare(_, value) => fits(value),
            Condition::In(values) => values.iter().try_for_each(fits),
            Condition::Between(low, high) => fits(low).and_then(|()| fits(high)),
            Condition::Like(value) if kind != AttributeKind::String => {
                Err(wrong(test.position, "and LIKE is for texts").advise(match value.value {
                    Constant::String(_) => "use =, < or BETWEEN",
                    _ => "use =, < or BETWEEN, with a value without quotes",
                }))
            }
            Condition::Like(value) => fits(value),
        }
    }

    fn missing(&self, test: &Test) -> FilterError {
        let lower = test.name.to_lowercase();
        let nearest = self
            .columns
            .iter()
            .map(|column| (strsim::jaro_winkler(&lower, &column.name.to_lowercase()), &column.name))
            .filter(|(similarity, _)| *similarity >= 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let there_are = match names.len() {
            0 => "the index has no attributes".to_owned(),
            _ => format!("the attributes are {}", quoted(&names)),
        };
        let problem = format!("there is no attribute \"{}\"; {there_are}", test.name);
        let error = FilterError::new(&self.filter.text, test.position, problem);
        match nearest {
            Some((_, name)) => error.advise(format!("did you mean \"{name}\"?")),
            None => error,
        }
    }
}
