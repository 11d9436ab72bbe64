//! `margay validate`.

use margay_model::Item;
use serde::Serialize;

use crate::{
    cli::Files,
    error::Failure,
    manifests::{self, Found},
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
pub fn run(files: &Files, out: &mut Out<'_>) -> Result<(), Failure> {
    let found = manifests::read(files, &manifests::plainly)?.into_iter();
    let valid: Vec<_> = found
        .map(|Found { file, document }| Valid {
            file,
            document: document.number,
            line: document.place.start.line,
            ..described(&document.item)
        })
        .collect();
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
