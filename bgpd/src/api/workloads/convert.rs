//! Requests as the desk takes them, entries as answers.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use margay_fib::attach::{GATEWAY_V4, GATEWAY_V6, HOST_MAC};
use margay_proto::v1::{self, AttachmentMode, add_workload_request::Ipam};
use margay_workload::{
    AttachmentId, Entry, Failure, Mac, Mode, Pod, Qos, Source, Spec, Wish,
    annotation::{self, Allowed, Unsaid},
    endpoint,
    qos::Ignored,
};
use tracing::warn;

/// The longest path of a network namespace.
const LONGEST_PATH: usize = 4096;
/// Most routes, addresses or pools in a request.
const MOST: usize = 256;

/// What an attachment is known by.
///
/// # Errors
/// It is missing, or a name in it cannot be one.
pub(super) fn id(attachment: Option<&v1::Attachment>) -> Result<AttachmentId, Failure> {
    let missing = || Failure::invalid("attachment", "missing");
    let v1::Attachment { network, container_id, ifname } = attachment.ok_or_else(missing)?;
    AttachmentId::new(network, container_id, ifname)
}

/// The same, as a message.
pub(super) fn attachment(id: &AttachmentId) -> v1::Attachment {
    v1::Attachment {
        network: id.network.clone(),
        container_id: id.container.clone(),
        ifname: id.ifname.clone(),
    }
}

/// What an ADD wants, and what it leaves to the pod's namespace.
///
/// # Errors
/// A field that cannot be.
pub(super) fn wanted(
    request: v1::AddWorkloadRequest,
) -> Result<(AttachmentId, Spec, Unsaid), Failure> {
    let id = id(request.attachment.as_ref())?;
    let mode = match request.mode() {
        AttachmentMode::Addresses => Mode::Addresses,
        AttachmentMode::Unspecified | AttachmentMode::Link => Mode::Link,
    };
    let netns = request.netns.clone();
    if mode == Mode::Link && (!netns.starts_with('/') || netns.len() > LONGEST_PATH) {
        return Err(Failure::invalid("netns", format!("{netns:?} is no absolute path")));
    }
    if request.queues > 1 {
        let text = "more than one queue is not supported in this version";
        return Err(Failure::invalid("queues", text));
    }
    let pod = match &request.pod {
        Some(pod) if pod.namespace.is_empty() || pod.name.is_empty() => {
            return Err(Failure::invalid("pod", "namespace and name must not be empty"));
        }
        Some(v1::PodIdentity { namespace, name, uid }) => {
            Some(Pod { namespace: namespace.clone(), name: name.clone(), uid: uid.clone() })
        }
        None => None,
    };
    let routes = request.routes.iter().map(|route| {
        let text = &route.destination;
        let parsed = text.parse::<IpNet>().map(|net| net.trunc());
        parsed.map_err(|_| Failure::invalid("routes", format!("{text:?} is no CIDR")))
    });
    let routes: Vec<IpNet> = routes.take(MOST).collect::<Result<_, _>>()?;
    let annotations: BTreeMap<_, _> = request.annotations.into_iter().collect();
    let (qos, ignored) = Qos::of(&annotations);
    for Ignored { annotation, why } in ignored {
        warn!(attachment = %id, annotation, why, "a limit of a pod's traffic is not heeded");
    }
    let mut spec = Spec {
        mode,
        netns,
        pod,
        source: source(mode, request.ipam.as_ref())?,
        labels: request.labels.into_iter().collect(),
        routes: (!routes.is_empty()).then_some(routes),
        mtu: request.mtu,
        mac: None,
        forwarding: (mode == Mode::Link).then_some(request.allow_ip_forwarding),
        floating: Vec::new(),
        spoofed: Vec::new(),
        qos,
        policy_wait: request.policy_wait_seconds,
    };
    let allowed = Allowed {
        without_ipam: request.allow_addresses_without_ipam,
        floating: request.allow_floating_ips,
    };
    annotation::apply(&mut spec, &annotations, allowed)?;
    for (annotation, why) in annotation::without_effect(&annotations) {
        warn!(attachment = %id, annotation, why, "an annotation of a pod has no effect");
    }
    let unsaid = Unsaid::of(&annotations);
    // What the configuration leaves out a namespace may ask for.
    if !unsaid.matters(&spec) {
        spec.check_wish()?;
    }
    Ok((id, spec, unsaid))
}

