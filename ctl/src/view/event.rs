//! A line of `margay monitor`.

use margay_proto::v1::{self, monitor_event};
use serde::Serialize;

use super::route::Route;
use crate::values;

/// Something that changed.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A session changed its state.
    Peer {
        /// Seconds since the Unix epoch.
        at: u64,
        /// The peer.
        name: String,
        /// Its address.
        address: Option<String>,
        /// State before.
        from: Option<&'static str>,
        /// State after.
        to: Option<&'static str>,
        /// `up` or `down`.
        admin_state: Option<&'static str>,
        /// As text.
        why: String,
    },
    /// The best path of a prefix changed.
    Route {
        /// Seconds since the Unix epoch.
        at: u64,
        /// The prefix.
        prefix: String,
        /// Its family.
        family: Option<&'static str>,
        /// `update` or `withdraw`.
        action: &'static str,
        /// The new best path, null where there is none any more.
        route: Option<Box<Route>>,
    },
    /// We were too slow to see everything.
    Lost {
        /// Seconds since the Unix epoch.
        at: u64,
        /// How many events.
        count: u64,
    },
}

impl Event {
    /// Absent where a newer daemon tells of something we do not know.
    pub fn new(event: v1::MonitorEvent) -> Option<Self> {
        let at = event.at;
        Some(match event.event? {
            monitor_event::Event::Peer(peer) => Self::Peer {
                at,
                from: values::named(peer.from().name()),
                to: values::named(peer.to().name()),
                admin_state: values::named(peer.admin_state().name()),
                name: peer.name,
                address: peer.address,
                why: peer.why,
            },
            monitor_event::Event::Route(route) => Self::Route {
                at,
                family: values::named(route.family().name()),
                action: if route.best.is_some() { "update" } else { "withdraw" },
                prefix: route.prefix,
                route: route.best.map(|best| Box::new(best.into())),
            },
            monitor_event::Event::Lost(count) => Self::Lost { at, count },
        })
    }
}
