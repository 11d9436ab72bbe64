//! Our OPEN, the checks on the peer's (RFC 4271 §6.2 and successors), and what both agree on.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bgp_packet::{
    AddPathMode, Asn, Capability, Family, FamilySet, MAX_EXTENDED_LEN, MAX_LEN, Notification, Open,
    SessionKind,
    notification::{code, open_error},
};
use bytes::Bytes;

use super::{Negotiated, PeerRestart, timers};
use crate::config::{GlobalConfig, PeerAddress, PeerAsn, PeerConfig, default_families};

const VERSION: u8 = 4;
const AFI_IPV6: u16 = 2;
/// The field has 12 bits.
const MAX_RESTART_TIME: u16 = 4095;

/// What we say in the OPEN of one connection; later changes of configuration do not touch it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offer {
    /// As sent.
    pub(super) open: Open,
    /// Our AS as the peer shall see it, also where the OPEN has room for 2 octets only.
    pub(super) asn: Asn,
    /// Families on the table.
    pub(super) families: FamilySet,
    /// Whether it went without capabilities, because the peer answered 2/4 before.
    pub(super) plain: bool,
    /// Whether we speak as a member of our confederation, not as the whole of it.
    inside: bool,
}

/// Why an OPEN is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) notification: Notification,
    /// What was wrong, with the numbers.
    pub(super) text: String,
}

impl Refusal {
    fn new(subcode: u8, data: impl Into<Bytes>, text: String) -> Self {
        let notification = Notification::with_data(code::OPEN, subcode, data);
        Self { notification, text }
    }
}

impl Offer {
    /// What to say to this peer; `plain` = without optional parameters.
    pub(super) fn new(
        global: &GlobalConfig,
        peer: &PeerConfig,
        remote: IpAddr,
        plain: bool,
        restart: OwnRestart,
    ) -> Self {
        let inside = global.confederation.as_ref().is_some_and(|c| match &peer.asn {
            PeerAsn::Internal => true,
            PeerAsn::OneOf(list) => {
                list.first().is_some_and(|a| *a == global.asn || c.members.contains(a))
            }
            PeerAsn::External | PeerAsn::Any => false,
        });
        let asn = match (&peer.local_asn, &global.confederation) {
            (Some(local), _) => *local,
            (None, Some(confederation)) if !inside => confederation.id,
            (None, _) => global.asn,
        };
        let configured = peer.families.unwrap_or_else(|| default_families(remote));
        let families = if plain {
            configured.intersection([Family::IPV4_UNICAST].into_iter().collect())
        } else {
            configured
        };
        let capabilities =
            if plain { Vec::new() } else { capabilities(peer, asn, families, restart) };
        let open = Open {
            version: VERSION,
            my_as: asn.two_octet(),
            hold_time: u16::try_from(peer.hold_time.as_secs()).unwrap_or(u16::MAX),
            router_id: global.router_id,
            capabilities,
        };
        Self { open, asn, families, plain, inside }
    }

    /// Whether this peer can be served without capabilities: only IPv4 unicast needs none.
    pub(super) fn can_go_plain(&self) -> bool {
        !self.plain && self.families.contains(Family::IPV4_UNICAST)
    }

    /// Whether we said that we understand this.
    pub(super) fn has(&self, capability: &Capability) -> bool {
        self.open.capabilities.contains(capability)
    }

    /// What the peer is to us, or `None` where its AS is not one we expect.
    fn kind(&self, global: &GlobalConfig, peer: &PeerConfig, asn: Asn) -> Option<SessionKind> {
        let kind = match &global.confederation {
            Some(confederation) => {
                let member = asn == global.asn || confederation.members.contains(&asn);
                match (self.inside, member) {
                    (true, _) if asn == self.asn => SessionKind::Internal,
                    (true, true) => SessionKind::ConfedExternal,
                    (false, false) if asn != self.asn => SessionKind::External,
                    _ => return None,
                }
            }
            None if asn == self.asn => SessionKind::Internal,
            None => SessionKind::External,
        };
        let expected = match &peer.asn {
            PeerAsn::OneOf(list) => list.contains(&asn),
            PeerAsn::Internal => kind == SessionKind::Internal,
            PeerAsn::External => kind != SessionKind::Internal,
            PeerAsn::Any => true,
        };
        expected.then_some(kind)
    }
}

/// What we say of our own restarts (RFC 4724 §4.1).
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnRestart {
    /// The process has just restarted.
    pub(super) restarting: bool,
    /// Forwarding went on since the last session.
    pub(super) preserved: bool,
}

