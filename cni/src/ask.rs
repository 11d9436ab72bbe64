//! From a call of the runtime to a request of the daemon, and from its answer to a result.

use std::{net::IpAddr, path::Path};

use ipnet::IpNet;
use margay_proto::v1::{
    AddWorkloadRequest, AddWorkloadResponse, AssignByUs, Attachment, AttachmentMode,
    CheckWorkloadRequest, CollectWorkloadsRequest, DeleteWorkloadRequest, GivenAddresses,
    LeasedAddresses, ListWorkloadsRequest, PodIdentity, Workload, WorkloadInterface, WorkloadIp,
    WorkloadRoute, WorkloadStatusRequest, add_workload_request,
};

use crate::{
    config::{Assign, Config, Foreign, Ipam, Role},
    env::Target,
    error::{Code, Error},
    result::{Dns, Interface, Ip, NetworkResult, Route},
};

/// What the daemon needs beside the wait for policies.
const ADD_MILLIS: u32 = 15_000;

/// What is known of a call with a container.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Addresses only, or a link.
    pub role: Role,
    /// The container.
    pub target: &'a Target,
    /// The configuration.
    pub config: &'a Config,
}

impl Call<'_> {
    /// The key of the attachment.
    pub fn attachment(&self) -> Attachment {
        Attachment {
            network: self.config.network.clone(),
            container_id: self.target.container_id.clone(),
            ifname: self.target.ifname.clone(),
        }
    }

    /// ADD; with what a foreign IPAM plugin gave. Without it, and with one that asks over the link, the
    /// link for that.
    pub fn add(&self, given: Option<&NetworkResult>) -> AddWorkloadRequest {
        let Config { pod, ipam, .. } = self.config;
        let mode = match self.role {
            Role::Network => AttachmentMode::Link,
            Role::Ipam => AttachmentMode::Addresses,
        };
        let policy_wait_seconds = match self.role {
            Role::Network => self.config.policy_wait_seconds,
            // There is no link that a policy could be about.
            Role::Ipam => 0,
        };
        let mut routes = Vec::new();
        let addresses = match (ipam, given) {
            (Ipam::Foreign(foreign), given) => {
                let given = given.map(|result| result.ips.as_slice()).unwrap_or_default();
                routes = own_routes(foreign, given);
                let ips = given.iter().map(|ip| WorkloadIp { interface: None, ..wire_ip(ip) });
                let ips = ips.collect();
                match foreign.needs_interface {
                    true => add_workload_request::Ipam::Leased(LeasedAddresses { ips }),
                    false => add_workload_request::Ipam::Given(GivenAddresses { ips }),
                }
            }
            (Ipam::Ours(assign), _) => {
                let addresses = pod.addresses.iter().map(IpAddr::to_string).collect();
                add_workload_request::Ipam::Assign(AssignByUs { addresses, ..wire_assign(assign) })
            }
        };
        AddWorkloadRequest {
            attachment: Some(self.attachment()),
            mode: mode.into(),
            netns: self.netns(),
            pod: self.pod(),
            ipam: Some(addresses),
            labels: pod.labels.clone().into_iter().collect(),
            annotations: pod.annotations.clone().into_iter().collect(),
            mtu: self.config.mtu.unwrap_or_default(),
            routes,
            policy_wait_seconds,
            deadline_millis: policy_wait_seconds.saturating_mul(1000).saturating_add(ADD_MILLIS),
            allow_ip_forwarding: self.config.allow_ip_forwarding,
            allow_addresses_without_ipam: self.config.allow_addresses_without_ipam,
            allow_floating_ips: self.config.allow_floating_ips,
            queues: self.config.queues.unwrap_or_default(),
            // Known when it is sent.
            begin_by_millis: 0,
        }
    }

    /// DEL.
    pub fn delete(&self) -> DeleteWorkloadRequest {
        DeleteWorkloadRequest {
            attachment: Some(self.attachment()),
            netns: self.netns(),
            pod: self.pod(),
            spooled_at: 0,
            spooled_boot_id: String::new(),
            spooled_up_nanos: 0,
        }
    }

    /// CHECK: of all that the chain made only what this plugin made.
    ///
    /// # Errors
    /// There is no `prevResult`, or nothing of ours in it.
    pub fn check(&self) -> Result<CheckWorkloadRequest, Error> {
        let Some(previous) = &self.config.previous else {
            return Err(Error::new(Code::InvalidConfig, "prevResult: missing, CHECK needs it"));
        };
        let (interfaces, ips) = match self.role {
            Role::Ipam => (Vec::new(), previous.ips.iter().map(wire_ip).collect()),
            Role::Network => self.own_part(previous)?,
        };
        let ips: Vec<_> = ips.into_iter().map(|ip| WorkloadIp { interface: None, ..ip }).collect();
        // Nothing says whose a route is: with addresses of others about, it may be theirs.
        let alone = self.role == Role::Network && ips.len() == previous.ips.len();
        let routes =
            if alone { previous.routes.iter().map(wire_route).collect() } else { Vec::new() };
        Ok(CheckWorkloadRequest {
            attachment: Some(self.attachment()),
            netns: self.netns(),
            interfaces,
            ips,
            routes,
        })
    }

    /// The container's interface, the host's end before it, and the addresses.
    fn own_part(
        &self,
        previous: &NetworkResult,
    ) -> Result<(Vec<WorkloadInterface>, Vec<WorkloadIp>), Error> {
        let ours = |link: &Interface| link.name == self.target.ifname && link.sandbox.is_some();
        let Some(index) = previous.interfaces.iter().position(ours) else {
            let msg = format!("prevResult has no interface {} of a container", self.target.ifname);
            return Err(Error::new(Code::Differs, msg));
        };
        let host = index.checked_sub(1).and_then(|index| previous.interfaces.get(index));
        let host = host.filter(|link| link.sandbox.is_none());
        let links = host.into_iter().chain(previous.interfaces.get(index));
        let on_it = |ip: &&Ip| {
            ip.interface.is_some_and(|interface| usize::try_from(interface) == Ok(index))
        };
        let ips = previous.ips.iter().filter(on_it).map(wire_ip).collect();
        Ok((links.map(wire_interface).collect(), ips))
    }

    fn netns(&self) -> String {
        let netns = self.target.netns.as_deref().unwrap_or(Path::new(""));
        netns.to_string_lossy().into_owned()
    }

    fn pod(&self) -> Option<PodIdentity> {
        let (namespace, name) = self.config.pod.name.clone()?;
        Some(PodIdentity { namespace, name, uid: self.config.pod.uid.clone().unwrap_or_default() })
    }
}

