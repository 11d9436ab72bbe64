//! The kernel, as far as workloads need it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io,
    net::IpAddr,
    path::Path,
    time::Duration,
};

use margay_fib::{
    AttachError, FibHandle, HostRouteError, LinkSpec,
    attach::{Difference, Overlay, pod_mtu},
};
use margay_workload::name;

/// What a node's kernel does for workloads. All but [`route`](Self::route) may block.
pub(super) trait Network: Debug + Send + Sync {
    /// Makes a link, or sees that it is there just so.
    fn attach(&self, netns: &Path, spec: &LinkSpec) -> Result<(), AttachError>;
    /// Gives a link that was made without addresses those of `spec`.
    fn fulfil(&self, netns: &Path, spec: &LinkSpec) -> Result<(), AttachError>;
    /// Removes a link, if it carries this alias, or none and may be `half_made`; done if it is not
    /// there.
    fn detach(&self, link: &str, alias: &str, half_made: bool) -> Result<(), AttachError>;
    /// Ends the tracked connections of these addresses.
    fn disconnect(&self, addresses: &[IpAddr]) -> io::Result<()>;
    /// The links of workloads, with their aliases.
    fn links(&self) -> Result<BTreeMap<String, String>, AttachError>;
    /// What is not as wished.
    fn differences(&self, netns: &Path, spec: &LinkSpec) -> Result<Vec<Difference>, AttachError>;
    /// From now on an address is over this link, or over none.
    fn route(&self, address: IpAddr, link: Option<&str>);
    /// Waits until it is.
    fn reach(&self, address: IpAddr, link: &str, patience: Duration) -> Result<(), HostRouteError>;
    /// Addresses that are not over the link they are wished over, and why.
    fn unreached(&self) -> BTreeMap<IpAddr, String>;
    /// Every address of this start has been told.
    fn routes_in_sync(&self);
    /// The largest MTU that fits through the underlay with these overlays on.
    fn mtu(&self, node: &[IpAddr], overlays: &BTreeSet<Overlay>) -> u32;
}

/// The real one.
#[derive(Debug)]
pub(super) struct Kernel(pub(super) FibHandle);

impl Network for Kernel {
    fn attach(&self, netns: &Path, spec: &LinkSpec) -> Result<(), AttachError> {
        margay_fib::attach(netns, spec).map(|_| ())
    }

    fn fulfil(&self, netns: &Path, spec: &LinkSpec) -> Result<(), AttachError> {
        margay_fib::fulfil(netns, spec).map(|_| ())
    }

    fn detach(&self, link: &str, alias: &str, half_made: bool) -> Result<(), AttachError> {
        if half_made {
            margay_fib::detach_own(link, alias)?;
        } else {
            margay_fib::detach_marked(link, alias)?;
        }
        Ok(())
    }

    fn disconnect(&self, addresses: &[IpAddr]) -> io::Result<()> {
        let ended = margay_fib::forget_connections(addresses)?;
        if ended > 0 {
            tracing::debug!(?addresses, ended, "connections of addresses were ended");
        }
        Ok(())
    }

    fn links(&self) -> Result<BTreeMap<String, String>, AttachError> {
        let links = margay_fib::list(name::PREFIX)?;
        Ok(links.into_iter().map(|link| (link.name, link.alias)).collect())
    }

    fn differences(&self, netns: &Path, spec: &LinkSpec) -> Result<Vec<Difference>, AttachError> {
        margay_fib::compare(netns, spec)
    }

    fn route(&self, address: IpAddr, link: Option<&str>) {
        self.0.set_host_routes([(address, link.map(str::to_owned))]);
    }

    fn reach(&self, address: IpAddr, link: &str, patience: Duration) -> Result<(), HostRouteError> {
        self.0.host_route(address, link, patience)
    }

    fn unreached(&self) -> BTreeMap<IpAddr, String> {
        use margay_fib::HostRouteState as State;
        let why = |state: &State| match state {
            State::Installed | State::Unwanted => None,
            State::Pending => Some("on its way".to_owned()),
            State::NoLink => Some("the link is not there, or down".to_owned()),
            State::Conflict(by) => Some(by.to_string()),
            State::Refused(errno) => Some(io::Error::from_raw_os_error(*errno).to_string()),
            State::Off => Some("no routes are written".to_owned()),
        };
        let routes = self.0.host_routes();
        let routes = routes.iter().filter(|route| route.gateway.is_none());
        routes.filter_map(|route| Some((route.address, why(&route.state)?))).collect()
    }

    fn routes_in_sync(&self) {
        self.0.host_routes_in_sync();
    }

    fn mtu(&self, node: &[IpAddr], overlays: &BTreeSet<Overlay>) -> u32 {
        let underlay = self.0.uplinks(node).iter().map(|link| link.mtu).min();
        let overlays: Vec<_> = overlays.iter().copied().collect();
        pod_mtu(underlay.unwrap_or(USUAL), &overlays)
    }
}

/// The MTU of a host without an uplink.
const USUAL: u32 = 1500;
