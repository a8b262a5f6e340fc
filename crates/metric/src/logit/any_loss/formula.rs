//! A score as its user writes it.

use super::NAME;
use super::dual::Dual;
use crate::error::Error;

/// How deep parentheses, roots, signs and exponents may be nested.
const DEEPEST: usize = 64;

/// A formula of the cells of a confusion matrix: `tp`, `fp`, `fn`, `tn`, their sum `n`, numbers, `+ - * / ^`, parentheses and
/// `sqrt(...)`.
///
/// `^` binds before a sign and to the right, so `-a^2` is `-(a^2)` and `2^3^2` is `2^9`. Nothing divided by nothing is 0. It is
/// kept in the order in which it is computed, so that neither a long nor a nested one needs a deep stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Number(f64),
    Cell(usize),
    All,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Negate,
    Root,
}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// [`Error::Refused`], with the place of the first character that does not fit, counted from 1.
    pub fn parse(text: &str) -> Result<Formula, Error> {
        let mut parser =
            Parser { text, characters: text.chars().collect(), at: 0, depth: 0, steps: Vec::new() };
        parser.sum()?;
        if let Some(other) = parser.peek() {
            return Err(parser.wrong(format!("\"{other}\" is one too many")));
        }
        if !parser.steps.iter().any(|step| matches!(step, Step::Cell(_))) {
            let what = "none of tp, fp, fn and tn is in it, so there is nothing to learn";
            return Err(refused(text, 1, what));
        }
        Ok(Formula { text: text.to_owned(), steps: parser.steps })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn evaluate(&self, cells: [Dual; 4]) -> Dual {
        let mut stack: Vec<Dual> = Vec::new();
        for step in &self.steps {
            let value = match step {
                Step::Number(value) => Some(Dual::of_number(*value)),
                Step::Cell(cell) => Some(cells[*cell]),
                Step::All => Some(cells[0] + cells[1] + cells[2] + cells[3]),
                Step::Negate => stack.pop().map(|a| -a),
                Step::Root => stack.pop().map(Dual::sqrt),
                binary => stack.pop().zip(stack.pop()).map(|(b, a)| match binary {
                    Step::Add => a + b,
                    Step::Subtract => a - b,
                    Step::Multiply => a * b,
                    Step::Divide => a.over(b),
                    _ => a.power(b),
                }),
            };
            stack.extend(value);
        }
        stack.pop().unwrap_or(Dual::of_number(f64::NAN))
    }
}

fn refused(formula: &str, at: usize, what: &str) -> Error {
    Error::Refused { component: NAME, what: format!("score formula `{formula}`, character {at}: {what}") }
}

struct Parser<'t> {
    text: &'t str,
    characters: Vec<char>,
    at: usize,
    depth: usize,
    steps: Vec<Step>,
}

