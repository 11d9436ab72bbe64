//! Following an area through the life of the members: one stream at a time, resumed where it
//! ended.
//!
//! An area is followed as one range, so that the revisions of its changes come in order; what lies
//! in between is left out. Only changes move the revision on: the progress that etcd 3.4 reports
//! may run ahead of changes still to come.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use margay_model::{Area, Change, Key, Revision, Versioned};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status as GrpcStatus;

use super::{
    failure::{self, Failure, Meaning},
    layout::{self, Layout},
    members::Members,
    octets,
    pb::{
        WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, event::EventType,
        watch_request::RequestUnion,
    },
};
use crate::{
    error::StoreError,
    feed::{Event, Feed},
};

/// How often a member is asked whether it has told everything, and how long it may be silent then.
const QUIET: Duration = Duration::from_secs(3);
/// Between two attempts, from the second on.
const PAUSE: Duration = Duration::from_millis(200);

/// Fills `feed` until it is dropped or cannot be filled any more.
pub(super) async fn follow(members: Arc<Members>, layout: Layout, feed: Weak<Feed>, area: Area) {
    let ranges = layout.ranges(&area);
    let (Some((start, _)), Some((_, end))) =
        (ranges.iter().min_by_key(|r| &r.0), ranges.iter().max_by_key(|r| &r.1))
    else {
        return;
    };
    let mut lost = 0;
    while let Some(feed) = feed.upgrade() {
        let before = feed.seen();
        let range = (start.clone(), end.clone());
        match stream(&members, &layout, &feed, range).await {
            Ended::Compacted(oldest) => {
                feed.fail(StoreError::Compacted { asked: feed.seen(), oldest });
                return;
            }
            Ended::Failed(failure) if failure.meaning == Meaning::Final => {
                feed.fail(failure.of_read(before));
                return;
            }
            Ended::Failed(failure) => {
                tracing::debug!(
                    endpoint = %failure.endpoint, err = %failure.cause(), "a watch is resumed"
                );
            }
        }
        // The first time at once, with the next member; then not in a tight loop.
        lost = if feed.seen() > before { 0 } else { lost + 1 };
        drop(feed);
        if lost > 1 {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Why a stream ended.
enum Ended {
    /// History does not reach back; it begins at this revision.
    Compacted(Revision),
    Failed(Failure),
}

async fn stream(
    members: &Members,
    layout: &Layout,
    feed: &Feed,
    (start, end): (Vec<u8>, Vec<u8>),
) -> Ended {
    let (at, connection) = match members.connection().await {
        Ok(connected) => connected,
        Err(failure) => return Ended::Failed(failure),
    };
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    let create = WatchCreateRequest {
        key: start,
        range_end: end,
        start_revision: layout::number(feed.seen()).saturating_add(1),
        progress_notify: true,
        ..WatchCreateRequest::default()
    };
    let lost = |status| Ended::Failed(members.lost(at, status));
    let silent = || lost(GrpcStatus::deadline_exceeded(failure::SILENCE));
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    if requests.try_send(create).is_err() {
        return lost(GrpcStatus::internal("a new channel has room for one request"));
    }
    let request = connection.request(ReceiverStream::new(receiver));
    let mut responses = match timeout(QUIET, connection.watch().watch(request)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return lost(status),
        Err(_) => return silent(),
    };
    // Events say nothing of what is still to come: only who is asked and has none left answers.
    let mut asked = None;
    let mut came = true;
    let mut deadline = Instant::now() + QUIET;
    loop {
        let response = match timeout_at(deadline, responses.message()).await {
            Ok(Ok(Some(response))) => response,
            Ok(Ok(None)) => return lost(GrpcStatus::unavailable("the member ended the watch")),
            Ok(Err(status)) => return lost(status),
            Err(_) if !came => return silent(),
            Err(_) => {
                let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
                let probe = WatchRequest { request_union: Some(union) };
                if requests.try_send(probe).is_err() {
                    return silent();
                }
                let now = Instant::now();
                asked.get_or_insert(now);
                (came, deadline) = (false, now + QUIET);
                continue;
            }
        };
        came = true;
        if response.compact_revision > 0 {
            return Ended::Compacted(layout::revision(response.compact_revision));
        }
        if response.canceled {
            return lost(canceled(&response.cancel_reason));
        }
        // The member knew it when it answered, so it did all before it was asked.
        if response.events.is_empty() && !response.created {
            feed.heard(asked.take().unwrap_or_else(Instant::now));
        }
        tell(layout, feed, response);
    }
}

/// A canceled watch as the error it would be elsewhere.
fn canceled(reason: &str) -> GrpcStatus {
    if reason.contains("permission denied") {
        GrpcStatus::permission_denied(reason)
    } else if reason.contains("auth token") {
        GrpcStatus::unauthenticated(reason)
    } else {
        GrpcStatus::unavailable(format!("the watch was ended: {reason}"))
    }
}

fn tell(layout: &Layout, feed: &Feed, response: WatchResponse) {
    let mut last = 0;
    let mut events = Vec::with_capacity(response.events.len());
    for event in response.events {
        let deleted = event.r#type() == EventType::Delete;
        let Some(kv) = event.kv else { continue };
        last = last.max(kv.mod_revision);
        let Some(Ok(key)) = layout.path(&kv.key).map(Key::from_path) else { continue };
        if !feed.area().contains(&key) {
            continue;
        }
        let revision = layout::revision(kv.mod_revision);
        let created = !deleted && kv.version == 1;
        let value = (!deleted)
            .then(|| Versioned { value: octets::from_etcd(&key, Bytes::from(kv.value)), revision });
        events.push(Event { change: Change { key, value, revision }, created });
    }
    if last > 0 {
        feed.push(&events, layout::revision(last));
    }
}
