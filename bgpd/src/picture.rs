//! What a task makes of the mirror's news, and how others ask a task.
//!
//! Owns the two shapes that every owner of state here has: a picture of some kinds of resources that
//! is kept by news, and a question whose answer comes back on a channel of its own.

use margay_model::{Key, Resource};
use tokio::sync::{mpsc, oneshot};

use crate::mirror::{News, unreadable};

/// Some kinds of resources, as types.
pub(crate) trait Picture {
    /// What some news came to.
    type Changed: Default;

    /// A resource is so now.
    fn put(&mut self, resource: Resource, changed: &mut Self::Changed);
    /// One is gone.
    fn remove(&mut self, key: &Key, changed: &mut Self::Changed);
    /// One is there and cannot be read. What was known of it stays.
    fn unreadable(&mut self, _key: &Key, _changed: &mut Self::Changed) {}
    /// All that there was has been told; comes again after each change.
    fn told(&mut self, changed: &mut Self::Changed);

    /// Takes in what the mirror tells.
    fn apply(&mut self, news: Vec<News>) -> Self::Changed {
        let mut changed = Self::Changed::default();
        for news in news {
            match news {
                // The one comes once, before anything else; the other is of another copy.
                News::Reset | News::Stored(..) => {}
                News::Resource(mirrored) => match Resource::decode(mirrored.text.as_bytes()) {
                    Ok(resource) => self.put(resource, &mut changed),
                    Err(_) => {
                        if let Some(key) = unreadable(&mirrored.text) {
                            self.unreadable(&key, &mut changed);
                        }
                    }
                },
                News::Gone(key, _) => self.remove(&key, &mut changed),
                News::InSync(_) => self.told(&mut changed),
            }
        }
        changed
    }
}

/// Asks a task, and waits for the answer; `None` once it takes no more requests, or is gone before it
/// answered.
pub(crate) async fn asked<R, A>(
    requests: &mpsc::Sender<R>,
    request: impl FnOnce(oneshot::Sender<A>) -> R,
) -> Option<A> {
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).await.ok()?;
    answer.await.ok()
}
