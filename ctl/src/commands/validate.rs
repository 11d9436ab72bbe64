//! `margay validate`.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use margay_model::{Item, Mode, decode};
use serde::Serialize;

use crate::{
    cli::ValidateArgs,
    error::{Failure, plain},
    output::{
        Out, Row,
        table::{Cell, Column},
    },
};

/// A valid object.
#[derive(Debug, Serialize)]
struct Valid {
    file: String,
    document: usize,
    line: u32,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl Row for Valid {
    const COLUMNS: &'static [Column] = &[
        Column::left("KIND"),
        Column::left("NAMESPACE"),
        Column::left("NAME"),
        Column::left("FILE"),
        Column::right("LINE"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.kind.clone()),
            Cell::maybe(self.namespace.as_ref()),
            Cell::new(self.name.clone()),
            Cell::new(self.file.clone()),
            Cell::new(self.line.to_string()),
        ]
    }
}

/// Tells every fault of every file; lists the objects if there is none.
pub fn run(args: &ValidateArgs, out: &mut Out<'_>) -> Result<(), Failure> {
    let mode = if args.lenient { Mode::Lenient } else { Mode::Strict };
    let mut files = Vec::new();
    for file in &args.file {
        collect(file, args.recursive, true, &mut files)?;
    }
    let (mut valid, mut faults, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let name = file.display();
        let octets = read(&file)?;
        match decode(&octets, mode) {
            Ok(manifest) => {
                if manifest.documents.is_empty() && !args.skip_empty {
                    faults.push(format!("{name}: holds no resource"));
                }
                warnings.extend(manifest.warnings.iter().map(|fault| format!("{name}: {fault}")));
                let documents = manifest.documents.into_iter();
                valid.extend(documents.map(|document| Valid {
                    file: name.to_string(),
                    document: document.number,
                    line: document.position.line,
                    ..described(&document.item)
                }));
            }
            Err(found) => faults.extend(found.iter().map(|fault| format!("{name}: {fault}"))),
        }
    }
    if !faults.is_empty() {
        return Err(Failure::usage(faults.join("\n")));
    }
    for warning in warnings {
        // With stderr gone there is nobody to tell.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    Ok(out.all(&valid)?)
}

fn described(item: &Item) -> Valid {
    let (kind, metadata, namespaced) = match item {
        Item::Resource(resource) => {
            let kind = resource.kind();
            let namespaced = kind.scope() == margay_model::Scope::Namespaced;
            (kind.name(), resource.metadata(), namespaced)
        }
        Item::Kubernetes(object) => {
            (object.group_and_kind().1, object.metadata(), object.is_namespaced())
        }
    };
    let namespace = metadata.namespace.clone().unwrap_or_else(|| "default".into());
    Valid {
        file: String::new(),
        document: 0,
        line: 0,
        kind: kind.to_owned(),
        namespace: namespaced.then_some(namespace),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    if file == Path::new("-") {
        let mut octets = Vec::new();
        io::stdin().read_to_end(&mut octets).map_err(|error| {
            Failure::failed(format!("cannot read the input: {}", plain(&error)))
        })?;
        return Ok(octets);
    }
    fs::read(file).map_err(|error| Failure::reading(file, &error))
}

/// The file, or the files of a directory in the order of their names.
fn collect(
    path: &Path,
    recursive: bool,
    is_named: bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::reading(path, &error);
    if !path.is_dir() {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if is_named || matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if !is_named && !recursive {
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(failed)?.collect();
    let mut paths: Vec<_> = entries.map_err(failed)?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    paths.iter().try_for_each(|path| collect(path, recursive, false, files))
}
