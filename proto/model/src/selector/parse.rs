//! From text to [`Expression`].
//!
//! Blanks are spaces and tabs. `has(`, `all(` and `global(` are written without a blank before the
//! parenthesis; word operators are looked for right after a label only, so labels may be named
//! like them. Strings have no escapes.

use std::collections::BTreeSet;

use super::{Expression, SelectorError};

/// How deep parentheses may nest.
const MAX_DEPTH: usize = 128;
/// How long a label may be, in octets.
const MAX_LABEL: usize = 512;

/// Parses a whole selector; blank means everything.
pub fn parse(text: &str) -> Result<Expression, SelectorError> {
    let mut parser = Parser { text, offset: 0, depth: 0 };
    parser.blank();
    if parser.rest().is_empty() {
        return Ok(Expression::All);
    }
    let expression = parser.or()?;
    parser.blank();
    match parser.rest() {
        "" => Ok(expression),
        _ => Err(parser.error("&&, || or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    offset: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn error(&self, expected: &'static str) -> SelectorError {
        let before = self.text.get(..self.offset).unwrap_or_default();
        let found = match self.rest().chars().next() {
            None => "the end".to_owned(),
            Some(c) if is_label_char(c) => {
                let word = self.rest();
                let end = word.find(|c| !is_label_char(c)).unwrap_or(word.len()).min(40);
                format!("`{}`", word.get(..end).unwrap_or_default())
            }
            Some(c) => format!("`{}`", c.escape_debug()),
        };
        SelectorError { column: before.chars().count() + 1, found, expected }
    }

    fn blank(&mut self) {
        let rest = self.rest();
        self.offset += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.offset += if found { token.len() } else { 0 };
        found
    }

    /// Takes a token, with blanks before it.
    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), SelectorError> {
        self.blank();
        if self.take(token) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn or(&mut self) -> Result<Expression, SelectorError> {
        let members = self.members("||", Self::and)?;
        Ok(one_or(members, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, SelectorError> {
        let members = self.members("&&", Self::unary)?;
        Ok(one_or(members, Expression::And))
    }

    fn members(
        &mut self,
        sign: &str,
        member: fn(&mut Self) -> Result<Expression, SelectorError>,
    ) -> Result<Vec<Expression>, SelectorError> {
        let mut members = vec![member(self)?];
        loop {
            self.blank();
            if !self.take(sign) {
                return Ok(members);
            }
            members.push(member(self)?);
        }
    }

    fn unary(&mut self) -> Result<Expression, SelectorError> {
        let mut negated = false;
        loop {
            self.blank();
            if !self.take("!") {
                break;
            }
            negated = !negated;
        }
        let primary = self.primary()?;
        Ok(if negated { primary.negated() } else { primary })
    }

    fn primary(&mut self) -> Result<Expression, SelectorError> {
        const EXPECTED: &str = "a label, has(label), all(), global(), ! or (";
        if self.depth >= MAX_DEPTH {
            return Err(self.error("parentheses nested less deep"));
        }
        if self.take("(") {
            self.depth += 1;
            let inner = self.or()?;
            self.depth -= 1;
            self.expect(")", "&&, || or )")?;
            return Ok(inner);
        }
        if self.take("all(") {
            self.expect(")", ")")?;
            return Ok(Expression::All);
        }
        if self.take("global(") {
            self.expect(")", ")")?;
            return Ok(Expression::Global);
        }
        if self.take("has(") {
            self.blank();
            let label = self.label("a label")?;
            self.expect(")", ")")?;
            return Ok(Expression::Has(label));
        }
        let label = self.label(EXPECTED)?;
        self.comparison(label)
    }

    fn label(&mut self, expected: &'static str) -> Result<String, SelectorError> {
        let rest = self.rest();
        let end = rest.find(|c| !is_label_char(c)).unwrap_or(rest.len());
        let label = rest.get(..end).unwrap_or_default();
        if label.is_empty() {
            return Err(self.error(expected));
        }
        if label.len() > MAX_LABEL {
            return Err(self.error("a label of at most 512 characters"));
        }
        self.offset += end;
        Ok(label.to_owned())
    }

    fn comparison(&mut self, label: String) -> Result<Expression, SelectorError> {
        const EXPECTED: &str = "==, !=, in, not in, contains, starts with or ends with";
        self.blank();
        if self.take("==") {
            return Ok(Expression::Equal(label, self.string()?));
        }
        if self.take("!=") {
            return Ok(Expression::NotEqual(label, self.string()?));
        }
        if self.words(&["contains"]) {
            return Ok(Expression::Contains(label, self.string()?));
        }
        if self.words(&["starts", "with"]) {
            return Ok(Expression::StartsWith(label, self.string()?));
        }
        if self.words(&["ends", "with"]) {
            return Ok(Expression::EndsWith(label, self.string()?));
        }
        if self.words(&["in"]) {
            return Ok(Expression::In(label, self.set()?));
        }
        if self.words(&["not", "in"]) {
            return Ok(Expression::NotIn(label, self.set()?));
        }
        Err(self.error(EXPECTED))
    }

    /// Takes a word operator: blanks between its words are optional, and only after the last one
    /// must the word end.
    fn words(&mut self, words: &[&str]) -> bool {
        let start = self.offset;
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                self.blank();
            }
            if !self.take(word) {
                self.offset = start;
                return false;
            }
        }
        if self.rest().starts_with(is_label_char) {
            self.offset = start;
            return false;
        }
        true
    }

    fn string(&mut self) -> Result<String, SelectorError> {
        self.blank();
        let quote = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            _ => return Err(self.error("a string in quotes")),
        };
        let inner = self.rest().get(1..).unwrap_or_default();
        let Some(end) = inner.find(quote) else {
            self.offset = self.text.len();
            return Err(self.error("the closing quote"));
        };
        self.offset += end + 2;
        Ok(inner.get(..end).unwrap_or_default().to_owned())
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut set = BTreeSet::new();
        self.expect("{", "{")?;
        loop {
            self.blank();
            if self.take("}") {
                return Ok(set);
            }
            set.insert(self.string().map_err(|error| SelectorError {
                expected: if error.expected == "a string in quotes" {
                    "a string in quotes or }"
                } else {
                    error.expected
                },
                ..error
            })?);
            self.blank();
            if !self.take(",") {
                self.expect("}", ", or }")?;
                return Ok(set);
            }
        }
    }
}

fn one_or(mut members: Vec<Expression>, group: fn(Vec<Expression>) -> Expression) -> Expression {
    match (members.len(), members.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            members.extend(last);
            // Clusters have hundreds of thousands of them, mostly of two members.
            members.shrink_to_fit();
            group(members)
        }
    }
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}