fn capabilities(
    peer: &PeerConfig,
    asn: Asn,
    families: FamilySet,
    restart: OwnRestart,
) -> Vec<Capability> {
    let mut list: Vec<_> = families.iter().map(Capability::Multiprotocol).collect();
    list.push(Capability::RouteRefresh);
    let unnumbered = matches!(peer.address, PeerAddress::Interface(_));
    if (peer.extended_next_hop || unnumbered) && families.contains(Family::IPV4_UNICAST) {
        list.push(Capability::ExtendedNextHop(vec![(Family::IPV4_UNICAST, AFI_IPV6)]));
    }
    if peer.extended_messages {
        list.push(Capability::ExtendedMessage);
    }
    if let Some(graceful) = peer.graceful_restart {
        list.push(Capability::GracefulRestart {
            restarting: restart.restarting,
            notification: false,
            restart_time: u16::try_from(graceful.restart_time.as_secs())
                .unwrap_or(MAX_RESTART_TIME)
                .min(MAX_RESTART_TIME),
            families: families.iter().map(|family| (family, restart.preserved)).collect(),
        });
    }
    list.push(Capability::FourOctetAsn(asn));
    let mode = match (peer.add_path.receive, peer.add_path.send > 0) {
        (true, true) => Some(AddPathMode::Both),
        (true, false) => Some(AddPathMode::Receive),
        (false, true) => Some(AddPathMode::Send),
        (false, false) => None,
    };
    if let Some(mode) = mode {
        list.push(Capability::AddPath(families.iter().map(|f| (f, mode)).collect()));
    }
    list.push(Capability::EnhancedRouteRefresh);
    list
}

/// Checks the peer's OPEN and works out what the session will use.
///
/// # Errors
/// The NOTIFICATION the peer must get, by the table in RFC 4271 §6.2 and its successors.
pub(super) fn negotiate(
    global: &GlobalConfig,
    peer: &PeerConfig,
    offer: &Offer,
    received: Open,
    (local, remote): (SocketAddr, SocketAddr),
) -> Result<Negotiated, Refusal> {
    if received.version != VERSION {
        let text = format!("version {}, expected {VERSION}", received.version);
        return Err(Refusal::new(open_error::UNSUPPORTED_VERSION, vec![0, VERSION], text));
    }
    let (peer_asn, kind) = check_asn(global, peer, offer, &received)?;
    if received.router_id.is_unspecified() {
        return Err(Refusal::new(
            open_error::BAD_IDENTIFIER,
            Bytes::new(),
            "BGP identifier 0.0.0.0".to_owned(),
        ));
    }
    if kind == SessionKind::Internal && received.router_id == global.router_id {
        let text = format!("BGP identifier {} is our own", received.router_id);
        return Err(Refusal::new(open_error::BAD_IDENTIFIER, Bytes::new(), text));
    }
    let hold_time = check_hold_time(peer, &offer.open, &received)?;

    let ours = Terms::of(&offer.open);
    let theirs = Terms::of(&received);
    let families = offer.families.intersection(theirs.families);
    if families.is_empty() {
        let text = format!("no address family in common, we want {}", names(offer.families));
        return Err(Refusal::new(open_error::UNSUPPORTED_CAPABILITY, wanted(offer.families), text));
    }
    Ok(Negotiated {
        hold_time,
        keepalive_interval: timers::keepalive_interval(hold_time),
        kind,
        local_asn: offer.asn,
        peer_asn,
        peer_router_id: received.router_id,
        local,
        remote,
        families,
        four_octet_asn: ours.four_octet_asn && theirs.four_octet_asn,
        max_send_len: message_len(ours.extended_message && theirs.extended_message),
        max_receive_len: message_len(ours.extended_message),
        add_path_receive: families
            .intersection(ours.add_path_receive)
            .intersection(theirs.add_path_send),
        add_path_send: families
            .intersection(ours.add_path_send)
            .intersection(theirs.add_path_receive),
        extended_next_hop: families
            .intersection(ours.extended_next_hop)
            .intersection(theirs.extended_next_hop),
        route_refresh: ours.route_refresh && theirs.route_refresh,
        enhanced_refresh: ours.enhanced_refresh && theirs.enhanced_refresh,
        graceful_restart: ours.graceful_restart.and(theirs.graceful_restart).map(|theirs| {
            PeerRestart {
                families: theirs.families.intersection(families),
                preserved: theirs.preserved.intersection(families),
                ..theirs
            }
        }),
        sent: offer.open.clone(),
        received,
    })
}

fn message_len(extended: bool) -> usize {
    if extended { MAX_EXTENDED_LEN } else { MAX_LEN }
}

