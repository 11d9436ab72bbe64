//! `calicoctl get`.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use margay_model::{Kind, Scope};
use margay_proto::v1::{ResourceName, resources_client::ResourcesClient};
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};

use super::{kind, name_of, reachable, read};
use crate::{
    calicoctl::{
        cli::GetArgs,
        print,
        refused::{Refused, in_its_words},
        session::Session,
        table,
    },
    commands::resources as margay,
    error::Failure,
    objects::{
        columns::{Context, Heading, NAMESPACE, headings},
        go_template::GoTemplate,
    },
    output,
};

/// One answer: an object that was named, or a list.
struct Found {
    kind: Kind,
    objects: Vec<Value>,
    /// Of a list.
    revision: Option<u64>,
}

impl Found {
    /// The object, or the list as one.
    fn value(&self) -> Value {
        match self.revision {
            Some(revision) => json!({
                "apiVersion": "projectcalico.org/v3",
                "kind": format!("{}List", self.kind),
                "metadata": { "resourceVersion": revision.to_string() },
                "items": self.objects,
            }),
            None => self.objects.first().cloned().unwrap_or_default(),
        }
    }
}

/// In which form answers are printed.
enum Form {
    Ps,
    Wide,
    Columns(Vec<String>),
    Json,
    Yaml,
    Template(GoTemplate),
}

/// Shows what is named by kind, by name or by files. What is missing does not keep the rest from
/// being shown.
pub async fn get(args: GetArgs, session: &Session) -> Result<(), Refused> {
    let form = form(&args.output)?;
    let with_namespace = args.all_namespaces || args.space.namespace.is_some();
    let names = named(&args)?;
    // What is wrong with the columns is known before anything is asked.
    for kind in kinds(&args, &names)? {
        form.headings(kind)?;
    }
    let mut client = session.resources().await?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    match names {
        Some(names) => {
            for name in names {
                match one(name, args.export, &mut client).await {
                    Ok(one) => found.push(one),
                    Err(error) => errors.push(error),
                }
            }
        }
        None => {
            let kind = kind(args.kind.as_deref().unwrap_or_default())?;
            let namespace = if args.all_namespaces {
                String::new()
            } else {
                margay::namespace(kind, &args.space)?
            };
            let (objects, revision) = margay::list(kind, &namespace, &mut client).await?;
            found.push(Found { kind, objects, revision: Some(revision) });
        }
    }
    if !found.is_empty() {
        show(&form, &found, with_namespace, &mut client).await?;
    }
    if errors.is_empty() { Ok(()) } else { Err(Refused::new(errors.join("\n"))) }
}

/// Which objects are asked for; `None`: all of a kind.
fn named(args: &GetArgs) -> Result<Option<Vec<ResourceName>>, Refused> {
    if args.all_namespaces && args.space.namespace.is_some() {
        return Err(Refused::new("cannot use both --namespace and --all-namespaces"));
    }
    let Some(word) = &args.kind else {
        let read = read(&args.files, &args.space)?;
        let names = read.iter().map(|resource| margay::name_of(&resource.to_json()));
        return Ok(Some(names.collect()));
    };
    let kind = kind(word)?;
    if args.all_namespaces && kind.scope() == Scope::Cluster {
        return Err(Refused::new(format!("{kind} is not namespaced")));
    }
    let namespace = margay::namespace(kind, &args.space)?;
    if args.names.is_empty() {
        return Ok(None);
    }
    if args.all_namespaces {
        return Err(Refused::new("cannot use --all-namespaces with the name of a resource"));
    }
    Ok(Some(args.names.iter().map(|name| name_of(kind, &namespace, name)).collect()))
}

fn kinds(args: &GetArgs, names: &Option<Vec<ResourceName>>) -> Result<Vec<Kind>, Refused> {
    match (names, &args.kind) {
        (Some(names), _) => {
            Ok(names.iter().filter_map(|name| Kind::from_name(&name.kind)).collect())
        }
        (None, Some(word)) => Ok(vec![kind(word)?]),
        (None, None) => Ok(Vec::new()),
    }
}

