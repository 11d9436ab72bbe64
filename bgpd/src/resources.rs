//! v3 resources in the datastore, with the rules that hold between them.
//!
//! Owns: create, replace and delete as users know them; what one resource asks of others (a tier
//! that exists, pools that do not overlap). Promises: every resource of a request is checked before
//! the first is written, in the end a request is written whole or not at all (`undo`, where it takes
//! several transactions), and what others wrote meanwhile is never overwritten unseen. That pools do not overlap, and that the tiers and
//! filters which are named are there, still holds when it is written: whoever could break it in between
//! makes the transaction fail, and it is planned again. Only blocks of another size that are claimed in
//! that moment in the range of a new pool are not seen. Leaves to `margay-model` what a single resource
//! may say, and to the store what is durable.

mod error;
mod guards;
mod ipam;
mod rules;
mod undo;

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use bytes::Bytes;
use margay_datastore::{
    Entry, Listing, Outcome, Store,
    limits::{self, Limits, Room},
};
use margay_model::{
    Actor, Compare, Expect, Item, Key, Kind, Mode, Resource, Revision, Txn, Versioned, Write,
    decode, kinds,
};
use serde_json::{Map, Value};
use tracing::warn;

pub(crate) use error::{Broken, ResourceError, store as store_status};
use guards::Guards;
pub(crate) use ipam::Configure;
use rules::Cluster;
pub(crate) use undo::Author;
use undo::{Ledger, Record, TakenBack};

/// How often a request without revisions is planned again when others write at the same time.
const TRIES: usize = 8;

/// The resources of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    store: Arc<dyn Store>,
    ledger: Ledger,
}

/// What to do with a resource that is, or is not, there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// It must not be there.
    Create,
    /// It must be there.
    Replace,
    /// Either.
    Apply,
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// It was not there.
    Created,
    /// It was there.
    Replaced,
    /// It was there, just so; nothing was written.
    Unchanged,
}

/// How a write is done.
#[derive(Debug, Clone)]
pub(crate) struct WriteOptions {
    /// Whether it must be there.
    pub(crate) mode: WriteMode,
    /// Only check.
    pub(crate) dry_run: bool,
    /// When it happens, for the creation time of new resources.
    pub(crate) now: SystemTime,
}

/// A resource that is to be written, and what it replaces.
struct Planned {
    resource: Resource,
    octets: Bytes,
    expect: Expect,
    /// The revision stands in the request: a lost compare is the answer.
    pinned: bool,
    outcome: WriteOutcome,
    revision: Revision,
    /// What is stored, if anything is.
    before: Option<Bytes>,
    /// It is written though nothing changes: what is there may be taken back by somebody.
    anew: bool,
}

/// How far a request has come.
#[derive(Debug, Default)]
struct Progress {
    /// Of those that are written, or need not be.
    answers: Vec<(WriteOutcome, String)>,
    /// By what it can be taken back, where it takes several transactions.
    record: Option<Record>,
}

impl Resources {
    /// Of this datastore, as this daemon writes them.
    pub(crate) fn new(store: Arc<dyn Store>, author: Author) -> Self {
        Self { ledger: Ledger::new(Arc::clone(&store), author), store }
    }

    /// Where they are.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Takes back requests that were broken off. Never ends.
    pub(crate) async fn settle(self) {
        self.ledger.run().await;
    }

    /// One resource, as JSON with its revision.
    ///
    /// # Errors
    /// It does not exist, or the datastore.
    pub(crate) async fn get(&self, key: &Key) -> Result<String, ResourceError> {
        match self.store.get(key).await? {
            Some(found) => shown(key, &found),
            None => built_in(key).ok_or_else(|| ResourceError::NotFound(key.clone())),
        }
    }

