//! Messages that speak for a whole table, while each shard knows its part only.
//!
//! An End-of-RIB goes out when every shard has come to its own; of the brackets of a refresh (RFC
//! 7313) the BoRR with the first shard that begins, the EoRR with the last one that ends. What has
//! been said already is kept with what waits for the peer: `crate::connection::queue`.

use bgp_packet::{Family, Message, RefreshKind, end_of_rib, message};

/// Longest of them, with its header.
const LONGEST: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    EndOfRib(Family),
    BeginRefresh(Family),
    EndRefresh(Family),
}

impl Mark {
    /// What one whole message is, if it is one of these.
    pub(super) fn of(octets: &[u8]) -> Option<Self> {
        if octets.len() > LONGEST {
            return None;
        }
        match message::decode(octets) {
            Ok(Message::RouteRefresh(refresh)) => match refresh.kind {
                RefreshKind::Begin => Some(Self::BeginRefresh(refresh.family)),
                RefreshKind::End => Some(Self::EndRefresh(refresh.family)),
                RefreshKind::Request | RefreshKind::Other(_) => None,
            },
            Ok(Message::Update(_)) => Family::SUPPORTED
                .into_iter()
                .find(|family| *octets == *end_of_rib(*family))
                .map(Self::EndOfRib),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bgp_packet::{RefreshKind, RouteRefresh};

    use super::*;

    #[test]
    fn marks_are_told_from_routes() {
        for family in Family::SUPPORTED {
            assert_eq!(Mark::of(&end_of_rib(family)), Some(Mark::EndOfRib(family)));
            let bracket =
                |kind| Mark::of(&message::encode_route_refresh(RouteRefresh { family, kind }));
            assert_eq!(bracket(RefreshKind::Begin), Some(Mark::BeginRefresh(family)));
            assert_eq!(bracket(RefreshKind::End), Some(Mark::EndRefresh(family)));
        }
        assert_eq!(Mark::of(&message::keep_alive()), None);
        // The withdrawal of 10.0.0.0/8.
        let mut withdraw = end_of_rib(Family::IPV4_UNICAST).to_vec();
        withdraw.splice(19..21, [0, 2, 8, 10]);
        withdraw[17] = 25;
        assert_eq!(Mark::of(&withdraw), None);
        assert_eq!(Mark::of(&[0; 100]), None);
    }
}
