//! Leases of nodes, as leases of etcd: the key goes when its lease does.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use margay_model::Revision;

use super::{
    EtcdStore, layout,
    members::Again,
    pb::{
        Compare, KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest,
        PutRequest, RangeRequest, RequestOp, TxnRequest, compare, request_op,
    },
};
use crate::{
    error::StoreError,
    store::{Lease, LeaseOutcome},
};

/// How often a lease is asked for anew when others get in between.
const TRIES: usize = 4;

/// The leases of etcd that this process was granted, by node and holder.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<(String, String), i64>>);

impl Leases {
    fn id(&self, lease: &Lease) -> Option<i64> {
        self.lock().get(&name(lease)).copied()
    }

    fn set(&self, lease: &Lease, id: i64) {
        self.lock().insert(name(lease), id);
    }

    fn take(&self, lease: &Lease) -> Option<i64> {
        self.lock().remove(&name(lease))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(lease: &Lease) -> (String, String) {
    (lease.node.clone(), lease.holder.clone())
}

impl EtcdStore {
    pub(super) async fn keep(&self, lease: &Lease) -> Result<LeaseOutcome, StoreError> {
        for _ in 0..TRIES {
            let id = match self.leases.id(lease) {
                Some(id) if self.keep_alive(id).await? => Some(id),
                _ => {
                    self.leases.take(lease);
                    None
                }
            };
            let current = self.lease_key(lease).await?;
            if let Some(kv) = &current {
                if id == Some(kv.lease) {
                    let revision = layout::revision(kv.mod_revision);
                    return Ok(LeaseOutcome::Held { revision });
                }
                if !lease.is_held_by(&kv.value) {
                    self.give_up(lease, id).await;
                    let current = layout::versioned(&lease.key(), kv.clone());
                    return Ok(LeaseOutcome::Taken { current });
                }
            }
            let id = match id {
                Some(id) => id,
                None => self.grant(lease).await?,
            };
            self.leases.set(lease, id);
            if let Some(revision) = self.take_lease(lease, id, current.as_ref()).await? {
                return Ok(LeaseOutcome::Held { revision });
            }
        }
        let endpoint = self.members.status().endpoint;
        let cause = format!("others take and leave the lease of {} all the time", lease.node);
        Err(StoreError::Unavailable { endpoint, cause })
    }

    pub(super) async fn give_back(&self, lease: &Lease) -> Result<(), StoreError> {
        if let Some(id) = self.leases.id(lease) {
            self.revoke(id).await?;
            self.leases.take(lease);
        }
        // One of an earlier run of this holder.
        let Some(kv) = self.lease_key(lease).await? else { return Ok(()) };
        if lease.is_held_by(&kv.value) {
            let request = TxnRequest {
                compare: vec![unchanged(kv.key.clone(), Some(&kv))],
                success: vec![super::commit::delete_op(kv.key, false)],
                failure: Vec::new(),
            };
            let answer = self.members.txn(Again::Harmless, request).await;
            answer.map_err(|failure| failure.of_commit())?;
        }
        Ok(())
    }

    /// Writes the key if it still is as it was seen.
    async fn take_lease(
        &self,
        lease: &Lease,
        id: i64,
        seen: Option<&KeyValue>,
    ) -> Result<Option<Revision>, StoreError> {
        let key = self.layout.key(&lease.key());
        let put = PutRequest {
            key: key.clone(),
            value: lease.value().to_vec(),
            lease: id,
            ..PutRequest::default()
        };
        let request = TxnRequest {
            compare: vec![unchanged(key, seen)],
            success: vec![RequestOp { request: Some(request_op::Request::RequestPut(put)) }],
            failure: Vec::new(),
        };
        let answer = self.members.txn(Again::Harmless, request).await;
        let answer = answer.map_err(|failure| failure.of_commit())?.value;
        let revision = layout::revision(answer.header.map_or(0, |header| header.revision));
        Ok(answer.succeeded.then_some(revision))
    }

    async fn lease_key(&self, lease: &Lease) -> Result<Option<KeyValue>, StoreError> {
        let request =
            RangeRequest { key: self.layout.key(&lease.key()), ..RangeRequest::default() };
        Ok(self.members.range(request).await?.kvs.into_iter().next())
    }

    async fn grant(&self, lease: &Lease) -> Result<i64, StoreError> {
        let ttl = i64::try_from(lease.ttl_seconds()).unwrap_or(i64::MAX);
        // A lease that nobody learns of ends by itself.
        let answer = self
            .members
            .call(Again::Harmless, |to| {
                let request = to.request(LeaseGrantRequest { ttl, id: 0 });
                async move { to.lease().lease_grant(request).await }
            })
            .await
            .map_err(|failure| failure.of_read(Revision(0)))?;
        if answer.value.error.is_empty() {
            Ok(answer.value.id)
        } else {
            Err(StoreError::Unavailable {
                endpoint: self.members.status().endpoint,
                cause: answer.value.error,
            })
        }
    }

    /// False when there is no such lease any more.
    async fn keep_alive(&self, id: i64) -> Result<bool, StoreError> {
        let answer = self
            .members
            .call(Again::Harmless, |to| {
                let once = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
                let request = to.request(once);
                async move {
                    let mut answers = to.lease().lease_keep_alive(request).await?.into_inner();
                    let answer = answers.message().await?;
                    let answer = answer.ok_or_else(|| {
                        tonic::Status::unavailable("the stream ended without an answer")
                    })?;
                    Ok(tonic::Response::new(answer))
                }
            })
            .await
            .map_err(|failure| failure.of_read(Revision(0)))?;
        Ok(answer.value.ttl > 0)
    }

    async fn revoke(&self, id: i64) -> Result<(), StoreError> {
        let answer = self
            .members
            .call(Again::Harmless, |to| {
                let request = to.request(LeaseRevokeRequest { id });
                async move { to.lease().lease_revoke(request).await }
            })
            .await;
        match answer {
            Ok(_) => Ok(()),
            // It is what was wanted.
            Err(failure) if failure.status.code() == tonic::Code::NotFound => Ok(()),
            Err(failure) => Err(failure.of_commit()),
        }
    }

    /// Gives a granted lease back that is of no use; if that fails it ends by itself.
    async fn give_up(&self, lease: &Lease, id: Option<i64>) {
        self.leases.take(lease);
        if let Some(id) = id
            && let Err(error) = self.revoke(id).await
        {
            tracing::debug!(node = %lease.node, err = %error, "a lease is left to end by itself");
        }
    }
}

/// Holds for as long as the key is what was seen.
fn unchanged(key: Vec<u8>, seen: Option<&KeyValue>) -> Compare {
    let revision = seen.map_or(0, |kv| kv.mod_revision);
    Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Mod.into(),
        key,
        target_union: Some(compare::TargetUnion::ModRevision(revision)),
    }
}
