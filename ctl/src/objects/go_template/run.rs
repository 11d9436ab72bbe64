//! What a template makes of a value.

use serde_json::Value;

use super::{GoTemplateError, Pipeline, Step, Term, wrong};

/// Renders steps with this data.
pub(super) fn render(steps: &[Step], data: &Value, asn: u64) -> Result<String, GoTemplateError> {
    let mut run = Run { data, asn, variables: Vec::new(), text: String::new() };
    run.steps(steps, data)?;
    Ok(run.text)
}

struct Run<'a> {
    data: &'a Value,
    asn: u64,
    /// The innermost last.
    variables: Vec<(String, Value)>,
    text: String,
}

impl Run<'_> {
    /// Steps of one block: its variables end with it.
    fn steps(&mut self, steps: &[Step], dot: &Value) -> Result<(), GoTemplateError> {
        let before = self.variables.len();
        for step in steps {
            self.step(step, dot)?;
        }
        self.variables.truncate(before);
        Ok(())
    }

    fn step(&mut self, step: &Step, dot: &Value) -> Result<(), GoTemplateError> {
        match step {
            Step::Text(text) => self.text.push_str(text),
            Step::Print(pipeline) => {
                let value = self.value(pipeline, dot)?;
                self.text.push_str(&shown(&value));
            }
            Step::Set { name, new, to } => {
                let value = self.value(to, dot)?;
                if *new {
                    self.variables.push((name.clone(), value));
                } else {
                    let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                    let known = known.ok_or_else(|| wrong(format!("${name} is not defined")))?;
                    known.1 = value;
                }
            }
            Step::If { condition, then, otherwise } => {
                let holds = truth(&self.value(condition, dot)?);
                self.steps(if holds { then } else { otherwise }, dot)?;
            }
            Step::With { value, then, otherwise } => {
                let value = self.value(value, dot)?;
                if truth(&value) {
                    self.steps(then, &value)?;
                } else {
                    self.steps(otherwise, dot)?;
                }
            }
            Step::Range { names, over, each, otherwise } => {
                let items: Vec<(Value, Value)> = match self.value(over, dot)? {
                    Value::Array(items) => {
                        items.into_iter().enumerate().map(|(i, item)| (i.into(), item)).collect()
                    }
                    Value::Object(fields) => {
                        let mut fields: Vec<_> =
                            fields.into_iter().map(|(key, value)| (key.into(), value)).collect();
                        fields.sort_by_key(|(key, _)| shown(key));
                        fields
                    }
                    Value::Null => Vec::new(),
                    other => return Err(wrong(format!("range over {other}"))),
                };
                if items.is_empty() {
                    self.steps(otherwise, dot)?;
                }
                for (key, item) in items {
                    let before = self.variables.len();
                    match names.as_slice() {
                        [element] => self.variables.push((element.clone(), item.clone())),
                        [index, element] => {
                            self.variables.push((index.clone(), key));
                            self.variables.push((element.clone(), item.clone()));
                        }
                        _ => {}
                    }
                    self.steps(each, &item)?;
                    self.variables.truncate(before);
                }
            }
        }
        Ok(())
    }

    fn value(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, GoTemplateError> {
        let mut last = None;
        for command in &pipeline.0 {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(
        &self,
        command: &[Term],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value, GoTemplateError> {
        match command {
            [Term::Function(name), arguments @ ..] => {
                let mut values = Vec::with_capacity(arguments.len() + 1);
                for argument in arguments {
                    values.push(self.term(argument, dot)?);
                }
                values.extend(last);
                self.call(name, &values)
            }
            [term] if last.is_none() => self.term(term, dot),
            _ => Err(wrong("only a function takes arguments")),
        }
    }

    fn term(&self, term: &Term, dot: &Value) -> Result<Value, GoTemplateError> {
        Ok(match term {
            Term::Field(fields) => field(dot, fields),
            Term::Variable(name, fields) if name.is_empty() => field(self.data, fields),
            Term::Variable(name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                field(&known.ok_or_else(|| wrong(format!("${name} is not defined")))?.1, fields)
            }
            Term::Literal(value) => value.clone(),
            Term::Function(name) => self.call(name, &[])?,
            Term::Pipeline(pipeline, fields) => field(&self.value(pipeline, dot)?, fields),
        })
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, GoTemplateError> {
        let few = || wrong(format!("{name} is given {} values", arguments.len()));
        let two = || match arguments {
            [a, b] => Ok((a, b)),
            _ => Err(few()),
        };
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().map(shown).collect()
        };
        Ok(match (name, arguments) {
            ("join", [list, separator]) => texts(list).join(&shown(separator)).into(),
            ("joinAndTruncate", [list, separator, most]) => {
                let most = most.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(few)?;
                truncated(&texts(list).join(&shown(separator)), most).into()
            }
            ("config", [key]) if key == "asnumber" => self.asn.into(),
            ("config", [key]) => return Err(wrong(format!("config {key} is not supported"))),
            ("not", [value]) => (!truth(value)).into(),
            ("and", [.., last]) => {
                arguments.iter().find(|value| !truth(value)).unwrap_or(last).clone()
            }
            ("or", [.., last]) => {
                arguments.iter().find(|value| truth(value)).unwrap_or(last).clone()
            }
            ("len", [value]) => match value {
                Value::Array(items) => items.len().into(),
                Value::Object(fields) => fields.len().into(),
                Value::String(text) => text.len().into(),
                Value::Null => 0.into(),
                other => return Err(wrong(format!("len of {other}"))),
            },
            ("index", [value, keys @ ..]) => {
                keys.iter().fold(value.clone(), |value, key| match (&value, key) {
                    (Value::Array(items), key) => key
                        .as_u64()
                        .and_then(|at| items.get(usize::try_from(at).ok()?))
                        .cloned()
                        .unwrap_or_default(),
                    (Value::Object(fields), Value::String(key)) => {
                        fields.get(key).cloned().unwrap_or_default()
                    }
                    _ => Value::Null,
                })
            }
            ("eq", [first, others @ ..]) if !others.is_empty() => {
                others.iter().any(|other| same(first, other)).into()
            }
            ("ne", _) => two().map(|(a, b)| !same(a, b))?.into(),
            ("lt", _) => two().map(|(a, b)| less(a, b))?.into(),
            ("gt", _) => two().map(|(a, b)| less(b, a))?.into(),
            ("le", _) => two().map(|(a, b)| !less(b, a))?.into(),
            ("ge", _) => two().map(|(a, b)| !less(a, b))?.into(),
            ("print", values) => values.iter().map(shown).collect::<String>().into(),
            ("println", values) => {
                let texts: Vec<_> = values.iter().map(shown).collect();
                (texts.join(" ") + "\n").into()
            }
            ("printf", [form, values @ ..]) => formatted(&shown(form), values)?.into(),
            (
                "join" | "joinAndTruncate" | "config" | "not" | "and" | "or" | "len" | "index"
                | "eq" | "printf",
                _,
            ) => return Err(few()),
            _ => return Err(wrong(format!("function {name:?} is not supported"))),
        })
    }
}

/// A field of a field; nothing where there is none.
fn field(value: &Value, fields: &[String]) -> Value {
    let found = fields.iter().try_fold(value, |value, name| member(value, name));
    found.cloned().unwrap_or_default()
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let fields = value.as_object()?;
    let by_name = |name: &str| {
        fields.get(name).or_else(|| {
            let known = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            known.map(|(_, value)| value)
        })
    };
    match name {
        "ObjectMeta" | "ListMeta" => fields.get("metadata"),
        "TypeMeta" => Some(value),
        _ => by_name(name)
            .or_else(|| fields.get("metadata").and_then(|metadata| member(metadata, name))),
    }
}

/// Go's idea of what is true: everything but nothing, zero and what is empty.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

fn less(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a < b,
        _ => shown(a) < shown(b),
    }
}

/// A value as Go prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// At most so many characters, the last three of them dots where something is left out.
fn truncated(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(3)).collect::<String>() + "..."
}

/// `printf` with `%s`, `%v`, `%d`, `%q` and `%%`, with or without a width.
fn formatted(form: &str, values: &[Value]) -> Result<String, GoTemplateError> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = form;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let flags = after.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(after.len());
        let (width, after) = after.split_at(flags);
        let verb = after.chars().next().ok_or_else(|| wrong("printf: % at the end"))?;
        rest = after.get(verb.len_utf8()..).unwrap_or_default();
        if verb == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| wrong("printf is given too few values"))?;
        let value = match verb {
            's' | 'v' | 'd' => shown(value),
            'q' => Value::from(shown(value)).to_string(),
            other => return Err(wrong(format!("printf: %{other} is not supported"))),
        };
        let (left, width) = match width.strip_prefix('-') {
            Some(width) => (true, width),
            None => (false, width),
        };
        let width = width.parse::<u8>().map_or(0, usize::from);
        if left {
            text.push_str(&format!("{value:<width$}"));
        } else {
            text.push_str(&format!("{value:>width$}"));
        }
    }
    text.push_str(rest);
    match values.next() {
        None => Ok(text),
        Some(_) => Err(wrong("printf is given too many values")),
    }
}
