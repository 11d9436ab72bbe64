//! Transactions: compares, values and their index entries, in one transaction of etcd.
//!
//! To replace a value's index entries one has to know them. They are a function of the value's
//! revision, so whoever compares it and wrote or read it before knows them; otherwise they are
//! read first, and the transaction also compares that they are still the same.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use margay_model::{Compare, Expect, IndexEntry, Key, Revision, Txn, Versioned, Write};

use super::{
    EtcdStore, layout,
    members::{Again, Answer},
    octets,
    pb::{
        self, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
        TxnResponse, compare::TargetUnion, request_op, response_op,
    },
};
use crate::{
    error::StoreError,
    image::holds,
    limits,
    store::{Committed, Conflict, Outcome},
};

/// How often a transaction is planned anew because index entries changed below it.
const PLANS: usize = 8;
/// Values whose index entries are remembered.
const REMEMBERED: usize = 16_384;

/// The index entries of values as of a revision, by path.
#[derive(Debug, Default)]
pub(super) struct IndexCache(Mutex<HashMap<String, (Revision, Vec<IndexEntry>)>>);

impl IndexCache {
    fn known(&self, path: &str, revision: Revision) -> Option<Vec<IndexEntry>> {
        let map = self.lock();
        map.get(path).filter(|(at, _)| *at == revision).map(|(_, index)| index.clone())
    }

    pub(super) fn note(&self, path: String, revision: Revision, index: Vec<IndexEntry>) {
        let mut map = self.lock();
        if map.len() >= REMEMBERED {
            // Whoever is forgotten is read again.
            map.clear();
        }
        map.insert(path, (revision, index));
    }

    fn forget(&self, path: &str) {
        self.lock().remove(path);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Revision, Vec<IndexEntry>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a key that is going to be written.
struct Target<'a> {
    write: &'a Write,
    path: String,
    /// The revision it has if the transaction is made: `None` when no compare tells.
    before: Option<Option<Revision>>,
    index: Vec<IndexEntry>,
    /// The revision of the record of its entries, where that has to be compared as well.
    guard: Option<Revision>,
}

impl EtcdStore {
    /// Makes a transaction that passed [`crate::limits::check`].
    pub(super) async fn commit_checked(&self, txn: Txn) -> Result<Outcome, StoreError> {
        let again = if is_made_once(&txn) { Again::Harmless } else { Again::Harmful };
        let mut doubtful = false;
        for _ in 0..PLANS {
            let targets = self.targets(&txn).await?;
            let request = self.request(&txn, &targets)?;
            let Answer { value, doubtful: now } =
                self.members.txn(again, request).await.map_err(|failure| failure.of_commit())?;
            doubtful |= now;
            if value.succeeded {
                return Ok(Outcome::Committed(self.committed(&targets, &value)));
            }
            if let Some(conflict) = self.conflict(&txn, value) {
                if doubtful {
                    // The other who was quicker may be ourselves.
                    let status = self.members.status();
                    let cause = "a member failed while it had the request".into();
                    return Err(StoreError::Unanswered { endpoint: status.endpoint, cause });
                }
                return Ok(Outcome::Conflict(conflict));
            }
            targets.iter().for_each(|target| self.index.forget(&target.path));
        }
        let endpoint = self.members.status().endpoint;
        let cause = "others change the same index entries all the time".into();
        Err(StoreError::Unavailable { endpoint, cause })
    }

