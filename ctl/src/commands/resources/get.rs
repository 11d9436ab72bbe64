//! `margay get`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{self, IsTerminal, Write},
};

use margay_model::{API_VERSION, Kind, Scope, Selector};
use margay_proto::v1::{self, resources_client::ResourcesClient};
use serde_json::{Value, json};
use serde_json_path::JsonPath;
use tonic::{Code, Status, transport::Channel};

use super::{documents, kind, namespace, parsed};
use crate::{
    cli::{Format, GetArgs, Global, Output},
    commands::connect,
    error::Failure,
    manifests,
    objects::{
        columns::{Context, Heading, NAMESPACE, headings},
        go_template::GoTemplate,
        template::{Template, find, path},
    },
    output::{
        json,
        table::{Cell, Column, Paint, Table},
        yaml,
    },
};

/// Objects asked for at a time.
const PAGE: u32 = 500;
/// What a cluster without a default BGPConfiguration has.
const DEFAULT_ASN: u64 = 64512;

/// Lists resources, shows some, or goes on with what changes.
pub async fn get(args: GetArgs, options: &Global) -> Result<(), Failure> {
    let Some(word) = &args.kind else { return in_files(&args, options).await };
    let kind = kind(word)?;
    let namespaced = kind.scope() == Scope::Namespaced;
    let space = if args.all_namespaces && !namespaced {
        return Err(Failure::usage(format!("{kind} is not namespaced")));
    } else if args.all_namespaces {
        String::new()
    } else {
        namespace(kind, &args.space)?
    };
    if args.watch && args.names.len() > 1 {
        return Err(Failure::usage("--watch takes one name, or none"));
    }
    let wanted = args.selector.as_deref().map(selector).transpose()?;
    let with_namespace = namespaced && (args.all_namespaces || args.space.namespace.is_some());
    let shape = Shape::of(&options.output, kind)?;
    let mut client = connect(options).await?.resources();
    let mut printer = Printer::new(shape, kind, with_namespace, options, &mut client).await?;
    if args.watch {
        let name = args.names.first().cloned().unwrap_or_default();
        let name = v1::ResourceName { kind: kind.name().to_owned(), namespace: space, name };
        return watch(name, wanted.as_ref(), &mut client, &mut printer).await;
    }
    if args.names.is_empty() {
        let (mut objects, revision) = list(kind, &space, &mut client).await?;
        objects.retain(|object| wanted.as_ref().is_none_or(|wanted| selects(wanted, object)));
        return printer.list(kind, objects, revision);
    }
    let name = |name: &String| v1::ResourceName {
        kind: kind.name().to_owned(),
        namespace: space.clone(),
        name: name.clone(),
    };
    let names = args.names.iter().map(name).collect();
    let (objects, missing) = found(names, args.export, &mut client).await?;
    if !objects.is_empty() || missing.is_empty() {
        printer.some(objects, args.names.len() > 1)?;
    }
    told(&missing)
}

/// Shows the resources that files name, as the datastore has them.
async fn in_files(args: &GetArgs, options: &Global) -> Result<(), Failure> {
    let read = documents::read(&args.files, &args.space)?;
    let names: Vec<_> = read.iter().map(|resource| super::name_of(&resource.to_json())).collect();
    let several = names.len() > 1;
    let mut client = connect(options).await?.resources();
    let (objects, missing) = found(names, args.export, &mut client).await?;
    let mut objects = objects.into_iter().peekable();
    let mut first = true;
    while let Some(next) = objects.peek() {
        let name = super::name_of(next).kind;
        let kind = Kind::from_name(&name).ok_or_else(|| {
            Failure::failed(format!("the daemon sent a {name}, which is unknown"))
        })?;
        let shape = Shape::of(&options.output, kind)?;
        // Each kind has columns of its own; data stands together.
        let together = !matches!(shape, Shape::Table(_) | Shape::Paths(_));
        let mut part = Vec::new();
        while let Some(object) =
            objects.next_if(|object| together || super::name_of(object).kind == name)
        {
            part.push(object);
        }
        if !first {
            io::stdout().write_all(b"\n")?;
        }
        first = false;
        let namespaced = kind.scope() == Scope::Namespaced;
        let mut printer = Printer::new(shape, kind, namespaced, options, &mut client).await?;
        printer.some(part, several)?;
    }
    told(&missing)
}