/// GC.
pub fn collect(config: &Config) -> CollectWorkloadsRequest {
    let network = &config.network;
    let attachment = |(container_id, ifname): &(String, String)| Attachment {
        network: network.clone(),
        container_id: container_id.clone(),
        ifname: ifname.clone(),
    };
    CollectWorkloadsRequest {
        network: network.clone(),
        valid: config.valid.iter().map(attachment).collect(),
    }
}

/// The attachments of the network.
pub fn list(config: &Config) -> ListWorkloadsRequest {
    ListWorkloadsRequest { network: config.network.clone(), namespace: String::new() }
}

/// The addresses of an attachment, as if an IPAM plugin had given them.
///
/// # Errors
/// The daemon is not ours: what should be an address is none.
pub fn addresses(workload: &Workload) -> Result<NetworkResult, Error> {
    let ip = |text: &String| {
        let address: IpAddr = parse(text)?;
        Ok(Ip { interface: None, address: IpNet::from(address), gateway: None })
    };
    let ips = workload.addresses.iter().map(ip).collect::<Result<_, Error>>()?;
    Ok(NetworkResult { ips, ..NetworkResult::default() })
}

/// STATUS.
pub fn status(config: &Config) -> WorkloadStatusRequest {
    let assign = match &config.ipam {
        Ipam::Ours(assign) => Some(wire_assign(assign)),
        Ipam::Foreign(_) => None,
    };
    WorkloadStatusRequest { network: config.network.clone(), assign }
}

/// The result that the daemon's answer means.
///
/// # Errors
/// The daemon is not ours: what should be an address is none.
pub fn result(answer: &AddWorkloadResponse) -> Result<NetworkResult, Error> {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let interface = |link: &WorkloadInterface| Interface {
        name: link.name.clone(),
        mac: text(&link.mac),
        mtu: Some(link.mtu).filter(|mtu| *mtu > 0),
        sandbox: text(&link.sandbox),
        ..Interface::default()
    };
    let ip = |ip: &WorkloadIp| {
        let (address, gateway) = (parse(&ip.address)?, gateway(&ip.gateway)?);
        Ok(Ip { interface: ip.interface, address, gateway })
    };
    let route = |route: &WorkloadRoute| {
        Ok(Route::new(parse(&route.destination)?, gateway(&route.gateway)?))
    };
    Ok(NetworkResult {
        interfaces: answer.interfaces.iter().map(interface).collect(),
        ips: answer.ips.iter().map(ip).collect::<Result<_, Error>>()?,
        routes: answer.routes.iter().map(route).collect::<Result<_, Error>>()?,
        dns: Dns::default(),
    })
}

fn gateway(text: &str) -> Result<Option<IpAddr>, Error> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| {
        Error::new(Code::Daemon, format!("the daemon answered {text:?} where an address belongs"))
    })
}

/// Routes that a configuration with a foreign IPAM plugin asks for; none: the default routes.
fn own_routes(foreign: &Foreign, given: &[Ip]) -> Vec<WorkloadRoute> {
    if foreign.routes.is_empty() {
        return Vec::new();
    }
    let mut wanted: Vec<String> = foreign.routes.iter().map(IpNet::to_string).collect();
    if foreign.default_routes {
        let defaults = given.iter().map(|ip| match ip.address {
            IpNet::V4(_) => "0.0.0.0/0".to_owned(),
            IpNet::V6(_) => "::/0".to_owned(),
        });
        for default in defaults {
            if !wanted.contains(&default) {
                wanted.push(default);
            }
        }
    }
    let route = |destination| WorkloadRoute { destination, gateway: String::new() };
    wanted.into_iter().map(route).collect()
}

fn wire_assign(assign: &Assign) -> AssignByUs {
    AssignByUs {
        ipv4: assign.ipv4,
        ipv6: assign.ipv6,
        addresses: Vec::new(),
        ipv4_pools: assign.ipv4_pools.clone(),
        ipv6_pools: assign.ipv6_pools.clone(),
    }
}

fn wire_interface(link: &Interface) -> WorkloadInterface {
    WorkloadInterface {
        name: link.name.clone(),
        mac: link.mac.clone().unwrap_or_default(),
        mtu: link.mtu.unwrap_or_default(),
        sandbox: link.sandbox.clone().unwrap_or_default(),
    }
}

fn wire_ip(ip: &Ip) -> WorkloadIp {
    WorkloadIp {
        address: ip.address.to_string(),
        gateway: ip.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        interface: ip.interface,
    }
}

fn wire_route(route: &Route) -> WorkloadRoute {
    WorkloadRoute {
        destination: route.dst.to_string(),
        gateway: route.gw.map(|gateway| gateway.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
