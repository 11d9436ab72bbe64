//! `margay apply`, `create`, `replace`.

use margay_proto::v1::{self, WriteMode, WriteOutcome, resources_client::ResourcesClient};
use serde::Serialize;
use serde_json::Value;
use tonic::{Status, transport::Channel};

use super::{documents, name_of, parsed};
use crate::{
    cli::{FileArgs, Global},
    commands::connect,
    error::Failure,
    manifests,
    output::{
        Out, Row,
        table::{Cell, Column},
    },
};

/// Writes every resource of the files. All are validated before the first is written.
pub async fn write(
    args: FileArgs,
    mode: WriteMode,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let placed = documents::placed(&args.files, &args.space, &manifests::plainly)?;
    let objects = placed.iter().map(|placed| placed.resource.to_json().to_string()).collect();
    let mut client = connect(options).await?.resources();
    let written = send(mode, objects, args.files.lenient, args.dry_run, &mut client)
        .await
        .map_err(|status| documents::located(status, &placed))?;
    let rows = written.iter().map(Written::read).collect::<Result<Vec<_>, _>>()?;
    Ok(out.all(&rows)?)
}

/// Has the daemon write all objects, or none if one is wrong.
pub async fn send(
    mode: WriteMode,
    objects: Vec<String>,
    lenient: bool,
    dry_run: bool,
    client: &mut ResourcesClient<Channel>,
) -> Result<Vec<v1::WrittenResource>, Status> {
    let request = v1::WriteResourcesRequest { mode: mode.into(), objects, lenient, dry_run };
    Ok(client.write_resources(request).await?.into_inner().written)
}

/// What became of a resource.
#[derive(Debug, Serialize)]
pub struct Written {
    kind: String,
    namespace: Option<String>,
    name: String,
    outcome: &'static str,
    resource_version: Option<String>,
}

impl Written {
    /// Out of an answer.
    pub fn read(written: &v1::WrittenResource) -> Result<Self, Failure> {
        let outcome = match written.outcome() {
            WriteOutcome::Created => "created",
            WriteOutcome::Replaced => "replaced",
            WriteOutcome::Unchanged => "unchanged",
            WriteOutcome::Unspecified => "written",
        };
        Ok(Self::of(&parsed(&written.object)?, outcome))
    }

    /// An object and what became of it.
    pub fn of(object: &Value, outcome: &'static str) -> Self {
        let name = name_of(object);
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Self {
            kind: name.kind,
            namespace: Some(name.namespace).filter(|namespace| !namespace.is_empty()),
            name: name.name,
            outcome,
            resource_version: version.map(str::to_owned),
        }
    }
}

impl Row for Written {
    const COLUMNS: &'static [Column] = &[
        Column::left("KIND"),
        Column::left("NAMESPACE"),
        Column::left("NAME"),
        Column::left("OUTCOME"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.kind.clone()),
            Cell::maybe(self.namespace.as_deref()),
            Cell::new(self.name.clone()),
            Cell::new(self.outcome),
        ]
    }
}
