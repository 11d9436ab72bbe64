//! `create`, `apply`, `replace`, `delete`, `get`, `patch`, `label`, `validate`.

mod get;

pub use get::get;

use std::io::{self, Write};

use margay_model::{Fault, Kind, Resource, fault::Problem};
use margay_proto::v1::{ResourceName, WriteMode};
use serde_json::Value;
use tonic::Code;

use super::{
    cli::{FileArgs, LabelArgs, PatchArgs},
    print,
    refused::{Refused, in_its_words},
    session::Session,
    tally::{Action, Report, Tally},
};
use crate::{
    cli::{DeleteArgs, Files, Space},
    commands::resources::{self as margay, documents},
};

/// Creates, applies or replaces, one resource after the other.
pub async fn write(action: Action, args: FileArgs, session: &Session) -> Result<(), Refused> {
    let read = read(&args.files, &args.space)?;
    if read.is_empty() {
        return print("No resources specified\n");
    }
    let mode = match action {
        Action::Create { .. } => WriteMode::Create,
        Action::Replace => WriteMode::Replace,
        _ => WriteMode::Apply,
    };
    let mut tally = Tally::new(action, &kinds(&read));
    let mut client = session.resources().await?;
    for resource in read {
        let object = match prepared(resource, action) {
            Ok(object) => object,
            Err(why) => {
                tally.failed(why);
                continue;
            }
        };
        let objects = vec![object.to_string()];
        match margay::send(mode, objects, args.files.lenient, false, &mut client).await {
            Ok(_) => tally.done(),
            Err(status)
                if status.code() == Code::AlreadyExists
                    && action == (Action::Create { skip: true }) =>
            {
                tally.done();
            }
            Err(status) => tally.failed(in_its_words(status.message())),
        }
    }
    told(&tally.report())
}

/// Deletes, one resource after the other.
pub async fn delete(args: DeleteArgs, session: &Session) -> Result<(), Refused> {
    let names = match &args.kind {
        Some(word) => {
            let kind = kind(word)?;
            let namespace = margay::namespace(kind, &args.space)?;
            let name = |name: &String| name_of(kind, &namespace, name);
            args.names.iter().map(name).collect()
        }
        None => {
            let read = read(&args.files, &args.space)?;
            if read.is_empty() {
                return print("No resources specified\n");
            }
            read.iter().map(|resource| margay::name_of(&resource.to_json())).collect::<Vec<_>>()
        }
    };
    let kinds: Vec<_> =
        names.iter().filter_map(|name| Kind::from_name(&name.kind)).map(Kind::name).collect();
    let mut tally = Tally::new(Action::Delete, &kinds);
    let mut client = session.resources().await?;
    for name in names {
        if let Err(why) = allowed(&name, Action::Delete) {
            tally.failed(why);
            continue;
        }
        match margay::remove(name, &mut client).await {
            Ok(_) => tally.done(),
            Err(status) if status.code() == Code::NotFound && args.skip_not_exists => tally.done(),
            Err(status) => tally.failed(in_its_words(status.message())),
        }
    }
    told(&tally.report())
}

/// Merges fields into a resource.
pub async fn patch(args: PatchArgs, session: &Session) -> Result<(), Refused> {
    let kind = kind(&args.kind)?;
    let patch: Value = serde_json::from_str(&args.patch)
        .map_err(|error| Refused::new(format!("failed to patch resource: not JSON: {error}")))?;
    if let Some(directive) = directive(&patch) {
        return Err(Refused::new(format!("{directive} in a patch is not supported")));
    }
    let name = name_of(kind, &margay::namespace(kind, &args.space)?, &args.name);
    let mut tally = Tally::new(Action::Patch, &[kind.name()]);
    let mut client = session.resources().await?;
    let done = match allowed(&name, Action::Patch) {
        Err(why) => Err(why),
        Ok(()) => {
            let mut edit = |object: &mut Value| {
                margay::merge(object, &patch);
                Ok(())
            };
            let changed = margay::change_one(&name, &mut client, &mut edit).await;
            changed.map_err(|failure| Refused::from(failure).into_text())
        }
    };
    match done {
        Ok(_) => tally.done(),
        Err(why) => tally.failed(why),
    }
    told(&tally.report())
}

/// Sets or removes a label.
pub async fn label(args: LabelArgs, session: &Session) -> Result<(), Refused> {
    let kind = kind(&args.kind)?;
    let name = name_of(kind, &margay::namespace(kind, &args.space)?, &args.name);
    let (key, value) = match (args.label.split_once('='), args.remove) {
        (Some((key, value)), false) => (key, Some(value)),
        (None, true) => (args.label.as_str(), None),
        (Some(_), true) => {
            return Err(Refused::new("--remove takes the key of a label alone"));
        }
        (None, false) => {
            return Err(Refused::new(format!("invalid label {:?}: not KEY=VALUE", args.label)));
        }
    };
    allowed(&name, Action::Patch).map_err(Refused::new)?;
    let mut client = session.resources().await?;
    let mut before = None;
    let mut edit = |object: &mut Value| {
        before = margay::relabel(object, key, value, args.overwrite)?;
        Ok(())
    };
    margay::change_one(&name, &mut client, &mut edit).await?;
    let done = match (value, before) {
        (None, _) => "removed label",
        (Some(_), None) => "set label",
        (Some(_), Some(_)) => "updated label",
    };
    let from = if value.is_none() { "from" } else { "on" };
    print(&format!("Successfully {done} {key} {from} {} {}\n", args.kind, args.name))
}

