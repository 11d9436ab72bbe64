//! Where what this daemon knows of the datastore comes from, and how old it may be.
//!
//! Owns: what is told of that to those who hear it from here, and shown to who asks. Leaves to
//! [`crate::upstream`] how it is heard.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use margay_datastore::Store;
use tokio::{sync::watch, time::Instant};

use crate::upstream::Standing;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    name: Arc<str>,
    feed: Feed,
}

#[derive(Debug, Clone)]
enum Feed {
    /// Nobody: there is no datastore.
    Nowhere,
    /// The datastore itself, and when it was seen to answer.
    Store(Arc<dyn Store>, Arc<Mutex<Option<Instant>>>),
    /// Another node's daemon.
    Upstream(watch::Receiver<Standing>),
}

impl Origin {
    /// Of the node of this name, by its datastore and its upstreams, if it has any.
    pub(crate) fn new(
        name: Arc<str>,
        store: Option<&Arc<dyn Store>>,
        upstream: Option<watch::Receiver<Standing>>,
    ) -> Self {
        let feed = match (store, upstream) {
            (None, _) => Feed::Nowhere,
            (Some(store), None) => Feed::Store(Arc::clone(store), Arc::default()),
            (Some(_), Some(upstream)) => Feed::Upstream(upstream),
        };
        Self { name, feed }
    }

    /// The daemons from the one that reads the datastore to this one, and how long ago all that is
    /// known here was certainly so; `None`: not all has been heard.
    pub(crate) fn now(&self) -> (Vec<String>, Option<Duration>) {
        let own = self.name.to_string();
        match &self.feed {
            Feed::Nowhere => (vec![own], None),
            Feed::Store(store, seen) => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if store.status().connected {
                    *seen = Some(Instant::now());
                }
                (vec![own], seen.map(|seen| seen.elapsed()))
            }
            Feed::Upstream(standing) => {
                let standing = standing.borrow();
                let mut path = standing.path.clone();
                path.push(own);
                (path, standing.lag())
            }
        }
    }

    /// How it stands with the upstreams, where there are any.
    pub(crate) fn upstream(&self) -> Option<Standing> {
        match &self.feed {
            Feed::Upstream(standing) => Some(standing.borrow().clone()),
            Feed::Nowhere | Feed::Store(..) => None,
        }
    }
}
