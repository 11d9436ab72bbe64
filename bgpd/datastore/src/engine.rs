//! An image and those who watch it: what the in-memory and the embedded backend both run on.

use std::sync::{Arc, Weak};

use margay_model::{Area, Revision};

use crate::{
    error::StoreError,
    feed::{Feed, Watch},
    image::{Image, Staged},
};

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) image: Image,
    feeds: Vec<Weak<Feed>>,
}

impl Engine {
    pub(crate) fn new(image: Image) -> Self {
        Self { image, feeds: Vec::new() }
    }

    pub(crate) fn watch(&mut self, area: &Area, after: Revision) -> Result<Watch, StoreError> {
        let feed = Feed::new(area.clone(), after);
        self.image.replay(&feed, after)?;
        self.feeds.retain(|feed| feed.strong_count() > 0);
        self.feeds.push(Arc::downgrade(&feed));
        Ok(Watch::new(feed, None))
    }

    /// Applies what was staged and tells the watchers.
    pub(crate) fn apply(&mut self, staged: Staged) {
        let events = self.image.apply(staged);
        if !events.is_empty() {
            for feed in self.feeds() {
                feed.push(&events, self.image.revision());
            }
        }
    }

    /// Applies what was staged and tells nobody, as a broken datastore would.
    pub(crate) fn apply_untold(&mut self, staged: Staged) {
        self.image.apply(staged);
    }

    /// Those who watch now.
    pub(crate) fn feeds(&self) -> impl Iterator<Item = Arc<Feed>> {
        self.feeds.iter().filter_map(Weak::upgrade)
    }
}