/// Reads files.
pub fn validate(args: &FileArgs) -> Result<(), Refused> {
    let read = read(&args.files, &args.space)?;
    if read.is_empty() {
        return print("No resources specified\n");
    }
    let mut tally = Tally::new(Action::Validate, &kinds(&read));
    read.iter().for_each(|_| tally.done());
    told(&tally.report())
}

/// The resources of files, in their order.
///
/// # Errors
/// What is wrong with them, in this tool's words.
pub fn read(files: &Files, space: &Space) -> Result<Vec<Resource>, Refused> {
    let read = documents::placed(files, space, &fault_in_its_words).map_err(|failure| {
        Refused::new(format!("failed to execute command: {}", failure.message()))
    })?;
    let read: Vec<_> = read.into_iter().map(|placed| placed.resource).collect();
    for resource in &read {
        reachable(resource.kind()).map_err(|error| {
            Refused::new(format!("failed to execute command: {}", error.into_text()))
        })?;
    }
    Ok(read)
}

/// The kind a word means.
fn kind(word: &str) -> Result<Kind, Refused> {
    let unknown = || Refused::new(format!("resource type '{word}' is not supported"));
    let kind = Kind::from_word(word).ok_or_else(unknown)?;
    reachable(kind).map_err(|_| unknown())?;
    Ok(kind)
}

/// Whether this tool shows and takes a kind.
fn reachable(kind: Kind) -> Result<(), Refused> {
    match kind {
        Kind::BlockAffinity | Kind::LiveMigration | Kind::EndpointSlice => {
            Err(Refused::new(format!("resource type '{kind}' is not supported")))
        }
        _ => Ok(()),
    }
}

fn name_of(kind: Kind, namespace: &str, name: &str) -> ResourceName {
    ResourceName {
        kind: kind.name().to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn kinds(resources: &[Resource]) -> Vec<&'static str> {
    resources.iter().map(|resource| resource.kind().name()).collect()
}

/// What is sent: new resources carry nothing of an earlier life.
fn prepared(mut resource: Resource, action: Action) -> Result<Value, String> {
    allowed(&margay::name_of(&resource.to_json()), action)?;
    let metadata = resource.metadata_mut();
    if metadata.generate_name.is_some() {
        return Err(format!(
            "operation {} is not supported on {}: generateName",
            action.operation(),
            resource.key()
        ));
    }
    metadata.uid = None;
    metadata.creation_timestamp = None;
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.owner_references.clear();
    metadata.finalizers.clear();
    metadata.managed_fields.clear();
    Ok(resource.to_json())
}

/// What this tool leaves to others.
fn allowed(name: &ResourceName, action: Action) -> Result<(), String> {
    let why = match name.kind.as_str() {
        "ClusterInformation" => "it is written by the nodes of the cluster",
        "NetworkPolicy" if name.name.starts_with("knp.default.") => {
            "it stands for a policy of Kubernetes, to be changed there"
        }
        _ => return Ok(()),
    };
    let operation = action.operation();
    Err(format!("operation {operation} is not supported on {}: {why}", margay::shown(name)))
}

/// A field that tells a strategic merge what to do, anywhere in a patch.
fn directive(patch: &Value) -> Option<&str> {
    match patch {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            if key.starts_with('$') { Some(key.as_str()) } else { directive(value) }
        }),
        Value::Array(items) => items.iter().find_map(directive),
        _ => None,
    }
}

/// A fault, as the original says it.
fn fault_in_its_words(file: &str, fault: &Fault) -> String {
    match &fault.problem {
        Problem::Unknown { .. } => {
            let path = fault.path.to_string();
            let field = path.rsplit('.').next().unwrap_or_default();
            format!(
                "field in document is not recognized or is in the wrong location: {field} ({file}: \
                 {fault})"
            )
        }
        Problem::Refused { found, allowed } => {
            let (path, found) = (&fault.path, found.trim_matches('"'));
            format!("error with field {path} = '{found}' (expected {allowed}) ({file})")
        }
        _ => format!("{file}: {fault}"),
    }
}

fn told(report: &Report) -> Result<(), Refused> {
    print(&report.out)?;
    if report.err.is_empty() {
        return Ok(());
    }
    // Before the error, which stands on another stream.
    io::stdout().flush()?;
    Err(Refused::new(report.err.trim_end()))
}

#[cfg(test)]
mod tests;
