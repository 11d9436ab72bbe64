//! `margay.v1.Datastore`.

use std::{pin::Pin, sync::Arc};

use bytes::{BufMut, BytesMut};
use futures::{Stream, stream};
use margay_datastore::{Backup, Existing, Reader, Restored, Store, TransferError};
use margay_model::Actor;
use margay_proto::{
    error::invalid_argument,
    v1::{self, datastore_server, import_datastore_request::Part},
};
use tonic::{Request as Call, Response, Status, Streaming};
use tracing::{info, warn};

use super::{actor, no_datastore};
use crate::resources::store_status;

/// Octets of a message; a line is never so long that two of them matter.
const PIECE: usize = 256 << 10;

/// The service.
#[derive(Debug)]
pub(super) struct Datastore {
    store: Option<Arc<dyn Store>>,
    node: Arc<str>,
}

impl Datastore {
    /// On this datastore.
    pub(super) fn new(store: Option<Arc<dyn Store>>, node: Arc<str>) -> Self {
        Self { store, node }
    }

    fn store(&self) -> Result<Arc<dyn Store>, Status> {
        self.store.clone().ok_or_else(no_datastore)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl datastore_server::Datastore for Datastore {
    type ExportDatastoreStream = Answers<v1::ExportDatastoreResponse>;
    type ImportDatastoreStream = Answers<v1::ImportDatastoreResponse>;

    async fn export_datastore(
        &self,
        _: Call<v1::ExportDatastoreRequest>,
    ) -> Result<Response<Self::ExportDatastoreStream>, Status> {
        let store = self.store()?;
        let backup = Backup::of(store.as_ref()).await.map_err(|error| store_status(&error))?;
        Ok(Response::new(Box::pin(stream::iter(pieces(backup)))))
    }

    async fn import_datastore(
        &self,
        call: Call<Streaming<v1::ImportDatastoreRequest>>,
    ) -> Result<Response<Self::ImportDatastoreStream>, Status> {
        let store = self.store()?;
        let actor = actor("datastore", &self.node, &call);
        let upload = call.into_inner();
        // What is under way is brought to its end even if nobody waits for the answer any more.
        let task = tokio::spawn(async move { import(store, upload, &actor).await });
        let answer = stream::once(async move {
            task.await.unwrap_or_else(|_| Err(Status::unavailable("the daemon is stopping")))
        });
        Ok(Response::new(Box::pin(answer)))
    }
}

/// The text of a backup in messages, made as they are asked for.
fn pieces(backup: Backup) -> impl Iterator<Item = Result<v1::ExportDatastoreResponse, Status>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let mut octets = BytesMut::new();
        while octets.len() < PIECE {
            let Some(line) = backup.line(next) else { break };
            octets.put_slice(&line);
            next += 1;
        }
        (!octets.is_empty()).then(|| Ok(v1::ExportDatastoreResponse { octets: octets.to_vec() }))
    })
}

/// Reads what is uploaded to its end, then writes it.
async fn import(
    store: Arc<dyn Store>,
    mut upload: Streaming<v1::ImportDatastoreRequest>,
    actor: &Actor,
) -> Result<v1::ImportDatastoreResponse, Status> {
    let mut options = None;
    let mut reader = Reader::default();
    while let Some(message) = upload.message().await? {
        match (message.part, &options) {
            (Some(Part::Options(given)), None) => options = Some(given),
            (Some(Part::Octets(octets)), Some(_)) => reader.feed(&octets).map_err(status)?,
            _ => return Err(invalid_argument("part", "options come first, and once")),
        }
    }
    let options = options.ok_or_else(|| invalid_argument("part", "options are missing"))?;
    let existing = if options.replace { Existing::Replace } else { Existing::Refuse };
    let backup = reader.finish().map_err(status)?;
    let done = if options.dry_run {
        backup.compare(store.as_ref(), existing).await
    } else {
        backup.restore(store.as_ref(), existing, actor).await
    };
    let Restored { values, written, deleted } = done.map_err(|error| {
        warn!(err = %error, "a backup was not imported");
        status(error)
    })?;
    if !options.dry_run {
        info!(values, written, deleted, "a backup was imported");
    }
    let count = |count| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(v1::ImportDatastoreResponse {
        values: count(values),
        written: count(written),
        deleted: count(deleted),
    })
}

fn status(error: TransferError) -> Status {
    let text = error.to_string();
    match error {
        TransferError::Store(error) => store_status(&error),
        TransferError::Form { .. } => invalid_argument("octets", text),
        TransferError::NotEmpty(_) => Status::failed_precondition(text),
        TransferError::Interfered(_) => Status::aborted(text),
        TransferError::File(_) => Status::internal(text),
    }
}