/// Objects by name, and what there is to say of those that do not exist.
async fn found(
    names: Vec<v1::ResourceName>,
    export: bool,
    client: &mut ResourcesClient<Channel>,
) -> Result<(Vec<Value>, Vec<String>), Failure> {
    let (mut objects, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match known(name, client).await {
            Ok(object) => {
                let mut object = parsed(&object)?;
                if export {
                    strip(&mut object);
                }
                objects.push(object);
            }
            Err(status) if status.code() == Code::NotFound => {
                missing.push(status.message().to_owned());
            }
            Err(status) => return Err(status.into()),
        }
    }
    Ok((objects, missing))
}

fn told(missing: &[String]) -> Result<(), Failure> {
    if missing.is_empty() { Ok(()) } else { Err(Failure::failed(missing.join("\n"))) }
}

fn selector(text: &str) -> Result<Selector, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("selector: {error}"))
            .with_help("a selector looks like role == 'db' && has(rack): margay selector --help")
    })
}

/// Whether the labels of an object match.
fn selects(selector: &Selector, object: &Value) -> bool {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let labels: BTreeMap<String, String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    selector.matches(&labels)
}

/// One object, as text, as the datastore has it.
pub async fn fetch(
    name: v1::ResourceName,
    client: &mut ResourcesClient<Channel>,
) -> Result<String, Status> {
    let request = v1::GetResourceRequest { name: Some(name), or_known: false };
    Ok(client.get_resource(request).await?.into_inner().object)
}

/// One object to be shown: while the datastore does not answer, as it was, with a warning.
pub async fn known(
    name: v1::ResourceName,
    client: &mut ResourcesClient<Channel>,
) -> Result<String, Status> {
    let request = v1::GetResourceRequest { name: Some(name), or_known: true };
    let answer = client.get_resource(request).await?.into_inner();
    answer.warnings.iter().for_each(|text| manifests::warn(text));
    Ok(answer.object)
}

/// All objects of a kind to be shown, and the revision of the list; likewise.
pub async fn list(
    kind: Kind,
    namespace: &str,
    client: &mut ResourcesClient<Channel>,
) -> Result<(Vec<Value>, u64), Failure> {
    let mut objects = Vec::new();
    let mut token = String::new();
    loop {
        let request = v1::ListResourcesRequest {
            kind: kind.name().to_owned(),
            namespace: namespace.to_owned(),
            limit: PAGE,
            continue_token: token,
            or_known: true,
        };
        let page = client.list_resources(request).await?.into_inner();
        for object in &page.objects {
            objects.push(parsed(object)?);
        }
        page.warnings.iter().for_each(|text| manifests::warn(text));
        token = page.continue_token;
        if token.is_empty() {
            return Ok((objects, page.revision));
        }
    }
}

async fn watch(
    name: v1::ResourceName,
    wanted: Option<&Selector>,
    client: &mut ResourcesClient<Channel>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    use v1::watch_resources_response::Event;
    let v1::ResourceName { kind, namespace, name } = name;
    let request = v1::WatchResourcesRequest { kind, namespace, name };
    let mut stream = client.watch_resources(request).await?.into_inner();
    let mut known = BTreeSet::new();
    while let Some(answer) = stream.message().await? {
        match answer.event {
            Some(Event::Object(text)) => {
                let object = parsed(&text)?;
                let name = super::name_of(&object);
                let key = (name.namespace.clone(), name.name.clone());
                if wanted.is_some_and(|wanted| !selects(wanted, &object)) {
                    // For who asked, it is gone with its labels.
                    if known.remove(&key) {
                        printer.event("DELETED", gone(name))?;
                    }
                    continue;
                }
                let new = known.insert(key);
                printer.event(if new { "ADDED" } else { "MODIFIED" }, object)?;
            }
            Some(Event::Deleted(name)) => {
                let told = known.remove(&(name.namespace.clone(), name.name.clone()));
                if told || wanted.is_none() {
                    printer.event("DELETED", gone(name))?;
                }
            }
            Some(Event::InSync(_)) => printer.settle()?,
            None => {}
        }
    }
    Err(Failure::failed("the daemon ended the stream"))
}

/// All that is known of an object that went away.
fn gone(name: v1::ResourceName) -> Value {
    json!({
        "apiVersion": Kind::from_name(&name.kind).map_or(API_VERSION, Kind::api_version),
        "kind": name.kind,
        "metadata": { "namespace": name.namespace, "name": name.name },
    })
}