    /// Learns the index entries that the writes replace.
    async fn targets<'a>(&self, txn: &'a Txn) -> Result<Vec<Target<'a>>, StoreError> {
        let mut targets: Vec<Target<'a>> = Vec::with_capacity(txn.writes.len());
        let mut unknown = Vec::new();
        for write in &txn.writes {
            let before = revision_if_made(&txn.compares, write.key());
            let path = write.key().path();
            let index = match before {
                _ if !limits::has_index(write.key()) => Some(Vec::new()),
                Some(None) => Some(Vec::new()),
                Some(Some(revision)) => self.index.known(&path, revision),
                None => None,
            };
            if index.is_none() {
                unknown.push(targets.len());
            }
            let index = index.unwrap_or_default();
            targets.push(Target { write, path, before, index, guard: None });
        }
        if unknown.is_empty() {
            return Ok(targets);
        }
        let mut reads = Vec::with_capacity(unknown.len());
        for target in unknown.iter().filter_map(|at| targets.get(*at)) {
            reads.push(range_op(layout::record_key(&target.path)));
        }
        let request = TxnRequest { success: reads, ..TxnRequest::default() };
        let answer = self.members.txn(Again::Harmless, request).await;
        let answer = answer.map_err(|failure| failure.of_read(Revision(0)))?.value;
        for (at, response) in unknown.into_iter().zip(answer.responses) {
            let Some(target) = targets.get_mut(at) else { continue };
            match first_of(response) {
                Some(kv) => {
                    target.guard = Some(layout::revision(kv.mod_revision));
                    target.index = layout::recorded_index(&kv.value)
                        .map_err(|cause| self.corrupt(&kv.key, cause))?;
                }
                None => target.guard = Some(Revision(0)),
            }
        }
        Ok(targets)
    }

    fn request(&self, txn: &Txn, targets: &[Target<'_>]) -> Result<TxnRequest, StoreError> {
        let mut request = TxnRequest::default();
        for compare in &txn.compares {
            let key = self.layout.key(&compare.key);
            let (version, revision) = match compare.expect {
                Expect::Absent => (Some((pb::compare::CompareResult::Equal, 0)), None),
                Expect::Present => (Some((pb::compare::CompareResult::Greater, 0)), None),
                // What was never written has revision 0: that must not be enough.
                Expect::At(revision) => {
                    (Some((pb::compare::CompareResult::Greater, 0)), Some(revision))
                }
            };
            request.compare.extend(version.map(|(result, version)| pb::Compare {
                result: result.into(),
                target: pb::compare::CompareTarget::Version.into(),
                key: key.clone(),
                target_union: Some(TargetUnion::Version(version)),
            }));
            request.compare.extend(revision.map(|revision| at_revision(key.clone(), revision)));
            request.failure.push(range_op(key));
        }
        for target in targets {
            if let Some(revision) = target.guard {
                let key = layout::record_key(&target.path);
                request.compare.push(at_revision(key, revision));
            }
            self.operations(target, &mut request.success)?;
        }
        Ok(request)
    }

    /// The operations of one write; that on the value itself is the first.
    fn operations(&self, target: &Target<'_>, out: &mut Vec<RequestOp>) -> Result<(), StoreError> {
        let key = self.layout.key(target.write.key());
        let prev_kv = target.before.is_none();
        let index: &[IndexEntry] = match target.write {
            Write::Put { key: name, value, index } => {
                let value = octets::to_etcd(name, value)?.to_vec();
                out.push(op(request_op::Request::RequestPut(PutRequest {
                    key,
                    value,
                    prev_kv,
                    ..PutRequest::default()
                })));
                index
            }
            Write::Delete { .. } => {
                out.push(delete_op(key, prev_kv));
                &[]
            }
        };
        if *index == *target.index {
            return Ok(());
        }
        let record = layout::record_key(&target.path);
        out.push(if index.is_empty() {
            delete_op(record, false)
        } else {
            put_op(record, layout::record_value(index))
        });
        for entry in index.iter().filter(|entry| !target.index.contains(entry)) {
            out.push(put_op(layout::entry_key(entry, &target.path), Vec::new()));
        }
        for entry in target.index.iter().filter(|entry| !index.contains(entry)) {
            out.push(delete_op(layout::entry_key(entry, &target.path), false));
        }
        Ok(())
    }

    fn committed(&self, targets: &[Target<'_>], response: &TxnResponse) -> Committed {
        let revision = layout::revision(response.header.map_or(0, |header| header.revision));
        let mut answers = response.responses.iter();
        let mut replaced = Vec::with_capacity(targets.len());
        for target in targets {
            let index: &[IndexEntry] = match target.write {
                Write::Put { index, .. } => {
                    self.index.note(target.path.clone(), revision, index.clone());
                    index
                }
                Write::Delete { .. } => {
                    self.index.forget(&target.path);
                    &[]
                }
            };
            let told = answers.next().and_then(replaced_revision);
            replaced.push(target.before.unwrap_or(told));
            // The answers to what was done for the index say nothing.
            let others = index.iter().filter(|entry| !target.index.contains(entry)).count()
                + target.index.iter().filter(|entry| !index.contains(entry)).count()
                + usize::from(*index != *target.index);
            answers.by_ref().take(others).for_each(drop);
        }
        Committed { revision, replaced }
    }

    /// The first compare that does not hold; none when only a guard of ours did not.
    fn conflict(&self, txn: &Txn, response: TxnResponse) -> Option<Conflict> {
        txn.compares.iter().zip(response.responses).find_map(|(compare, response)| {
            let current = first_of(response).map(|kv| layout::versioned(&compare.key, kv));
            let revision = current.as_ref().map(|current: &Versioned| current.revision);
            (!holds(compare.expect, revision))
                .then(|| Conflict { compare: compare.clone(), current })
        })
    }
}

/// Whether the transaction makes one of its own compares false, so it cannot be made twice.
fn is_made_once(txn: &Txn) -> bool {
    txn.writes.is_empty()
        || txn.writes.iter().any(|write| {
            txn.compares.iter().filter(|compare| compare.key == *write.key()).any(|compare| {
                match compare.expect {
                    Expect::At(_) => true,
                    Expect::Absent => matches!(write, Write::Put { .. }),
                    Expect::Present => false,
                }
            })
        })
}

/// The revision that the compares leave a key if they hold.
fn revision_if_made(compares: &[Compare], key: &Key) -> Option<Option<Revision>> {
    compares.iter().filter(|compare| compare.key == *key).find_map(|compare| match compare.expect {
        Expect::Absent => Some(None),
        Expect::At(revision) => Some(Some(revision)),
        Expect::Present => None,
    })
}

fn at_revision(key: Vec<u8>, revision: Revision) -> pb::Compare {
    pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Mod.into(),
        key,
        target_union: Some(TargetUnion::ModRevision(layout::number(revision))),
    }
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// Reads one key.
pub(super) fn range_op(key: Vec<u8>) -> RequestOp {
    op(request_op::Request::RequestRange(RangeRequest { key, ..RangeRequest::default() }))
}

/// Reads one key as of a revision.
pub(super) fn range_at(key: Vec<u8>, revision: Revision) -> RequestOp {
    op(request_op::Request::RequestRange(RangeRequest {
        key,
        revision: layout::number(revision),
        ..RangeRequest::default()
    }))
}

fn put_op(key: Vec<u8>, value: Vec<u8>) -> RequestOp {
    op(request_op::Request::RequestPut(PutRequest { key, value, ..PutRequest::default() }))
}

/// Deletes one key.
pub(super) fn delete_op(key: Vec<u8>, prev_kv: bool) -> RequestOp {
    let request = DeleteRangeRequest { key, prev_kv, ..DeleteRangeRequest::default() };
    op(request_op::Request::RequestDeleteRange(request))
}

/// The one row of an answer to a read.
pub(super) fn first_of(response: ResponseOp) -> Option<pb::KeyValue> {
    match response.response {
        Some(response_op::Response::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    }
}

fn replaced_revision(response: &ResponseOp) -> Option<Revision> {
    let before = match response.response.as_ref()? {
        response_op::Response::ResponsePut(put) => put.prev_kv.as_ref(),
        response_op::Response::ResponseDeleteRange(deleted) => deleted.prev_kvs.first(),
        response_op::Response::ResponseRange(_) => None,
    };
    before.map(|kv| layout::revision(kv.mod_revision))
}
