//! A row of `margay peers`.

use std::collections::BTreeMap;

use margay_proto::v1::{self, AdminState, SessionState};
use serde::Serialize;

use crate::{
    output::{
        Row,
        table::{Cell, Column, Tone},
    },
    values,
};

/// A peer.
#[derive(Debug, Clone, Serialize)]
pub struct Peer {
    pub(super) name: String,
    pub(super) address: Option<String>,
    pub(super) asn: Option<u32>,
    pub(super) local_asn: u32,
    pub(super) state: &'static str,
    pub(super) admin_state: &'static str,
    pub(super) uptime_seconds: Option<u64>,
    pub(super) flaps: u64,
    pub(super) last_error: Option<LastError>,
    pub(super) families: BTreeMap<&'static str, Counts>,
    pub(super) capabilities: Vec<String>,
    pub(super) template: Option<String>,
    pub(super) group: Option<String>,
    pub(super) description: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) router_id: Option<String>,
}

/// Why the session last went down.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LastError {
    pub(super) direction: Option<&'static str>,
    pub(super) code: Option<u32>,
    pub(super) subcode: Option<u32>,
    pub(super) text: String,
    pub(super) at: u64,
}

/// Paths of a family.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) accepted: u64,
    pub(super) advertised: u64,
}

impl From<v1::SessionError> for LastError {
    fn from(error: v1::SessionError) -> Self {
        Self {
            direction: values::named(error.direction().name()),
            code: error.code,
            subcode: error.subcode,
            text: error.text,
            at: error.at,
        }
    }
}

impl From<v1::Peer> for Peer {
    fn from(peer: v1::Peer) -> Self {
        let families = peer.families.iter().map(|family| {
            let v1::PeerFamily { received, accepted, advertised, .. } = *family;
            (family.family().name(), Counts { received, accepted, advertised })
        });
        Self {
            families: families.collect(),
            state: peer.state().name(),
            admin_state: peer.admin_state().name(),
            name: peer.name,
            address: peer.address,
            asn: peer.asn,
            local_asn: peer.local_asn,
            uptime_seconds: peer.uptime_seconds,
            flaps: peer.flaps,
            last_error: peer.last_error.map(LastError::from),
            capabilities: peer.capabilities,
            template: peer.template,
            group: peer.group,
            description: Some(peer.description).filter(|text| !text.is_empty()),
            interface: peer.interface,
            router_id: peer.router_id,
        }
    }
}

impl Peer {
    /// Its state as a table has it, with what it says about the health of the peer.
    pub(super) fn state_text(&self) -> (String, Tone) {
        if self.admin_state == AdminState::Down.name() {
            (format!("{} (admin down)", self.state), Tone::Warn)
        } else if self.is_established() {
            (self.state.to_owned(), Tone::Good)
        } else {
            (self.state.to_owned(), Tone::Bad)
        }
    }

    fn is_established(&self) -> bool {
        self.state == SessionState::Established.name()
    }

    fn sum(&self, count: impl Fn(&Counts) -> u64) -> String {
        self.families.values().map(count).sum::<u64>().to_string()
    }
}

impl LastError {
    /// `received Cease/Administrative Shutdown (6/2): back at nine`; the text has the codes.
    pub(super) fn summary(&self) -> String {
        let text = super::tame(&self.text);
        match self.direction.filter(|_| self.code.is_some()) {
            Some(direction) => format!("{direction} {text}"),
            None => text,
        }
    }
}

impl Row for Peer {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("ADDRESS"),
        Column::right("ASN"),
        Column::right("LOCAL-ASN").wide(),
        Column::left("ROUTER-ID").wide(),
        Column::left("STATE"),
        Column::right("UPTIME"),
        Column::right("FLAPS"),
        Column::right("RECEIVED"),
        Column::right("ACCEPTED"),
        Column::right("ADVERTISED"),
        Column::left("GROUP").wide(),
        Column::left("TEMPLATE").wide(),
        Column::left("DESCRIPTION").wide(),
        Column::left("LAST-ERROR"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let (state, tone) = self.state_text();
        // An error that has been overcome is history, not news.
        let error = self.last_error.as_ref().filter(|_| !self.is_established());
        vec![
            Cell::new(self.name.clone()),
            Cell::maybe(self.address.as_ref()),
            Cell::maybe(self.asn),
            Cell::new(self.local_asn.to_string()),
            Cell::maybe(self.router_id.as_ref()),
            Cell::new(state).tone(tone),
            Cell::maybe(self.uptime_seconds.map(values::duration)),
            Cell::new(self.flaps.to_string()),
            Cell::new(self.sum(|counts| counts.received)),
            Cell::new(self.sum(|counts| counts.accepted)),
            Cell::new(self.sum(|counts| counts.advertised)),
            Cell::maybe(self.group.as_ref()),
            Cell::maybe(self.template.as_ref()),
            Cell::maybe(self.description.as_ref()),
            Cell::maybe(error.map(LastError::summary)),
        ]
    }
}
