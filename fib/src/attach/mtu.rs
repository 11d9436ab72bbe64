//! How large a workload's packets may be.

/// What carries packets between nodes, by what it adds to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlay {
    /// 20 octets.
    Ipip,
    /// 50 octets over IPv4.
    Vxlan,
    /// 70 octets over IPv6.
    VxlanV6,
    /// 60 octets over IPv4.
    Wireguard,
    /// 80 octets over IPv6.
    WireguardV6,
}

impl Overlay {
    /// Octets it adds to a packet.
    pub fn overhead(self) -> u32 {
        match self {
            Self::Ipip => 20,
            Self::Vxlan => 50,
            Self::VxlanV6 => 70,
            Self::Wireguard => 60,
            Self::WireguardV6 => 80,
        }
    }
}

/// The largest MTU of a workload's link that fits through the underlay in whatever overlay is on;
/// never below 1280, the least IPv6 works with.
pub fn pod_mtu(underlay: u32, overlays: &[Overlay]) -> u32 {
    let most = overlays.iter().map(|o| o.overhead()).max().unwrap_or(0);
    underlay.saturating_sub(most).max(LEAST)
}

const LEAST: u32 = 1280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_overlay_counts_and_ipv6_still_works() {
        assert_eq!(pod_mtu(1500, &[]), 1500);
        assert_eq!(pod_mtu(1500, &[Overlay::Ipip]), 1480);
        assert_eq!(pod_mtu(9000, &[Overlay::Vxlan, Overlay::WireguardV6]), 8920);
        assert_eq!(pod_mtu(1300, &[Overlay::WireguardV6]), 1280);
    }
}