fn source(mode: Mode, ipam: Option<&Ipam>) -> Result<Source, Failure> {
    Ok(match ipam {
        None => Source::Assign(Wish { v4: true, ..Wish::default() }),
        Some(Ipam::None(_)) => Source::Given(Vec::new()),
        Some(Ipam::Given(given)) => {
            let ips = given.ips.iter().take(MOST).map(|ip| address("given", &ip.address));
            Source::Given(ips.collect::<Result<_, _>>()?)
        }
        Some(Ipam::Leased(_)) if mode == Mode::Addresses => {
            return Err(Failure::invalid("leased", "there is no link with addresses only"));
        }
        Some(Ipam::Leased(leased)) => {
            let ips = leased.ips.iter().take(MOST).map(|ip| address("leased", &ip.address));
            Source::Leased(ips.collect::<Result<_, _>>()?)
        }
        Some(Ipam::Assign(assign)) => {
            let exactly: Vec<IpAddr> = assign
                .addresses
                .iter()
                .take(MOST)
                .map(|text| address("addresses", text))
                .collect::<Result<_, _>>()?;
            let four = exactly.iter().filter(|address| address.is_ipv4()).count();
            if four > 1 || exactly.len() - four > 1 {
                return Err(Failure::invalid("addresses", "more than one of a family"));
            }
            if assign.ipv4_pools.len() + assign.ipv6_pools.len() > MOST {
                return Err(Failure::invalid("assign", format!("more than {MOST} pools")));
            }
            Source::Assign(Wish {
                v4: assign.ipv4,
                v6: assign.ipv6,
                exactly,
                v4_pools: assign.ipv4_pools.clone(),
                v6_pools: assign.ipv6_pools.clone(),
            })
        }
    })
}

/// An address, with a length or without.
fn address(field: &'static str, text: &str) -> Result<IpAddr, Failure> {
    let net = text.parse::<IpNet>().map(|net| net.addr());
    net.or_else(|_| text.parse())
        .map_err(|_| Failure::invalid(field, format!("{text:?} is no address")))
}

/// What an ADD came to.
pub(super) fn answer(entry: &Entry, node: &str) -> v1::AddWorkloadResponse {
    let linked = entry.spec.mode == Mode::Link;
    let mtu = entry.spec.mtu;
    let host = v1::WorkloadInterface {
        name: entry.host_interface.clone(),
        mac: Mac(HOST_MAC).to_string(),
        mtu,
        sandbox: String::new(),
    };
    let container = v1::WorkloadInterface {
        name: entry.id.ifname.clone(),
        mac: entry.mac().to_string(),
        mtu,
        sandbox: entry.spec.netns.clone(),
    };
    let ip = |address: &IpAddr| v1::WorkloadIp {
        address: IpNet::from(*address).to_string(),
        gateway: String::new(),
        interface: linked.then_some(1),
    };
    let route = |net: &IpNet| v1::WorkloadRoute {
        destination: net.to_string(),
        gateway: gateway(net).to_string(),
    };
    let endpoint = match linked && !entry.is_bare() {
        true => endpoint::of(entry, node).ok(),
        false => None,
    };
    let names = endpoint.map(|of| (of.namespace().to_owned(), of.name().to_owned()));
    let (endpoint_namespace, endpoint_name) = names.unwrap_or_default();
    v1::AddWorkloadResponse {
        interfaces: if linked { vec![host, container] } else { Vec::new() },
        ips: entry.addresses.iter().map(ip).collect(),
        routes: if linked { entry.routes().iter().map(route).collect() } else { Vec::new() },
        endpoint_namespace,
        endpoint_name,
    }
}

fn gateway(net: &IpNet) -> IpAddr {
    match net {
        IpNet::V4(_) => GATEWAY_V4.into(),
        IpNet::V6(_) => GATEWAY_V6.into(),
    }
}

/// Compares a former result with what is attached.
///
/// # Errors
/// The first difference, in words.
pub(super) fn compare(request: &v1::CheckWorkloadRequest, entry: &Entry) -> Result<(), String> {
    for ip in &request.ips {
        let known = address("ips", &ip.address).map_err(|error| error.text)?;
        if !entry.addresses.contains(&known) {
            return Err(format!("{known} is not an address of {}", entry.id));
        }
    }
    for interface in &request.interfaces {
        let (name, mac) = match interface.sandbox.is_empty() {
            true => (&entry.host_interface, Mac(HOST_MAC)),
            false => (&entry.id.ifname, entry.mac()),
        };
        if interface.name != *name {
            return Err(format!("the interface is {name}, not {}", interface.name));
        }
        if !interface.mac.is_empty() && !interface.mac.eq_ignore_ascii_case(&mac.to_string()) {
            return Err(format!("the MAC of {name} is {mac}, not {}", interface.mac));
        }
    }
    let routes = entry.routes();
    for route in &request.routes {
        let known = route.destination.parse::<IpNet>().is_ok_and(|net| routes.contains(&net));
        if !known {
            return Err(format!("there is no route to {}", route.destination));
        }
    }
    Ok(())
}
