use super::lexer::{Kind, Token, shorten, tokens};
use super::{Comparison, Condition, Constant, Filter, Literal, Node, Test};
use crate::error::FilterError;

/// Words that are not names unless they stand in double quotes.
const RESERVED: [&str; 11] =
    ["and", "or", "not", "in", "between", "like", "is", "null", "true", "false", "ilike"];

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    terms: usize,
}

/// Recursive descent; recursion is bounded by [`Filter::MAX_DEPTH`], and chains of AND and OR are lists.
pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, terms: 0 };
    if parser.peek().kind == Kind::End {
        return Err(parser.error("the filter is empty"));
    }
    let node = parser.any()?;
    if parser.peek().kind != Kind::End {
        return Err(parser.expected("AND, OR or the end"));
    }
    Ok(node)
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // `at` moves past a token only if that is not the last, which is `End`.
        &self.tokens[self.at]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    fn error(&self, problem: impl Into<String>) -> FilterError {
        FilterError::new(self.text, self.peek().position, problem)
    }

    fn expected(&self, what: &str) -> FilterError {
        self.error(format!("expected {what}, found {}", self.peek().shown()))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_word(word);
        self.at += usize::from(found);
        found
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek().kind, Kind::Symbol(own) if own == symbol);
        self.at += usize::from(found);
        found
    }

    /// a OR b OR …
    fn any(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all()?];
        while self.take_word("or") {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Or(nodes) })
    }

    /// a AND b AND …
    fn all(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.one()?];
        while self.take_word("and") {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::And(nodes) })
    }

    /// NOT a, ( a ), or a condition on one attribute.
    fn one(&mut self) -> Result<Node, FilterError> {
        let negated = self.peek().is_word("not");
        if !negated && self.peek().kind != Kind::Symbol("(") {
            return self.test();
        }
        if self.depth == Filter::MAX_DEPTH {
            return Err(self
                .error(format!("more than {} parentheses and NOTs inside one another", Filter::MAX_DEPTH)));
        }
        self.depth += 1;
        let open = self.next();
        let node = if negated {
            Node::Not(Box::new(self.one()?))
        } else {
            let node = self.any()?;
            if !self.take_symbol(")") {
                return Err(
                    self.expected(&format!("AND, OR or `)` for the `(` at character {}", open.position))
                );
            }
            node
        };
        self.depth -= 1;
        Ok(node)
    }

    fn count(&mut self) -> Result<(), FilterError> {
        self.terms += 1;
        if self.terms > Filter::MAX_TERMS {
            return Err(self.error(format!("more than {} comparisons and values", Filter::MAX_TERMS)));
        }
        Ok(())
    }

    fn test(&mut self) -> Result<Node, FilterError> {
        self.count()?;
        let Token { kind, position } = self.peek().clone();
        let name = match kind {
            Kind::Quoted(name) => name,
            Kind::Word(word) if !RESERVED.iter().any(|r| word.eq_ignore_ascii_case(r)) => word,
            Kind::Constant(_) => {
                return Err(self
                    .expected("an attribute's name")
                    .advise("write the attribute first: price > 3"));
            }
            Kind::Word(word) => {
                let advice = format!("an attribute of that name is written \"{word}\", in double quotes");
                return Err(self.expected("a condition").advise(advice));
            }
            _ => return Err(self.expected("a condition")),
        };
        self.at += 1;
        let (negated, condition) = self.condition()?;
        let test = Node::Test(Test { name, position, condition });
        Ok(if negated { Node::Not(Box::new(test)) } else { test })
    }

    /// What stands after a name, and whether it is negated.
    fn condition(&mut self) -> Result<(bool, Condition), FilterError> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        if let Kind::Symbol(symbol) = self.peek().kind {
            let comparison = match symbol {
                "=" => Some((false, Equal)),
                "!=" | "<>" => Some((true, Equal)),
                "<" => Some((false, Less)),
                "<=" => Some((false, LessOrEqual)),
                ">" => Some((false, Greater)),
                ">=" => Some((false, GreaterOrEqual)),
                _ => None,
            };
            let Some((negated, comparison)) = comparison else { return Ok((false, Condition::Holds)) };
            self.at += 1;
            return Ok((negated, Condition::Compare(comparison, self.literal()?)));
        }
        if self.take_word("is") {
            let negated = self.take_word("not");
            return if self.take_word("null") {
                Ok((negated, Condition::IsNull))
            } else {
                Err(self.expected("NULL"))
            };
        }
        let negated = self.take_word("not");
        if self.take_word("in") {
            return Ok((negated, Condition::In(self.list()?)));
        }
        if self.take_word("between") {
            let low = self.literal()?;
            if !self.take_word("and") {
                return Err(self.expected("AND and the upper end of BETWEEN"));
            }
            return Ok((negated, Condition::Between(low, self.literal()?)));
        }
        if self.take_word("like") {
            return Ok((negated, Condition::Like(self.literal()?)));
        }
        if negated {
            return Err(self.expected("IN, BETWEEN or LIKE"));
        }
        match &self.peek().kind {
            Kind::End => Ok((false, Condition::Holds)),
            Kind::Word(word) if ["and", "or"].iter().any(|w| word.eq_ignore_ascii_case(w)) => {
                Ok((false, Condition::Holds))
            }
            Kind::Word(word) if word.eq_ignore_ascii_case("ilike") => Err(self
                .error("there is no ILIKE")
                .advise("LIKE is case-sensitive; use LIKE with each spelling")),
            _ => Err(self.expected("=, !=, <, <=, >, >=, IN, BETWEEN, LIKE, IS, AND or OR")),
        }
    }

    fn list(&mut self) -> Result<Vec<Literal>, FilterError> {
        if !self.take_symbol("(") {
            return Err(self.expected("`(` and a list of values"));
        }
        let mut values = vec![self.literal()?];
        while self.take_symbol(",") {
            self.count()?;
            values.push(self.literal()?);
        }
        if !self.take_symbol(")") {
            return Err(self.expected("`,` or `)`"));
        }
        Ok(values)
    }

    fn literal(&mut self) -> Result<Literal, FilterError> {
        let Token { kind, position } = self.peek().clone();
        let value = match kind {
            Kind::Constant(value) => value,
            Kind::Word(word) if word.eq_ignore_ascii_case("true") => Constant::Bool(true),
            Kind::Word(word) if word.eq_ignore_ascii_case("false") => Constant::Bool(false),
            Kind::Word(word) if word.eq_ignore_ascii_case("null") => {
                return Err(self
                    .error("a comparison with NULL never holds")
                    .advise("write IS NULL or IS NOT NULL"));
            }
            Kind::Word(word) | Kind::Quoted(word) => {
                let advice = format!("put texts in single quotes: '{}'", shorten(&word).replace('\'', "''"));
                return Err(self.expected("a value").advise(advice));
            }
            _ => return Err(self.expected("a value")),
        };
        self.at += 1;
        Ok(Literal { position, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        let list = |nodes: &[Node], word: &str| {
            format!("({})", nodes.iter().map(show).collect::<Vec<_>>().join(word))
        };
        match node {
            Node::And(nodes) => list(nodes, " & "),
            Node::Or(nodes) => list(nodes, " | "),
            Node::Not(node) => format!("!{}", show(node)),
            Node::Test(test) => test.name.clone(),
        }
    }

    #[test]
    fn not_binds_tighter_than_and_and_and_than_or() {
        for (text, want) in [
            ("a OR b AND NOT c", "(a | (b & !c))"),
            ("(a or b) and not (c or d)", "((a | b) & !(c | d))"),
            ("NOT NOT a", "!!a"),
            ("a != 1 AND b BETWEEN 1 AND 2 AND c", "(!a & b & c)"),
            (
                "a NOT IN (1, 2) OR b IS NOT NULL OR c NOT LIKE 'x' OR d NOT BETWEEN 1 AND 2",
                "(!a | !b | !c | !d)",
            ),
            ("\"and\" = 1", "and"),
        ] {
            assert_eq!(show(&parse(text).unwrap()), want, "{text}");
        }
    }

    #[test]
    fn errors_point_at_the_character() {
        for (text, position, part) in [
            ("", 1, "the filter is empty"),
            ("   ", 4, "the filter is empty"),
            ("a =", 4, "expected a value, found the end"),
            ("a = b", 5, "expected a value, found `b`"),
            ("a = \"b\"", 5, "expected a value"),
            ("a = 1 b", 7, "expected AND, OR or the end, found `b`"),
            ("(a = 1", 7, "expected AND, OR or `)` for the `(` at character 1, found the end"),
            ("a = 1)", 6, "found `)`"),
            ("a IN 1", 6, "expected `(`"),
            ("a IN ()", 7, "expected a value"),
            ("a IN (1 2)", 9, "expected `,` or `)`"),
            ("a BETWEEN 1 OR 2", 13, "expected AND"),
            ("a IS 3", 6, "expected NULL"),
            ("a NOT = 3", 7, "expected IN, BETWEEN or LIKE"),
            ("3 < a", 1, "expected an attribute's name"),
            ("a = NULL", 5, "never holds"),
            ("AND a", 1, "expected a condition"),
            ("a ILIKE 'x'", 3, "there is no ILIKE"),
            ("a , b", 3, "expected AND, OR or the end"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.position, position, "{text}: {error}");
            assert!(error.problem.contains(part), "{text}: {error}");
        }
        let error = parse("a = 1 AND\nbb = cc").unwrap_err();
        assert_eq!(error.excerpt(), "bb = cc\n     ^");
        assert_eq!(error.hint().unwrap(), "put texts in single quotes: 'cc'");
    }

    #[test]
    fn nesting_and_length_have_limits_and_long_chains_do_not_nest() {
        let nested = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
        assert!(parse(&nested(Filter::MAX_DEPTH)).is_ok());
        assert!(parse(&nested(Filter::MAX_DEPTH + 1)).unwrap_err().problem.contains("inside one another"));
        assert!(parse(&nested(1_000_000)).is_err());
        assert!(parse(&"NOT ".repeat(1_000_000)).is_err());
        let chain = |n: usize| vec!["a"; n].join(" AND ");
        assert!(parse(&chain(Filter::MAX_TERMS)).is_ok());
        assert!(parse(&chain(Filter::MAX_TERMS + 1)).unwrap_err().problem.contains("more than"));
        assert!(parse(&format!("a IN ({})", vec!["1"; Filter::MAX_TERMS + 1].join(","))).is_err());
    }
}
