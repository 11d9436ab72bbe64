//! Where what this daemon knows of the datastore comes from, and how old it may be.
//!
//! Owns: what is told of that to those who hear it from here, and shown to who asks. Leaves to
//! [`crate::upstream`] how it is heard, to [`crate::follow`] how current a watch is.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{follow::AsOf, upstream::Standing};

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
    /// The datastore itself, in parts.
    Store(Arc<[AsOf]>),
    /// Another node's daemon.
    Upstream(watch::Receiver<Standing>),
}

impl Origin {
    /// Of the node of this name, which has no datastore.
    pub(crate) fn nowhere(name: Arc<str>) -> Self {
        Self { name, feed: Feed::Nowhere }
    }

    /// Of one that follows these parts of its datastore itself.
    pub(crate) fn store(name: Arc<str>, parts: impl IntoIterator<Item = AsOf>) -> Self {
        Self { name, feed: Feed::Store(parts.into_iter().collect()) }
    }

    /// Of one that hears them from another.
    pub(crate) fn upstream_of(name: Arc<str>, standing: watch::Receiver<Standing>) -> Self {
        Self { name, feed: Feed::Upstream(standing) }
    }

    /// The daemons from the one that reads the datastore to this one, and how long ago all that is
    /// known here was certainly so; `None`: not all has been heard.
    pub(crate) fn now(&self) -> (Vec<String>, Option<Duration>) {
        let own = self.name.to_string();
        match &self.feed {
            Feed::Nowhere => (vec![own], None),
            Feed::Store(parts) => {
                let all: Option<Vec<Instant>> = parts.iter().map(AsOf::get).collect();
                let oldest = all.and_then(|all| all.into_iter().min());
                (vec![own], oldest.map(|at| at.elapsed()))
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

#[cfg(test)]
mod tests;