    /// What always exists of a kind and is not stored, as JSON without a revision: for the first page
    /// of what is.
    ///
    /// # Errors
    /// The datastore, which is asked only about what may stand on a later page.
    pub(crate) async fn not_stored(
        &self,
        kind: Kind,
        first: &Listing,
    ) -> Result<Vec<String>, ResourceError> {
        let mut objects = Vec::new();
        for resource in kinds::built_in(kind) {
            let key = resource.key();
            let mut stored = first.entries.iter().any(|entry| entry.key == key);
            if !stored && first.more.is_some() {
                stored = self.store.get(&key).await?.is_some();
            }
            if !stored {
                objects.push(resource.to_json().to_string());
            }
        }
        Ok(objects)
    }

    /// Writes all resources, or none of them. More than one transaction takes (at least 42 resources
    /// and 1.25 MiB) are written in several, in the order of the request; until the last is made, what
    /// they wrote is taken back by whoever is left when anything goes wrong. Once begun it goes on,
    /// though the caller goes away.
    ///
    /// # Errors
    /// What is wrong with one, before anything is written; or the datastore, or others who write
    /// the same: [`ResourceError::Partly`] where some were written before that and cannot go, for what others
    /// have written since, [`ResourceError::Later`] where they are taken back only once the datastore answers.
    pub(crate) async fn write(
        &self,
        resources: Vec<Resource>,
        options: &WriteOptions,
        actor: &Actor,
    ) -> Result<Vec<(WriteOutcome, String)>, ResourceError> {
        let (own, options, actor) = (self.clone(), options.clone(), actor.clone());
        let task = tokio::spawn(async move { own.write_all(resources, &options, &actor).await });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(ResourceError::Stopping),
            },
        }
    }

    async fn write_all(
        &self,
        mut resources: Vec<Resource>,
        options: &WriteOptions,
        actor: &Actor,
    ) -> Result<Vec<(WriteOutcome, String)>, ResourceError> {
        resources.iter_mut().for_each(Resource::apply_defaults);
        let mut progress = Progress::default();
        let mut cause = ResourceError::Contended;
        for _ in 0..TRIES {
            let rest = resources.get(progress.answers.len()..).unwrap_or_default();
            match self.write_rest(rest, options, actor, &mut progress).await {
                Ok(true) => return Ok(progress.answers),
                // Somebody else was faster: look again.
                Ok(false) => {}
                Err(error) => {
                    cause = error.behind(progress.answers.len());
                    break;
                }
            }
        }
        // One transaction was made or not.
        let Some(record) = progress.record else { return Err(cause) };
        match self.ledger.take_back(&record.request, actor).await {
            Ok(TakenBack::But(keys)) => Err(ResourceError::Partly { keys, cause: Box::new(cause) }),
            Ok(TakenBack::Whole) if cause.is_outcome_unknown() => {
                Err(ResourceError::TakenBack(Box::new(cause)))
            }
            Ok(TakenBack::Whole | TakenBack::NotOurs) => Err(cause),
            Err(err) => {
                warn!(%err, "what was written of a request is not taken back yet");
                Err(ResourceError::Later(Box::new(cause)))
            }
        }
    }

    /// Writes what is not written yet; whether that is all. The progress grows with every part.
    async fn write_rest(
        &self,
        rest: &[Resource],
        options: &WriteOptions,
        actor: &Actor,
        progress: &mut Progress,
    ) -> Result<bool, ResourceError> {
        let (plan, mut guards) = self.plan(rest, options, progress.record.as_ref()).await?;
        if options.dry_run {
            progress.answers.extend(plan.iter().map(answer));
            return Ok(true);
        }
        let limits = self.store.limits();
        let mut parts = cut(limits, plan, progress.record.is_some());
        let writes = |part: &Vec<Planned>| changed(part).next().is_some();
        if progress.record.is_none() && parts.iter().filter(|part| writes(part)).count() > 1 {
            progress.record = Some(self.ledger.begin(actor).await?);
            parts = cut(limits, parts.into_iter().flatten().collect(), true);
        }
        // The request ends with it, though nothing of it may be left to write.
        let last = parts.iter().rposition(writes).unwrap_or(parts.len().saturating_sub(1));
        for (at, mut part) in parts.into_iter().enumerate() {
            let written: Vec<_> = changed(&part).map(|planned| &planned.resource).collect();
            let mut txn = guards.of(written.iter().copied());
            changed(&part).for_each(|planned| txn.join(planned.txn()));
            if let Some(record) = &mut progress.record {
                if at == last {
                    txn.join(record.end());
                } else if !written.is_empty() {
                    txn.join(self.ledger.keep(record, &part, actor).await?);
                }
            }
            if !txn.writes.is_empty() {
                match self.store.commit(txn, actor).await? {
                    Outcome::Committed(committed) => {
                        guards.written(written.into_iter(), committed.revision);
                        let written = part.iter_mut().filter(|planned| planned.changes());
                        written.for_each(|planned| planned.revision = committed.revision);
                    }
                    Outcome::Conflict(conflict) => {
                        let lost = conflict.compare.key;
                        if progress.record.as_ref().is_some_and(|record| record.head() == lost) {
                            return Err(ResourceError::TakenOver);
                        }
                        let Some(planned) = part.iter().find(|p| p.resource.key() == lost) else {
                            // A rule may not hold any more.
                            return Ok(false);
                        };
                        return match options.mode {
                            _ if planned.pinned => Err(ResourceError::Changed(lost)),
                            WriteMode::Create => Err(ResourceError::AlreadyExists(lost)),
                            WriteMode::Replace | WriteMode::Apply => Ok(false),
                        };
                    }
                }
            }
            progress.answers.extend(part.iter().map(answer));
        }
        if let Some(record) = progress.record.take() {
            self.ledger.forget(&record.request, actor).await;
        }
        Ok(true)
    }

    /// What is to be written, every rule and limit asked, and what makes the rules hold.
    async fn plan(
        &self,
        resources: &[Resource],
        options: &WriteOptions,
        own: Option<&Record>,
    ) -> Result<(Vec<Planned>, Guards), ResourceError> {
        let (mut plan, mut broken) = (Vec::with_capacity(resources.len()), Vec::new());
        let mut keys = BTreeSet::new();
        for (at, resource) in resources.iter().enumerate() {
            let key = resource.key();
            let current = self.store.get(&key).await?;
            let faults = match planned(resource.clone(), current, options) {
                _ if keys.contains(&key) => {
                    vec![Broken::rule(&key, "", "stands twice in the request")]
                }
                Ok(planned) => {
                    plan.push(planned);
                    Vec::new()
                }
                Err(faults) => faults,
            };
            broken.extend(faults.into_iter().map(|fault| fault.at(at)));
            keys.insert(key);
        }
        let all: Vec<_> = resources.iter().collect();
        let mut guards = Guards::read(self.store.as_ref(), &all).await?;
        let cluster = Cluster::load(self.store.as_ref(), &all).await?;
        guards.know(cluster.named());
        broken.extend(cluster.check(&all));
        if !broken.is_empty() {
            return Err(ResourceError::all(broken));
        }
        // Looked for behind the values: what was written of a request that is taken back is seen with it.
        let same = |planned: &Planned| planned.outcome == WriteOutcome::Unchanged;
        if plan.iter().any(same) {
            let pending = self.ledger.pending(own).await?;
            for planned in plan.iter_mut().filter(|planned| same(planned)) {
                // If it was taken back before that look, its compare will tell.
                let now = self.store.get(&planned.resource.key()).await?;
                planned.anew = pending || now.is_none_or(|now| now.revision != planned.revision);
            }
        }
        Ok((plan, guards))
    }

    /// Removes a resource, and says how it was last. What is about a node alone goes with its Node, or
    /// before it where there is too much for one transaction, as long as the Node stays as it was: one
    /// that is made again in its name begins anew.
    ///
    /// # Errors
    /// It does not exist, is not of this revision, is still needed, or the datastore.
    pub(crate) async fn delete(
        &self,
        key: &Key,
        revision: Option<Revision>,
        actor: &Actor,
    ) -> Result<String, ResourceError> {
        for _ in 0..TRIES {
            let found = self.store.get(key).await?;
            let Some(found) = found else {
                return Err(match built_in(key) {
                    Some(_) => ResourceError::forbidden(key, "it always exists"),
                    None => ResourceError::NotFound(key.clone()),
                });
            };
            let needs = rules::may_go(self.store.as_ref(), key).await?;
            if revision.is_some_and(|revision| revision != found.revision) {
                return Err(ResourceError::Changed(key.clone()));
            }
            let own = Txn::delete(key.clone(), found.revision);
            let mut whole = true;
            let with_it = rules::go_with(self.store.as_ref(), key).await?;
            for txn in goes(self.store.limits(), own, needs, with_it) {
                // Of what somebody changed meanwhile nothing goes: it is looked at again.
                whole = matches!(self.store.commit(txn, actor).await?, Outcome::Committed(_));
                if !whole {
                    break;
                }
            }
            if whole {
                return Ok(last(key, &found));
            }
        }
        Err(ResourceError::Contended)
    }
}

