//! Own IPv4 addresses of a single host (`/32`, as a loopback address or a virtual IP has): connected
//! like any other, but the kernel makes no route for them in the main table, as it does for IPv6.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::api::{FibConfig, FibEvent, Learned};
use crate::plan::facts::{KERNEL, can_be_announced};
use crate::plan::resolve::MAIN;
use crate::plan::state::State;

impl State {
    /// Tells redistribution which came and which went since the last call.
    pub(super) fn tell_hosts(&mut self) {
        let now = self.hosts_under(&self.config);
        if now == self.hosts {
            return;
        }
        let was = std::mem::replace(&mut self.hosts, now);
        let gone = was.difference(&self.hosts).map(|host| told(*host, false));
        let come = self.hosts.difference(&was).map(|host| told(*host, true));
        self.events.extend(gone.chain(come));
    }

    /// Those that a configuration learns.
    fn hosts_under(&self, config: &FibConfig) -> BTreeSet<IpNet> {
        if !config.learn_tables.contains(&MAIN) {
            return BTreeSet::new();
        }
        let single = |net: &IpNet| matches!(net, IpNet::V4(net) if net.prefix_len() == 32);
        let running = self.links.addresses_running();
        // What only peers of this host call says nothing of it to others.
        let known = |link, net: &IpNet| !self.addresses.has(link, net.addr());
        running
            .filter(|(link, net)| single(net) && can_be_announced(*net) && known(*link, net))
            .map(|(_, net)| net)
            .collect()
    }

    /// The end of those that another configuration does not learn any more.
    pub(super) fn hosts_dropped_by(&self, config: &FibConfig) -> Vec<FibEvent> {
        let kept = self.hosts_under(config);
        self.hosts.difference(&kept).map(|host| told(*host, false)).collect()
    }
}

fn told(prefix: IpNet, there: bool) -> FibEvent {
    let learned = Learned {
        prefix,
        table: MAIN,
        protocol: KERNEL,
        metric: 0,
        gateway: None,
        interface: None,
        connected: true,
    };
    FibEvent::Learned(learned, there)
}
