//! Members of the sets that rules refer to.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A range of addresses, without host bits. Those of one set never overlap.
    Net(IpNet),
    /// A port at an address.
    Port(PortMember),
}

/// A port at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMember {
    /// The address.
    pub address: IpAddr,
    /// The protocol's number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// How the members of a set change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetDelta {
    /// Members that come.
    pub added: BTreeSet<Member>,
    /// Members that go. To be taken out first: a range may come that holds them.
    pub removed: BTreeSet<Member>,
}

/// Whether a range of the set holds the address.
pub(crate) fn holds_address(set: &BTreeSet<Member>, address: IpAddr) -> bool {
    // Ranges do not overlap, so only the last one that begins before the address can hold it.
    let last = set.range(..=Member::Net(IpNet::from(address))).next_back();
    matches!(last, Some(Member::Net(net)) if net.contains(&address))
}