/// What removes a resource under these conditions, and others with it: it goes last, and none goes
/// when it is another by then.
fn goes(limits: Limits, own: Txn, needs: Vec<Compare>, with_it: Vec<Txn>) -> Vec<Txn> {
    let last = Txn { compares: [own.compares, needs].concat(), writes: own.writes };
    let mut room = Room::beside(limits, &last);
    let mut all = vec![Txn::default()];
    for more in with_it {
        let fits = room.take(&more);
        if !fits {
            room = Room::beside(limits, &last);
            // The first always fits.
            let _ = room.take(&more);
        }
        match all.last_mut() {
            Some(txn) if fits => txn.join(more),
            _ => all.push(more),
        }
    }
    let conditions = Txn { compares: last.compares, writes: Vec::new() };
    all.iter_mut().for_each(|txn| txn.join(conditions.clone()));
    if let Some(txn) = all.last_mut() {
        txn.writes.extend(last.writes);
    }
    all
}

/// What a resource becomes, given what is stored.
fn planned(
    mut resource: Resource,
    current: Option<Versioned>,
    options: &WriteOptions,
) -> Result<Planned, Vec<Broken>> {
    let key = resource.key();
    if resource.kind() == Kind::BlockAffinity {
        return Err(vec![Broken::rule(&key, "", "is a view of IPAM blocks and is not written")]);
    }
    let given = resource.metadata_mut().resource_version.take();
    let pinned = given.is_some();
    let Some(current) = current else {
        return match options.mode {
            WriteMode::Replace if built_in(&key).is_none() => Err(vec![Broken::missing(&key)]),
            _ if pinned => {
                let fault = "metadata.resourceVersion must be empty: there is no such resource yet";
                Err(vec![Broken::rule(&key, "metadata.resourceVersion", fault)])
            }
            _ => {
                begin(&mut resource, options.now);
                let octets = resource.encode();
                let (expect, outcome) = (Expect::Absent, WriteOutcome::Created);
                let revision = Revision::default();
                let (pinned, before, anew) = (false, None, false);
                Planned { resource, octets, expect, pinned, outcome, revision, before, anew }
                    .stored()
            }
        };
    };
    if options.mode == WriteMode::Create {
        return Err(vec![Broken::there(&key)]);
    }
    if given.is_some_and(|given| given != current.revision.0.to_string()) {
        return Err(vec![Broken::changed(&key)]);
    }
    let uid = resource.metadata().uid.clone().filter(|_| pinned);
    let (expect, revision) = (Expect::At(current.revision), current.revision);
    let stored = Some(current.value.clone());
    let before = Resource::decode(&current.value);
    let Ok(before) = before.or_else(|_| Resource::decode_lenient(&current.value)) else {
        // What nobody can read has nothing to keep.
        begin(&mut resource, options.now);
        let (octets, outcome, before) = (resource.encode(), WriteOutcome::Replaced, stored);
        let anew = false;
        return Planned { resource, octets, expect, pinned, outcome, revision, before, anew }
            .stored();
    };
    // What one transaction wrote has one revision: the uid tells which of it was read.
    if uid.is_some_and(|uid| before.metadata().uid.as_ref().is_some_and(|own| *own != uid)) {
        return Err(vec![Broken::changed(&key)]);
    }
    // All but labels and annotations is the store's to say.
    let (labels, annotations) = {
        let metadata = resource.metadata_mut();
        (std::mem::take(&mut metadata.labels), std::mem::take(&mut metadata.annotations))
    };
    let mut metadata = before.metadata().clone();
    (metadata.labels, metadata.annotations) = (labels, annotations);
    *resource.metadata_mut() = metadata;
    let fixed = rules::fixed(&before, &resource);
    if !fixed.is_empty() {
        return Err(fixed);
    }
    let octets = resource.encode();
    let outcome =
        if octets == before.encode() { WriteOutcome::Unchanged } else { WriteOutcome::Replaced };
    let (before, anew) = (stored, false);
    Planned { resource, octets, expect, pinned, outcome, revision, before, anew }.stored()
}

