//! From the text of a template to its steps.

use serde_json::Value;

use super::{GoTemplateError, Pipeline, Step, Term, wrong};

/// How deep blocks, and parentheses, may nest.
const MAX_DEPTH: usize = 32;

/// Parses a whole template.
pub(super) fn template(text: &str) -> Result<Vec<Step>, GoTemplateError> {
    let mut pieces = pieces(text)?.into_iter();
    let (steps, end) = block(&mut pieces, 0)?;
    match end {
        Stop::Text => Ok(steps),
        Stop::Else(_) => Err(wrong("{{else}} without a block")),
        Stop::Closed => Err(wrong("{{end}} without a block")),
    }
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// Text and actions, blanks beside `{{-` and `-}}` taken away.
fn pieces(text: &str) -> Result<Vec<Piece>, GoTemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let mut before = if trim { before.trim_start() } else { before };
        let after = after.map(|after| match after.strip_prefix("- ") {
            Some(after) => {
                before = before.trim_end();
                after
            }
            None => after,
        });
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some(after) = after else { return Ok(pieces) };
        if let Some(comment) = after.trim_start().strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or_else(|| wrong("an open comment"))?;
            let after = after.trim_start();
            trim = after.starts_with("-}}");
            rest = after
                .strip_prefix("-}}")
                .or_else(|| after.strip_prefix("}}"))
                .ok_or_else(|| wrong("something follows a comment"))?;
            continue;
        }
        let mut lexer = Lexer { rest: after, tokens: Vec::new() };
        trim = lexer.run()?;
        rest = lexer.rest;
        pieces.push(Piece::Action(lexer.tokens));
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word: a keyword, a function, a boolean.
    Word(String),
    /// `.a.b`, or the dot alone; `true`: it follows the token before without a blank.
    Field(Vec<String>, bool),
    /// `$name.a.b`.
    Variable(String, Vec<String>),
    Literal(Value),
    /// One of `| ( ) , := =`.
    Sign(&'static str),
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
}

const SIGNS: [&str; 6] = ["|", "(", ")", ",", ":=", "="];

impl Lexer<'_> {
    /// Up to the end of the action; whether blanks behind it go.
    fn run(&mut self) -> Result<bool, GoTemplateError> {
        let mut joined = false;
        loop {
            let trimmed = self.rest.trim_start();
            joined &= trimmed.len() == self.rest.len();
            self.rest = trimmed;
            for (close, trim) in [("-}}", true), ("}}", false)] {
                if let Some(rest) = self.rest.strip_prefix(close) {
                    self.rest = rest;
                    return Ok(trim);
                }
            }
            let token = self.token(joined)?;
            joined = token == Token::Sign(")");
            self.tokens.push(token);
        }
    }

    fn token(&mut self, joined: bool) -> Result<Token, GoTemplateError> {
        let first = self.rest.chars().next().ok_or_else(|| wrong("an action is not closed"))?;
        for sign in SIGNS {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Ok(Token::Sign(sign));
            }
        }
        match first {
            '"' => self.quoted(),
            '`' => {
                let inner = self.rest.get(1..).unwrap_or_default();
                let (text, rest) =
                    inner.split_once('`').ok_or_else(|| wrong("a string is not closed"))?;
                self.rest = rest;
                Ok(Token::Literal(text.into()))
            }
            '.' => Ok(Token::Field(self.fields(), joined)),
            '$' => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let name = self.word();
                Ok(Token::Variable(name, self.fields()))
            }
            c if c.is_ascii_digit() || c == '-' || c == '+' => self.number(),
            c if c.is_alphabetic() || c == '_' => Ok(match self.word().as_str() {
                "true" => Token::Literal(true.into()),
                "false" => Token::Literal(false.into()),
                "nil" => Token::Literal(Value::Null),
                word => Token::Word(word.to_owned()),
            }),
            c => Err(wrong(format!("{c:?} means nothing in an action"))),
        }
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word.to_owned()
    }

    /// `.a.b`, or the dot alone.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            let field = self.word();
            if !field.is_empty() {
                fields.push(field);
            }
        }
        fields
    }

    fn number(&mut self) -> Result<Token, GoTemplateError> {
        let ends = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '+');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number: Option<Value> = text
            .parse::<i64>()
            .map(Value::from)
            .ok()
            .or_else(|| text.parse::<f64>().ok().map(Value::from));
        number.map(Token::Literal).ok_or_else(|| wrong(format!("{text:?} is no number")))
    }

    /// A string, with the escapes that JSON and Go share.
    fn quoted(&mut self) -> Result<Token, GoTemplateError> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let (text, rest) = self.rest.split_at(at + 1);
                    self.rest = rest;
                    let value = serde_json::from_str(text);
                    return value.map(Token::Literal).map_err(|e| wrong(format!("{text}: {e}")));
                }
                _ => {}
            }
        }
        Err(wrong("a string is not closed"))
    }
}

/// What ended a block.
enum Stop {
    /// Nothing more.
    Text,
    /// With the condition of an `else if`.
    Else(Option<Vec<Token>>),
    /// `{{end}}`.
    Closed,
}