/// The cluster's AS, where a column of the kind needs it.
pub async fn context(
    kind: Kind,
    client: &mut ResourcesClient<Channel>,
) -> Result<Context, Failure> {
    let mut context = Context { default_asn: DEFAULT_ASN };
    if kind == Kind::Node {
        let name = v1::ResourceName {
            kind: Kind::BgpConfiguration.name().to_owned(),
            namespace: String::new(),
            name: "default".to_owned(),
        };
        match known(name, client).await {
            Ok(object) => {
                let asn = parsed(&object)?.pointer("/spec/asNumber").and_then(Value::as_u64);
                context.default_asn = asn.unwrap_or(DEFAULT_ASN);
            }
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    Ok(context)
}

/// Without what only this cluster has.
pub fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.remove(field);
        }
    }
}

/// In which shape objects are printed.
enum Shape {
    Table(Vec<Heading>),
    Paths(Vec<(String, JsonPath)>),
    Json,
    Yaml,
    Name,
    JsonPath(Template),
    GoTemplate(GoTemplate),
}

impl Shape {
    fn of(output: &Output, kind: Kind) -> Result<Self, Failure> {
        Ok(match output {
            Output::Format(Format::Table) => Self::Table(headings(kind).table),
            Output::Format(Format::Wide) => Self::Table(headings(kind).wide),
            Output::Format(Format::Json) => Self::Json,
            Output::Format(Format::Yaml) => Self::Yaml,
            Output::Name => Self::Name,
            Output::GoTemplate(text) => Self::GoTemplate(go_template(text)?),
            Output::GoTemplateFile(path) => Self::GoTemplate(go_template(
                &fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?,
            )?),
            Output::JsonPath(text) => Self::JsonPath(
                Template::parse(text)
                    .map_err(|error| Failure::usage(format!("-o jsonpath: {error}")))?,
            ),
            Output::CustomColumns(text) if text.contains(':') => Self::Paths(paths(text)?),
            Output::CustomColumns(text) => Self::Table(named(text, kind)?),
        })
    }

    /// Whether a list is shown as one value.
    fn is_data(&self) -> bool {
        matches!(self, Self::Json | Self::Yaml | Self::JsonPath(_) | Self::GoTemplate(_))
    }