/// Gives a resource that was not there, or not as one, what it keeps from then on.
fn begin(resource: &mut Resource, now: SystemTime) {
    let metadata = resource.metadata_mut();
    metadata.uid.get_or_insert_with(|| uuid::Uuid::new_v4().to_string());
    metadata
        .creation_timestamp
        .get_or_insert_with(|| humantime::format_rfc3339_seconds(now).to_string());
}

impl Planned {
    /// This, if the store takes it.
    fn stored(self) -> Result<Self, Vec<Broken>> {
        limits::check_write(&self.write()).map_err(|error| {
            vec![Broken::rule(&self.resource.key(), "", format!("cannot be stored: {error}"))]
        })?;
        Ok(self)
    }

    fn changes(&self) -> bool {
        self.outcome != WriteOutcome::Unchanged || self.anew
    }

    fn write(&self) -> Write {
        let (key, value) = (self.resource.key(), self.octets.clone());
        Write::Put { key, value, index: Vec::new() }
    }

    fn txn(&self) -> Txn {
        let compare = Compare { key: self.resource.key(), expect: self.expect };
        Txn { compares: vec![compare], writes: vec![self.write()] }
    }

    /// All that it may need of a transaction, but for what all of them share.
    fn needs(&self) -> Txn {
        let mut txn = self.txn();
        let named = rules::named(&self.resource).into_iter();
        txn.compares.extend(named.map(|key| Compare { key, expect: Expect::Present }));
        txn
    }
}

