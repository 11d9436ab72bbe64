//! `margay delete`, `patch`, `label`: changes of resources that are there.

use margay_proto::v1::{self, WriteMode, resources_client::ResourcesClient};
use serde_json::{Map, Value};
use tonic::{Code, Status, transport::Channel};

use super::{documents, fetch, kind, name_of, namespace, parsed, send, shown, write::Written};
use crate::{
    cli::{DeleteArgs, Files, Global, LabelArgs, PatchArgs, Space},
    commands::connect,
    error::Failure,
    output::Out,
};

/// How often a change is tried when others change the same resource.
const TRIES: usize = 5;

/// Deletes resources. What cannot be deleted does not keep the rest from it.
pub async fn delete(args: DeleteArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let names = match &args.kind {
        None => from_files(&args.files, &args.space)?,
        Some(word) => {
            let kind = kind(word)?;
            let namespace = namespace(kind, &args.space)?;
            let name = |name: &String| v1::ResourceName {
                kind: kind.name().to_owned(),
                namespace: namespace.clone(),
                name: name.clone(),
            };
            args.names.iter().map(name).collect()
        }
    };
    let mut client = connect(options).await?.resources();
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for name in names {
        match remove(name.clone(), &mut client).await {
            Ok(object) => done.push(Written::of(&parsed(&object)?, "deleted")),
            Err(status) if status.code() == Code::NotFound && args.skip_not_exists => {}
            Err(status) => failed.push(format!("{}: {}", shown(&name), status.message())),
        }
    }
    if !done.is_empty() || failed.is_empty() {
        out.all(&done)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::failed(failed.join("\n"))) }
}

/// Has the daemon remove a resource; how it was last.
pub async fn remove(
    name: v1::ResourceName,
    client: &mut ResourcesClient<Channel>,
) -> Result<String, Status> {
    let request = v1::DeleteResourceRequest { name: Some(name), revision: None };
    Ok(client.delete_resource(request).await?.into_inner().object)
}

/// Merges fields into resources.
pub async fn patch(args: PatchArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let patch: Value = serde_json::from_str(&args.patch)
        .map_err(|error| Failure::usage(format!("the patch is not JSON: {error}")))?;
    if !patch.is_object() {
        return Err(Failure::usage("the patch is not a mapping of fields"));
    }
    let names = match (&args.kind, &args.name) {
        (Some(word), Some(name)) => vec![one(word, name, &args.space)?],
        _ => from_files(&args.files, &args.space)?,
    };
    change(names, options, out, |object| {
        merge(object, &patch);
        Ok(())
    })
    .await
}

/// Sets or removes a label.
pub async fn label(args: LabelArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let (names, label) = match (args.words.as_slice(), args.files.file.is_empty()) {
        ([word, name, label], true) => (vec![one(word, name, &args.space)?], label),
        ([label], false) => (from_files(&args.files, &args.space)?, label),
        _ => {
            return Err(Failure::usage("what is to be labelled, and how?")
                .with_help("margay label KIND NAME KEY=VALUE")
                .with_help("margay label KIND NAME KEY --remove")
                .with_help("margay label -f FILE KEY=VALUE"));
        }
    };
    let (key, value) = match (label.split_once('='), args.remove) {
        (Some((key, value)), false) => (key, Some(value)),
        (None, true) => (label.as_str(), None),
        (Some(_), true) => return Err(Failure::usage("--remove takes the key of a label alone")),
        (None, false) => return Err(Failure::usage(format!("{label:?} is not KEY=VALUE"))),
    };
    change(names, options, out, |object| relabel(object, key, value, args.overwrite).map(drop))
        .await
}

/// Gives an object a label, or takes one away where there is no value; how it was before.
pub fn relabel(
    object: &mut Value,
    key: &str,
    value: Option<&str>,
    overwrite: bool,
) -> Result<Option<String>, Failure> {
    let name = shown(&name_of(object));
    let labels = object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .map(|metadata| metadata.entry("labels").or_insert_with(|| Map::new().into()))
        .and_then(Value::as_object_mut)
        .ok_or_else(|| Failure::failed(format!("{name} has no metadata")))?;
    let before = labels.get(key).and_then(Value::as_str).map(str::to_owned);
    match (value, &before) {
        (None, None) => return Err(Failure::failed(format!("{name} has no label {key}"))),
        (None, Some(_)) => {
            labels.remove(key);
        }
        (Some(new), Some(old)) if new != old && !overwrite => {
            return Err(Failure::failed(format!("{name} has {key}={old} already"))
                .with_help("--overwrite gives it the new value"));
        }
        (Some(new), _) => {
            labels.insert(key.to_owned(), new.into());
        }
    }
    Ok(before)
}

fn one(word: &str, name: &str, space: &Space) -> Result<v1::ResourceName, Failure> {
    let kind = kind(word)?;
    let namespace = namespace(kind, space)?;
    Ok(v1::ResourceName { kind: kind.name().to_owned(), namespace, name: name.to_owned() })
}

fn from_files(files: &Files, space: &Space) -> Result<Vec<v1::ResourceName>, Failure> {
    let resources = documents::read(files, space)?;
    Ok(resources.iter().map(|resource| name_of(&resource.to_json())).collect())
}

/// Reads each resource, changes it, and writes it back unless somebody else was faster; then again.
async fn change(
    names: Vec<v1::ResourceName>,
    options: &Global,
    out: &mut Out<'_>,
    mut edit: impl FnMut(&mut Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut client = connect(options).await?.resources();
    let mut done = Vec::new();
    for name in names {
        done.push(change_one(&name, &mut client, &mut edit).await?);
    }
    Ok(out.all(&done)?)
}

/// Reads a resource, changes it, and writes it back unless somebody else was faster; then again.
pub async fn change_one(
    name: &v1::ResourceName,
    client: &mut ResourcesClient<Channel>,
    edit: &mut impl FnMut(&mut Value) -> Result<(), Failure>,
) -> Result<Written, Failure> {
    for _ in 0..TRIES {
        let before = parsed(&fetch(name.clone(), client).await?)?;
        let mut object = before.clone();
        edit(&mut object)?;
        same(&before, &object)?;
        match send(WriteMode::Replace, vec![object.to_string()], false, false, client).await {
            Ok(written) => {
                let written = written.first().ok_or_else(|| {
                    Failure::failed("the daemon did not say what became of the resource")
                })?;
                return Written::read(written);
            }
            Err(status) if status.code() == Code::Aborted => {}
            Err(status) => return Err(status.into()),
        }
    }
    Err(Failure::failed(format!("{} keeps being changed by others", shown(name)))
        .with_help("try again"))
}

/// Whether a change leaves a resource the one it is: under another name it would take the place of
/// another one, whose revision may be the same.
fn same(before: &Value, after: &Value) -> Result<(), Failure> {
    for field in ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name", "/metadata/uid"]
    {
        if before.pointer(field) != after.pointer(field) {
            let (name, field) = (shown(&name_of(before)), field[1..].replace('/', "."));
            return Err(Failure::failed(format!("{name}: {field} cannot be changed")));
        }
    }
    Ok(())
}

/// RFC 7396: a null removes a field, a mapping goes into a mapping, all else replaces.
pub fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Map::new().into();
    }
    let Value::Object(fields) = object else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests;