fn check_asn(
    global: &GlobalConfig,
    peer: &PeerConfig,
    offer: &Offer,
    received: &Open,
) -> Result<(Asn, SessionKind), Refusal> {
    let refuse = |text| Refusal::new(open_error::BAD_PEER_AS, Bytes::new(), text);
    let asn = received.asn();
    if asn == Asn(0) || asn == Asn::TRANS {
        return Err(refuse(format!("AS {asn} is nobody's")));
    }
    // RFC 6793 §4.1: the old field holds the number itself, or AS_TRANS.
    let field = Asn(u32::from(received.my_as));
    if field != asn && field != Asn::TRANS {
        return Err(refuse(format!("AS {field} in the OPEN but {asn} in its capability")));
    }
    let kind = offer.kind(global, peer, asn);
    kind.map(|kind| (asn, kind)).ok_or_else(|| {
        refuse(match &peer.asn {
            PeerAsn::OneOf(list) if !list.contains(&asn) => {
                let list: Vec<_> = list.iter().map(Asn::to_string).collect();
                format!("AS {asn}, expected {}", list.join(" or "))
            }
            PeerAsn::Internal => format!("AS {asn}, expected our own {}", offer.asn),
            PeerAsn::External if asn == offer.asn => {
                format!("AS {asn} is our own, expected another")
            }
            _ => format!("AS {asn} does not fit our confederation: we speak as AS {}", offer.asn),
        })
    })
}

fn check_hold_time(peer: &PeerConfig, ours: &Open, received: &Open) -> Result<Duration, Refusal> {
    let offered = Duration::from_secs(u64::from(received.hold_time));
    let least = peer.min_hold_time.max(Duration::from_secs(3));
    if !offered.is_zero() && offered < least {
        let text =
            format!("hold time {} s, expected at least {} s", offered.as_secs(), least.as_secs());
        return Err(Refusal::new(
            open_error::UNACCEPTABLE_HOLD_TIME,
            received.hold_time.to_be_bytes().to_vec(),
            text,
        ));
    }
    Ok(offered.min(Duration::from_secs(u64::from(ours.hold_time))))
}

/// The capability TLVs we miss, as data of a NOTIFICATION 2/7 (RFC 5492 §5).
fn wanted(families: FamilySet) -> Vec<u8> {
    let list: Vec<_> = families.iter().map(Capability::Multiprotocol).collect();
    Capability::encode_all(&list)
}

fn names(families: FamilySet) -> String {
    let list: Vec<_> = families.iter().map(|family| family.to_string()).collect();
    list.join(", ")
}

/// What one OPEN offers.
#[derive(Debug, Default)]
struct Terms {
    families: FamilySet,
    four_octet_asn: bool,
    extended_message: bool,
    route_refresh: bool,
    enhanced_refresh: bool,
    add_path_receive: FamilySet,
    add_path_send: FamilySet,
    extended_next_hop: FamilySet,
    graceful_restart: Option<PeerRestart>,
}

impl Terms {
    fn of(open: &Open) -> Self {
        let mut terms = Self::default();
        let mut multiprotocol = false;
        for capability in &open.capabilities {
            match capability {
                Capability::Multiprotocol(family) => {
                    multiprotocol = true;
                    terms.families.insert(*family);
                }
                Capability::RouteRefresh => terms.route_refresh = true,
                Capability::ExtendedMessage => terms.extended_message = true,
                Capability::FourOctetAsn(_) => terms.four_octet_asn = true,
                Capability::EnhancedRouteRefresh => terms.enhanced_refresh = true,
                Capability::ExtendedNextHop(entries) => {
                    for (family, _) in entries.iter().filter(|(_, afi)| *afi == AFI_IPV6) {
                        terms.extended_next_hop.insert(*family);
                    }
                }
                // The last instance counts (RFC 5492 §4 leaves it open, FRR and BIRD do so).
                Capability::AddPath(entries) => {
                    let able = |can: fn(AddPathMode) -> bool| {
                        entries
                            .iter()
                            .filter(move |(_, mode)| can(*mode))
                            .map(|(family, _)| *family)
                    };
                    terms.add_path_receive = able(AddPathMode::receives).collect();
                    terms.add_path_send = able(AddPathMode::sends).collect();
                }
                // The last instance counts (RFC 4724 §3).
                Capability::GracefulRestart { restarting, restart_time, families, .. } => {
                    let preserved = families.iter().filter(|(_, preserved)| *preserved);
                    terms.graceful_restart = Some(PeerRestart {
                        restarting: *restarting,
                        restart_time: Duration::from_secs(u64::from(*restart_time)),
                        families: families.iter().map(|(family, _)| *family).collect(),
                        preserved: preserved.map(|(family, _)| *family).collect(),
                    });
                }
                Capability::Role(_)
                | Capability::LongLivedGracefulRestart(_)
                | Capability::Fqdn { .. }
                | Capability::Unknown { .. } => {}
            }
        }
        if !multiprotocol {
            terms.families.insert(Family::IPV4_UNICAST);
        }
        // RFC 7313 §3.1: enhanced refresh is an addition to the plain one.
        terms.enhanced_refresh &= terms.route_refresh;
        terms
    }
}