/// Those that are not just so already.
fn changed(part: &[Planned]) -> impl Iterator<Item = &Planned> {
    part.iter().filter(|planned| planned.changes())
}

/// What goes into each transaction, in the order of the request; `recorded`: so that it can be taken back.
fn cut(limits: Limits, plan: Vec<Planned>, recorded: bool) -> Vec<Vec<Planned>> {
    let mut parts: Vec<Vec<Planned>> = Vec::new();
    let mut shared = Guards::most();
    if recorded {
        shared.join(undo::most());
    }
    let mut room = Room::beside(limits, &shared);
    for planned in plan {
        let fits = !planned.changes() || room.take(&planned.needs());
        match parts.last_mut() {
            Some(part) if fits => part.push(planned),
            _ => {
                if !fits {
                    room = Room::beside(limits, &shared);
                    // The first write always fits.
                    let _ = room.take(&planned.needs());
                }
                parts.push(vec![planned]);
            }
        }
    }
    parts
}

fn answer(planned: &Planned) -> (WriteOutcome, String) {
    let mut resource = planned.resource.clone();
    if planned.revision > Revision::default() {
        let version = planned.revision.0.to_string();
        resource.metadata_mut().resource_version = Some(version);
    }
    (planned.outcome, resource.to_json().to_string())
}