    fn columns(&self, with_namespace: bool) -> Vec<Column> {
        match self {
            Self::Table(headings) => {
                let space = with_namespace.then_some(Column::left("NAMESPACE"));
                space.into_iter().chain(headings.iter().map(|h| Column::left(h.title))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A template of Go.
pub fn go_template(text: &str) -> Result<GoTemplate, Failure> {
    GoTemplate::parse(text).map_err(|error| Failure::usage(format!("-o go-template: {error}")))
}

/// Columns by the headings of the kind.
fn named(text: &str, kind: Kind) -> Result<Vec<Heading>, Failure> {
    let known = headings(kind).all();
    text.split(',')
        .map(|title| {
            let title = title.trim();
            known
                .iter()
                .find(|heading| heading.title.eq_ignore_ascii_case(title))
                .copied()
                .ok_or_else(|| {
                    let titles: Vec<_> = known.iter().map(|heading| heading.title).collect();
                    Failure::usage(format!("unknown heading {title:?}"))
                        .with_help(format!("{kind} has {}", titles.join(", ")))
                })
        })
        .collect()
}

/// Columns as titles and paths: `POOL:.metadata.name,CIDR:.spec.cidr`.
fn paths(text: &str) -> Result<Vec<(String, JsonPath)>, Failure> {
    text.split(',')
        .map(|column| {
            let (title, found) = column.split_once(':').ok_or_else(|| {
                Failure::usage(format!("custom column {column:?} has no path"))
                    .with_help("TITLE:.path.of.the.field")
            })?;
            let found = path(found)
                .map_err(|error| Failure::usage(format!("custom column {title}: {error}")))?;
            Ok((title.trim().to_owned(), found))
        })
        .collect()
}

/// What a template of Go makes of a value.
pub fn rendered(
    template: &GoTemplate,
    value: &Value,
    context: &Context,
) -> Result<String, Failure> {
    template
        .render(value, context.default_asn)
        .map_err(|error| Failure::failed(format!("-o go-template: {error}")))
}

/// What prints.
struct Printer {
    shape: Shape,
    columns: Vec<Column>,
    context: Context,
    paint: Paint,
    to: io::BufWriter<io::Stdout>,
    table: Option<Table>,
}

impl Printer {
    async fn new(
        shape: Shape,
        kind: Kind,
        with_namespace: bool,
        options: &Global,
        client: &mut ResourcesClient<Channel>,
    ) -> Result<Self, Failure> {
        let context = match shape {
            Shape::Table(_) => context(kind, client).await?,
            // It may ask for it whatever the kind.
            Shape::GoTemplate(_) => context(Kind::Node, client).await?,
            _ => Context::default(),
        };
        let colour = io::stdout().is_terminal()
            && !options.no_color
            && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(Self {
            columns: shape.columns(with_namespace),
            shape,
            context,
            paint: Paint(colour),
            to: io::BufWriter::new(io::stdout()),
            table: None,
        })
    }

    /// A whole list.
    fn list(&mut self, kind: Kind, objects: Vec<Value>, revision: u64) -> Result<(), Failure> {
        if self.shape.is_data() {
            let list = json!({
                "apiVersion": kind.api_version(),
                "kind": format!("{kind}List"),
                "metadata": { "resourceVersion": revision.to_string() },
                "items": objects,
            });
            return self.value(&list);
        }
        self.rows(objects)
    }

    /// Objects that were named: one alone, several as an array.
    fn some(&mut self, objects: Vec<Value>, several: bool) -> Result<(), Failure> {
        if !self.shape.is_data() {
            return self.rows(objects);
        }
        if several {
            return self.value(&Value::Array(objects));
        }
        objects.iter().try_for_each(|object| self.value(object))
    }

    fn value(&mut self, value: &Value) -> Result<(), Failure> {
        match &self.shape {
            Shape::Json => json::object(value, &mut self.to)?,
            Shape::Yaml => yaml::object(value, &mut self.to)?,
            Shape::JsonPath(template) => self.to.write_all(template.render(value).as_bytes())?,
            Shape::GoTemplate(template) => {
                let text = rendered(template, value, &self.context)?;
                self.to.write_all(text.as_bytes())?;
            }
            _ => {}
        }
        Ok(self.to.flush()?)
    }

    fn rows(&mut self, objects: Vec<Value>) -> Result<(), Failure> {
        self.begin();
        for object in &objects {
            self.row(object)?;
        }
        if let Some(table) = self.table.take() {
            table.finish(&mut self.to)?;
        }
        Ok(self.to.flush()?)
    }

    fn begin(&mut self) {
        if !matches!(self.shape, Shape::Table(_) | Shape::Paths(_)) || self.table.is_some() {
            return;
        }
        let columns = match &self.shape {
            Shape::Paths(paths) => paths.iter().map(|(title, _)| Column::named(title)).collect(),
            _ => self.columns.clone(),
        };
        self.table = Some(Table::new(columns, true, self.paint));
    }

    fn row(&mut self, object: &Value) -> Result<(), Failure> {
        let cells = match &self.shape {
            Shape::Table(headings) => {
                let space = (self.columns.len() > headings.len()).then_some(NAMESPACE);
                let all = space.iter().chain(headings);
                all.map(|heading| Cell::new(heading.cell(object, &self.context))).collect()
            }
            Shape::Paths(paths) => {
                paths.iter().map(|(_, path)| Cell::new(find(path, object))).collect()
            }
            Shape::Name => {
                let name = super::name_of(object);
                writeln!(self.to, "{}/{}", name.kind.to_lowercase(), name.name)?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        match &mut self.table {
            Some(table) => Ok(table.push(cells, &mut self.to)?),
            None => Ok(()),
        }
    }

    /// Something that changed: a row, or one object a line.
    fn event(&mut self, kind: &str, object: Value) -> Result<(), Failure> {
        match &self.shape {
            Shape::Json => json::line(&json!({ "type": kind, "object": object }), &mut self.to)?,
            Shape::Yaml => {
                yaml::document(&json!({ "type": kind, "object": object }), &mut self.to)?;
            }
            Shape::JsonPath(_) | Shape::GoTemplate(_) => return self.value(&object),
            // What is gone has no columns.
            _ if kind == "DELETED" => {
                self.settle()?;
                writeln!(self.to, "deleted {}", super::shown(&super::name_of(&object)))?;
            }
            _ => {
                self.begin();
                self.row(&object)?;
            }
        }
        Ok(self.to.flush()?)
    }

    /// From now on every row appears at once.
    fn settle(&mut self) -> Result<(), Failure> {
        self.begin();
        if let Some(table) = &mut self.table {
            table.settle(&mut self.to)?;
        }
        Ok(self.to.flush()?)
    }
}
