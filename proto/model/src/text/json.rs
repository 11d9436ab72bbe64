//! JSON (RFC 8259) with positions.

use std::borrow::Cow;

use super::{
    MAX_DEPTH, SyntaxError,
    node::{Key, Node, Value},
};
use crate::fault::Position;

/// Reads one JSON value and nothing after it.
pub fn parse(text: &str, first_line: u32) -> Result<Node<'_>, SyntaxError> {
    let mut cursor = Cursor { text, offset: 0, line: first_line, line_start: 0 };
    cursor.blank();
    let root = cursor.value(0)?;
    cursor.blank();
    match cursor.peek() {
        None => Ok(root),
        Some(_) => Err(cursor.error("something stands after the value")),
    }
}

struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
    line_start: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn at(&self) -> Position {
        let before = self.text.get(self.line_start..self.offset).unwrap_or_default();
        let column = u32::try_from(before.chars().count()).unwrap_or(u32::MAX - 1);
        Position { line: self.line, column: column + 1 }
    }

    fn error(&self, reason: &str) -> SyntaxError {
        SyntaxError { at: self.at(), reason: reason.to_owned() }
    }

    fn blank(&mut self) {
        while let Some(c @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.offset += 1;
            if c == b'\n' {
                self.line = self.line.saturating_add(1);
                self.line_start = self.offset;
            }
        }
    }

    fn take(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.offset += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deep"));
        }
        let at = self.at();
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(Cow::Borrowed(self.number()?)),
            _ => self.word()?,
        };
        Ok(Node { at, value })
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        self.offset += 1;
        let mut entries = Vec::new();
        self.blank();
        if self.take(b'}') {
            return Ok(Value::Map(entries));
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected the name of a field in quotes"));
            }
            let at = self.at();
            let name = self.string()?;
            self.blank();
            if !self.take(b':') {
                return Err(self.error("expected ':' after the name of a field"));
            }
            self.blank();
            entries.push((Key { at, name }, self.value(depth + 1)?));
            self.blank();
            if self.take(b'}') {
                return Ok(Value::Map(entries));
            }
            if !self.take(b',') {
                return Err(self.error("expected ',' or '}'"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        self.offset += 1;
        let mut items = Vec::new();
        self.blank();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            self.blank();
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            if !self.take(b',') {
                return Err(self.error("expected ',' or ']'"));
            }
        }
    }

    fn word(&mut self) -> Result<Value<'a>, SyntaxError> {
        for (word, value) in
            [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))]
        {
            if self.rest().starts_with(word) {
                self.offset += word.len();
                return Ok(value);
            }
        }
        Err(self.error("expected a value"))
    }

    fn digits(&mut self) -> usize {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.offset += count;
        count
    }

    fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let rest = self.rest();
        let start = self.offset;
        self.take(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.error("no number"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.error("no digit after the decimal point"));
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.offset += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.offset += 1;
            }
            if self.digits() == 0 {
                return Err(self.error("no digit in the exponent"));
            }
        }
        Ok(rest.get(..self.offset - start).unwrap_or_default())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.offset += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let rest = self.rest();
            let run = rest.find(|c| matches!(c, '"' | '\\') || c < ' ').unwrap_or(rest.len());
            let plain = rest.get(..run).unwrap_or_default();
            if text.is_empty() {
                text = Cow::Borrowed(plain);
            } else {
                text.to_mut().push_str(plain);
            }
            self.offset += run;
            match self.peek() {
                Some(b'"') => {
                    self.offset += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    let c = self.escape()?;
                    text.to_mut().push(c);
                }
                Some(_) => return Err(self.error("a control character within a string")),
                None => return Err(self.error("the string does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        self.offset += 1;
        let c = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.offset += 1;
                return self.unicode();
            }
            _ => return Err(self.error("no escape of JSON")),
        };
        self.offset += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.four_digits()?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            self.offset += 2;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(code).ok_or_else(|| self.error("no character"));
            }
        }
        Err(self.error("half of a surrogate pair"))
    }

    fn four_digits(&mut self) -> Result<u32, SyntaxError> {
        let digits =
            self.rest().get(..4).filter(|text| text.bytes().all(|c| c.is_ascii_hexdigit()));
        let code = digits.and_then(|text| u32::from_str_radix(text, 16).ok());
        self.offset += if code.is_some() { 4 } else { 0 };
        code.ok_or_else(|| self.error("expected four hexadecimal digits"))
    }
}