async fn one(
    name: ResourceName,
    export: bool,
    client: &mut ResourcesClient<Channel>,
) -> Result<Found, String> {
    let kind = Kind::from_name(&name.kind).ok_or("no such kind")?;
    reachable(kind).map_err(Refused::into_text)?;
    let object = margay::known(name, client).await.map_err(|status| match status.code() {
        Code::NotFound => in_its_words(status.message()),
        _ => Refused::from(Failure::from(status)).into_text(),
    })?;
    let mut object = margay::parsed(&object).map_err(|f| f.message().to_owned())?;
    if export {
        margay::strip(&mut object);
    }
    Ok(Found { kind, objects: vec![object], revision: None })
}

fn form(text: &str) -> Result<Form, Refused> {
    Ok(match text.split_once('=') {
        None => match text {
            "ps" => Form::Ps,
            "wide" => Form::Wide,
            "json" => Form::Json,
            "yaml" | "yml" => Form::Yaml,
            _ => return Err(unrecognized(text)),
        },
        Some(("custom-columns", columns)) => {
            Form::Columns(columns.split(',').map(|column| column.trim().to_owned()).collect())
        }
        Some(("go-template", template)) => Form::Template(margay::go_template(template)?),
        Some(("go-template-file", file)) => {
            let text = fs::read_to_string(file)
                .map_err(|error| Failure::reading(Path::new(file), &error))?;
            Form::Template(margay::go_template(&text)?)
        }
        Some(_) => return Err(unrecognized(text)),
    })
}

fn unrecognized(text: &str) -> Refused {
    Refused::new(format!("unrecognized output format '{text}'"))
}

impl Form {
    /// The columns of a kind; none where there are no columns.
    fn headings(&self, kind: Kind) -> Result<Vec<Heading>, Refused> {
        let known = headings(kind);
        Ok(match self {
            Self::Json | Self::Yaml | Self::Template(_) => Vec::new(),
            Self::Ps => known.table,
            Self::Wide => known.wide,
            Self::Columns(titles) => {
                let all = known.all();
                let find = |title: &String| {
                    let found = all.iter().find(|known| known.title.eq_ignore_ascii_case(title));
                    found.copied().ok_or_else(|| {
                        let valid: Vec<_> = all.iter().map(|heading| heading.title).collect();
                        let valid = valid.join(", ");
                        Refused::new(format!("unknown heading {title}, valid values are: {valid}"))
                    })
                };
                titles.iter().map(find).collect::<Result<_, _>>()?
            }
        })
    }
}

async fn show(
    form: &Form,
    found: &[Found],
    with_namespace: bool,
    client: &mut ResourcesClient<Channel>,
) -> Result<(), Refused> {
    match form {
        Form::Template(template) => {
            let context = margay::context(Kind::Node, client).await?;
            // Templates of the original go over all answers, even if there is but one.
            let all = Value::Array(found.iter().map(Found::value).collect());
            return print(&margay::rendered(template, &all, &context)?);
        }
        Form::Json | Form::Yaml => return Ok(data(form, found)?),
        Form::Ps | Form::Wide | Form::Columns(_) => {}
    }
    for found in found {
        let context = margay::context(found.kind, client).await?;
        let titles = form.headings(found.kind)?;
        let space = with_namespace && found.kind.scope() == Scope::Namespaced;
        let space = space && !matches!(form, Form::Columns(_));
        print(&rows(&titles, space, &found.objects, &context))?;
    }
    Ok(())
}

fn rows(titles: &[Heading], space: bool, objects: &[Value], context: &Context) -> String {
    let all: Vec<_> =
        space.then_some(NAMESPACE).into_iter().chain(titles.iter().copied()).collect();
    let mut rows = vec![all.iter().map(|heading| heading.title.to_owned()).collect::<Vec<_>>()];
    rows.extend(
        objects
            .iter()
            .map(|object| all.iter().map(|heading| heading.cell(object, context)).collect()),
    );
    table::render(&rows)
}

/// One answer bare, several as an array.
fn data(form: &Form, found: &[Found]) -> io::Result<()> {
    let value = match found {
        [only] => only.value(),
        several => Value::Array(several.iter().map(Found::value).collect()),
    };
    let mut stdout = io::BufWriter::new(io::stdout());
    match form {
        Form::Json => output::json::object(&value, &mut stdout)?,
        _ => output::yaml::object(&value, &mut stdout)?,
    }
    stdout.flush()
}
