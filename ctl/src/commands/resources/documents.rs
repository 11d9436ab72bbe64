//! Resources out of files.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use margay_model::{Document, Item, Kind, Mode, Resource, Scope, decode};

use crate::{
    cli::{Files, Space},
    error::Failure,
};

/// Largest file taken: beyond, it is not a manifest.
const MAX_FILE: u64 = 64 << 20;

/// Every resource of the files, in their order, each in its namespace. All faults of all files are
/// told at once, and then nothing was read.
pub fn read(files: &Files, space: &Space) -> Result<Vec<Resource>, Failure> {
    if files.file.is_empty() {
        return Err(
            Failure::usage("no file given").with_help("-f FILE, or -f - for standard input")
        );
    }
    let mode = if files.lenient { Mode::Lenient } else { Mode::Strict };
    let mut resources = Vec::new();
    let mut faults = Vec::new();
    for (name, octets) in contents(files)? {
        match decode(&octets, mode) {
            Ok(manifest) => {
                for warning in &manifest.warnings {
                    eprintln!("warning: {name}: {warning}");
                }
                if manifest.documents.is_empty() && !files.skip_empty {
                    faults.push(format!("{name}: no resource in it"));
                }
                for document in manifest.documents {
                    let line = document.position.line;
                    match in_namespace(document, space) {
                        Ok(resource) => resources.push(resource),
                        Err(fault) => faults.push(format!("{name}: line {line}: {fault}")),
                    }
                }
            }
            Err(found) => faults.extend(found.iter().map(|fault| format!("{name}: {fault}"))),
        }
    }
    if faults.is_empty() { Ok(resources) } else { Err(Failure::usage(faults.join("\n"))) }
}

fn in_namespace(document: Document, space: &Space) -> Result<Resource, String> {
    let mut resource = match document.item {
        Item::Resource(resource) => resource,
        Item::Kubernetes(object) => {
            let converted = object.into_resource();
            for skipped in &converted.skipped {
                eprintln!(
                    "warning: {}: a rule is not used: expected {}",
                    skipped.path, skipped.allowed
                );
            }
            converted.resource.ok_or("stands for no resource: its tier or subject is missing")?
        }
    };
    let kind = resource.kind();
    let own = resource.metadata().namespace.clone();
    let namespace = match (kind.scope(), own, &space.namespace) {
        (Scope::Cluster, Some(_), _) | (Scope::Cluster, None, Some(_)) => {
            return Err(format!("{kind} is not namespaced"));
        }
        (Scope::Cluster, None, None) => return Ok(resource),
        (Scope::Namespaced, Some(own), Some(given)) if own != *given => {
            return Err(format!(
                "{kind}({}) is in namespace {own}, but -n says {given}",
                resource.name()
            ));
        }
        (Scope::Namespaced, own, given) => {
            own.or_else(|| given.clone()).unwrap_or_else(|| "default".to_owned())
        }
    };
    resource.metadata_mut().namespace = Some(namespace);
    Ok(resource)
}

/// What stands in the files, with the names faults are told under.
fn contents(files: &Files) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut all = Vec::new();
    for path in &files.file {
        if path.as_os_str() == "-" {
            let mut octets = Vec::new();
            let read = io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut octets);
            read.map_err(|error| Failure::reading(path, &error))?;
            all.push(("standard input".to_owned(), octets));
        } else if path.is_dir() {
            let mut found = Vec::new();
            walk(path, files.recursive, &mut found)
                .map_err(|error| Failure::reading(path, &error))?;
            for path in found {
                all.push(one(&path)?);
            }
        } else {
            all.push(one(path)?);
        }
    }
    Ok(all)
}

fn one(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let read = || {
        let mut octets = Vec::new();
        fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut octets)?;
        Ok(octets)
    };
    let octets = read().map_err(|error: io::Error| Failure::reading(path, &error))?;
    if u64::try_from(octets.len()).unwrap_or(u64::MAX) > MAX_FILE {
        let limit = MAX_FILE >> 20;
        return Err(Failure::usage(format!("{}: larger than {limit} MiB", path.display())));
    }
    Ok((path.display().to_string(), octets))
}

/// The manifests of a directory, by name.
fn walk(directory: &Path, deeper: bool, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(directory)?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|e| e.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            // A link that leads back would never end.
            if deeper && !path.is_symlink() {
                walk(&path, deeper, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
            found.push(path);
        }
    }
    Ok(())
}

/// A kind that namespaces hold, for names on the command line.
pub fn is_namespaced(kind: Kind) -> bool {
    kind.scope() == Scope::Namespaced
}