impl Parser<'_> {
    fn wrong(&self, what: impl Into<String>) -> Error {
        refused(self.text, self.at + 1, &what.into())
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    fn takes(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn deeper(&mut self, part: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("nested more than {DEEPEST} deep")));
        }
        let done = part(self);
        self.depth -= 1;
        done
    }

    fn sum(&mut self) -> Result<(), Error> {
        self.product()?;
        loop {
            let step = match self.peek() {
                Some('+') => Step::Add,
                Some('-') => Step::Subtract,
                _ => return Ok(()),
            };
            self.at += 1;
            self.product()?;
            self.steps.push(step);
        }
    }

    fn product(&mut self) -> Result<(), Error> {
        self.signed()?;
        loop {
            let step = match self.peek() {
                Some('*') => Step::Multiply,
                Some('/') => Step::Divide,
                _ => return Ok(()),
            };
            self.at += 1;
            self.signed()?;
            self.steps.push(step);
        }
    }

    fn signed(&mut self) -> Result<(), Error> {
        if self.takes('-') {
            self.deeper(Self::signed)?;
            self.steps.push(Step::Negate);
            return Ok(());
        }
        self.atom()?;
        if self.takes('^') {
            self.deeper(Self::signed)?;
            self.steps.push(Step::Power);
        }
        Ok(())
    }

    fn atom(&mut self) -> Result<(), Error> {
        match self.peek() {
            Some('(') => self.parenthesis(),
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(),
            Some(c) => Err(self.wrong(format!("\"{c}\" stands where a number, a cell or \"(\" should"))),
            None => Err(self.wrong("it ends where a number, a cell or \"(\" should stand")),
        }
    }

    fn parenthesis(&mut self) -> Result<(), Error> {
        if !self.takes('(') {
            return Err(self.wrong("\"(\" is missing"));
        }
        self.deeper(Self::sum)?;
        if self.takes(')') { Ok(()) } else { Err(self.wrong("\")\" is missing")) }
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        let digits = |parser: &mut Self| {
            while parser.characters.get(parser.at).is_some_and(|c| c.is_ascii_digit() || *c == '.') {
                parser.at += 1;
            }
        };
        digits(self);
        if matches!(self.characters.get(self.at), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.characters.get(self.at + 1), Some('+' | '-')));
            if self.characters.get(self.at + 1 + sign).is_some_and(char::is_ascii_digit) {
                self.at += 1 + sign;
                digits(self);
            }
        }
        let text: String = self.characters[start..self.at].iter().collect();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                self.steps.push(Step::Number(value));
                Ok(())
            }
            _ => {
                self.at = start;
                Err(self.wrong(format!("\"{text}\" is no number")))
            }
        }
    }

    fn name(&mut self) -> Result<(), Error> {
        let start = self.at;
        while self.characters.get(self.at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
            self.at += 1;
        }
        let name: String = self.characters[start..self.at].iter().collect();
        let step = match name.as_str() {
            "tp" => Step::Cell(0),
            "fp" => Step::Cell(1),
            "fn" => Step::Cell(2),
            "tn" => Step::Cell(3),
            "n" => Step::All,
            "sqrt" => {
                self.parenthesis()?;
                Step::Root
            }
            _ => {
                self.at = start;
                return Err(
                    self.wrong(format!("\"{name}\" is not known; it can be tp, fp, fn, tn, n or sqrt(...)"))
                );
            }
        };
        self.steps.push(step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::score::{Cells, Score};
    use super::Formula;

    const CELLS: Cells = Cells { tp: 3.0, fp: 2.0, fn_: 1.0, tn: 6.0 };

    fn value(text: &str) -> f64 {
        Score::Formula(text.to_owned()).of(CELLS).unwrap().0
    }

    #[test]
    fn operators_bind_as_they_should() {
        assert_eq!(value("tp + fp * fn - tn / fp"), 2.0);
        assert_eq!(value("-tp^2"), -9.0);
        assert_eq!(value("2^tp^fp * 1"), 512.0);
        assert_eq!(value("(tp - fp - fn) / (tn - 2 * tp)"), 0.0);
        assert_eq!(value("sqrt(tp * (tn + n)) + 1e-1 * .5 - 2^-fn"), 54f64.sqrt() + 0.05 - 0.5);
        assert_eq!(value("tp - -2"), 5.0);
        assert_eq!(value("tp-fp-fn"), 0.0);
    }

    #[test]
    fn slopes_are_the_central_differences() {
        let formulas = [
            "2*tp/(2*tp+fp+fn)",
            "(tp*tn - fp*fn) / sqrt((tp+fp)*(tp+fn)*(tn+fp)*(tn+fn))",
            "tp / (tp + 0.3*fp + 0.7*fn)",
            "tp/(tp+fn) + tn/(tn+fp) - 1",
            "(tp/n)^(fn/n) - tn^0.5 * 3 + (fp - tn)^2",
        ];
        for text in formulas {
            let score = Score::Formula(text.to_owned());
            let (_, slopes) = score.of(CELLS).unwrap();
            for (cell, slope) in slopes.into_iter().enumerate() {
                let at = |h: f64| {
                    let mut moved = CELLS;
                    *[&mut moved.tp, &mut moved.fp, &mut moved.fn_, &mut moved.tn][cell] += h;
                    score.of(moved).unwrap().0
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (slope - numeric).abs() < 1e-8 * numeric.abs().max(1.0),
                    "{text} {cell}: {slope} {numeric}"
                );
            }
        }
    }

    #[test]
    fn a_wrong_formula_says_where() {
        let wrong = |text: &str| Formula::parse(text).unwrap_err().to_string();
        for (text, at, what) in [
            ("2*tq/n", 3, "\"tq\" is not known"),
            ("tp/(tp+fp", 10, "\")\" is missing"),
            ("tp fp", 4, "one too many"),
            ("tp +", 5, "it ends"),
            ("", 1, "it ends"),
            ("tp * 1.2.3", 6, "is no number"),
            ("sqrt tp", 6, "\"(\" is missing"),
            ("tp % 2", 4, "one too many"),
            ("1 + n", 1, "nothing to learn"),
            ("tp * 1e999", 6, "is no number"),
        ] {
            let said = wrong(text);
            assert!(said.contains(&format!("character {at}: ")) && said.contains(what), "{text}: {said}");
        }
        let deep = format!("{}tp{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(wrong(&deep).contains("nested"));
        assert!(wrong(&format!("{}tp", "-".repeat(100_000))).contains("nested"));
        // Long is not deep.
        let long = format!("tp{}", " + tp".repeat(100_000));
        assert_eq!(value(&long), 300_003.0);
    }

    #[test]
    fn no_finite_value_is_said_with_the_cells() {
        let error = Score::Formula("tp / (tn - 6)".into()).of(CELLS).unwrap_err().to_string();
        assert!(error.contains("tp / (tn - 6)") && error.contains("tp = 3"), "{error}");
        let nothing = Cells { tp: 0.0, fp: 0.0, ..CELLS };
        assert_eq!(Score::Formula("tp / (tp + fp)".into()).of(nothing).unwrap(), (0.0, [0.0; 4]));
    }
}