/// Steps up to the `{{else}}` or `{{end}}` of their block.
fn block(
    pieces: &mut impl Iterator<Item = Piece>,
    depth: usize,
) -> Result<(Vec<Step>, Stop), GoTemplateError> {
    if depth > MAX_DEPTH {
        return Err(wrong(format!("more than {MAX_DEPTH} blocks in each other")));
    }
    let mut steps = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                steps.push(Step::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let keyword = match tokens.first() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        let rest = tokens.get(1..).unwrap_or_default();
        match keyword.as_str() {
            "end" => return Ok((steps, Stop::Closed)),
            "else" => {
                let condition = match rest.split_first() {
                    None => None,
                    Some((Token::Word(word), rest)) if word == "if" => Some(rest.to_vec()),
                    Some(_) => return Err(wrong("{{else}} takes nothing but if")),
                };
                return Ok((steps, Stop::Else(condition)));
            }
            "if" => steps.push(condition(rest, pieces, depth)?),
            "with" => {
                let value = pipeline(rest)?;
                let (then, otherwise) = branches(pieces, depth, "with")?;
                steps.push(Step::With { value, then, otherwise });
            }
            "range" => {
                let (names, rest) = names(rest)?;
                let over = pipeline(rest)?;
                let (each, otherwise) = branches(pieces, depth, "range")?;
                steps.push(Step::Range { names, over, each, otherwise });
            }
            "define" | "template" | "block" | "break" | "continue" => {
                return Err(wrong(format!("{{{{{keyword}}}}} is not supported")));
            }
            _ => steps.push(action(&tokens)?),
        }
    }
    Ok((steps, Stop::Text))
}

fn condition(
    tokens: &[Token],
    pieces: &mut impl Iterator<Item = Piece>,
    depth: usize,
) -> Result<Step, GoTemplateError> {
    let condition = pipeline(tokens)?;
    let (then, end) = block(pieces, depth + 1)?;
    let otherwise = match end {
        Stop::Closed => Vec::new(),
        Stop::Else(Some(tokens)) => vec![self::condition(&tokens, pieces, depth + 1)?],
        Stop::Else(None) => match block(pieces, depth + 1)? {
            (steps, Stop::Closed) => steps,
            _ => return Err(wrong("{{if}} without {{end}}")),
        },
        Stop::Text => return Err(wrong("{{if}} without {{end}}")),
    };
    Ok(Step::If { condition, then, otherwise })
}

fn branches(
    pieces: &mut impl Iterator<Item = Piece>,
    depth: usize,
    what: &str,
) -> Result<(Vec<Step>, Vec<Step>), GoTemplateError> {
    let open = || wrong(format!("{{{{{what}}}}} without {{{{end}}}}"));
    match block(pieces, depth + 1)? {
        (then, Stop::Closed) => Ok((then, Vec::new())),
        (then, Stop::Else(None)) => match block(pieces, depth + 1)? {
            (otherwise, Stop::Closed) => Ok((then, otherwise)),
            _ => Err(open()),
        },
        _ => Err(open()),
    }
}

/// `$i, $x :=` before what is gone over.
fn names(tokens: &[Token]) -> Result<(Vec<String>, &[Token]), GoTemplateError> {
    let Some(at) = tokens.iter().position(|token| *token == Token::Sign(":=")) else {
        return Ok((Vec::new(), tokens));
    };
    let (before, after) = tokens.split_at(at);
    let mut names = Vec::new();
    for (number, token) in before.iter().enumerate() {
        match token {
            Token::Variable(name, fields) if number % 2 == 0 && fields.is_empty() => {
                names.push(name.clone());
            }
            Token::Sign(",") if number == 1 => {}
            _ => return Err(wrong("range takes one or two variables before :=")),
        }
    }
    if names.is_empty() || names.len() > 2 {
        return Err(wrong("range takes one or two variables before :="));
    }
    Ok((names, after.get(1..).unwrap_or_default()))
}

fn action(tokens: &[Token]) -> Result<Step, GoTemplateError> {
    if let [Token::Variable(name, fields), Token::Sign(sign @ (":=" | "=")), rest @ ..] = tokens
        && fields.is_empty()
    {
        let to = pipeline(rest)?;
        return Ok(Step::Set { name: name.clone(), new: *sign == ":=", to });
    }
    pipeline(tokens).map(Step::Print)
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, GoTemplateError> {
    let mut tokens = tokens.iter().peekable();
    let pipeline = commands(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(pipeline),
        Some(_) => Err(wrong("a parenthesis is closed that is not open")),
    }
}

/// Up to the end or a closing parenthesis, which is left.
fn commands<'t>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'t Token>>,
    depth: usize,
) -> Result<Pipeline, GoTemplateError> {
    if depth > MAX_DEPTH {
        return Err(wrong(format!("more than {MAX_DEPTH} parentheses in each other")));
    }
    let mut all = vec![Vec::new()];
    while let Some(token) = tokens.next_if(|token| **token != Token::Sign(")")) {
        let term = match token {
            Token::Sign("|") => {
                all.push(Vec::new());
                continue;
            }
            Token::Sign("(") => {
                let inner = commands(&mut *tokens as &mut std::iter::Peekable<_>, depth + 1)?;
                tokens
                    .next_if(|token| **token == Token::Sign(")"))
                    .ok_or_else(|| wrong("a parenthesis is not closed"))?;
                let fields = match tokens.next_if(|token| matches!(token, Token::Field(_, true))) {
                    Some(Token::Field(fields, _)) => fields.clone(),
                    _ => Vec::new(),
                };
                Term::Pipeline(inner, fields)
            }
            Token::Sign(sign) => return Err(wrong(format!("{sign} does not belong here"))),
            Token::Field(fields, _) => Term::Field(fields.clone()),
            Token::Variable(name, fields) => Term::Variable(name.clone(), fields.clone()),
            Token::Literal(value) => Term::Literal(value.clone()),
            Token::Word(word) => Term::Function(word.clone()),
        };
        if let Some(command) = all.last_mut() {
            command.push(term);
        }
    }
    if all.iter().any(Vec::is_empty) {
        return Err(wrong("a command is missing"));
    }
    Ok(Pipeline(all))
}