/// A stored resource as users see it.
///
/// # Errors
/// What is stored is no resource.
pub(crate) fn shown(key: &Key, stored: &Versioned) -> Result<String, ResourceError> {
    let mut resource = Resource::decode(&stored.value)
        .map_err(|faults| ResourceError::Unreadable { key: key.clone(), faults })?;
    resource.metadata_mut().resource_version = Some(stored.revision.0.to_string());
    Ok(resource.to_json().to_string())
}

/// The resource of this name that exists though it is not stored.
pub(crate) fn built_in(key: &Key) -> Option<String> {
    let all = kinds::built_in(key.resource()?.kind);
    all.into_iter().find(|resource| resource.key() == *key).map(|found| found.to_json().to_string())
}

/// Stored resources as users see them, and what is to be said of those that cannot be read: they
/// must not hide the others.
pub(crate) fn listed(entries: &[Entry]) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut warnings) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        match shown(&entry.key, &entry.value) {
            Ok(object) => objects.push(object),
            Err(error) => warnings.push(format!("left out: {error}")),
        }
    }
    (objects, warnings)
}

/// How a resource was last: as users see it, or all that is known where it cannot be read.
fn last(key: &Key, stored: &Versioned) -> String {
    if let Ok(object) = shown(key, stored) {
        return object;
    }
    let mut object = serde_json::from_slice(&stored.value).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&stored.value).into_owned();
        Map::from_iter([("unreadable".to_owned(), Value::from(text))])
    });
    let Key::Resource(name) = key else { return Value::Object(object).to_string() };
    object.insert("kind".to_owned(), name.kind.name().into());
    let metadata = object.entry("metadata").or_insert_with(|| Map::new().into());
    if !metadata.is_object() {
        *metadata = Map::new().into();
    }
    if let Some(metadata) = metadata.as_object_mut() {
        if !name.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), name.namespace.clone().into());
        }
        metadata.insert("name".to_owned(), name.name.clone().into());
        metadata.insert("resourceVersion".to_owned(), stored.revision.0.to_string().into());
    }
    Value::Object(object).to_string()
}

/// Reads the resources of a request.
///
/// # Errors
/// All the faults of all that cannot be read.
pub(crate) fn read_all(texts: &[String], lenient: bool) -> Result<Vec<Resource>, ResourceError> {
    let (mut resources, mut unread) = (Vec::with_capacity(texts.len()), Vec::new());
    for (at, text) in texts.iter().enumerate() {
        match read(text, lenient) {
            Ok(resource) => resources.push(resource),
            Err(error) => unread.push((at, error)),
        }
    }
    if unread.is_empty() { Ok(resources) } else { Err(ResourceError::Unread(unread)) }
}

/// Reads one resource of a request.
///
/// # Errors
/// All its faults.
pub(crate) fn read(text: &str, lenient: bool) -> Result<Resource, ResourceError> {
    let mode = if lenient { Mode::Lenient } else { Mode::Strict };
    let manifest = decode(text.as_bytes(), mode).map_err(ResourceError::Faults)?;
    let mut items = manifest.documents.into_iter().map(|document| document.item);
    match (items.next(), items.next()) {
        (Some(Item::Resource(resource)), None) => Ok(resource),
        (Some(Item::Kubernetes(object)), None) => {
            object.into_resource().resource.ok_or(ResourceError::Nothing)
        }
        _ => Err(ResourceError::NotOne),
    }
}

#[cfg(test)]
mod tests;
