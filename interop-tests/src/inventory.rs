//! What there is of pods, in every place that keeps something of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::Margay;

use crate::runtime::{self, Answer, Container};

/// What a node has of pods, and what the datastore says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Host ends of links.
    pub links: BTreeSet<String>,
    /// Routes over them, of addresses.
    pub routes: BTreeMap<IpAddr, String>,
    /// The journal: containers with their state, and what is wrong with them.
    pub attachments: BTreeMap<String, String>,
    /// WorkloadEndpoints of this node: container, link, addresses.
    pub endpoints: BTreeSet<(String, String, BTreeSet<IpAddr>)>,
    /// Addresses held for this node, with their handles.
    pub held: BTreeMap<IpAddr, String>,
    /// Files of deletions that the daemon has not worked off.
    pub spooled: usize,
}

/// A pod that a runtime was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// What it was asked for.
    pub container: String,
    /// The host's end of its link.
    pub link: String,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
}

impl Pod {
    /// What an ADD was answered.
    ///
    /// # Errors
    /// When that is no result of ours.
    pub fn of(container: &Container, answer: &Answer) -> Result<Self> {
        let link = answer.json["interfaces"][0]["name"].as_str().context("an interface")?;
        let addresses = answer.addresses();
        let addresses = addresses.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(Self { container: container.id.clone(), link: link.to_owned(), addresses })
    }
}

impl Inventory {
    /// What there must be of these pods, and nothing else.
    pub fn of_pods<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Self {
        let mut all = Self::default();
        for Pod { container, link, addresses } in pods {
            all.links.insert(link.clone());
            all.attachments.insert(container.clone(), "live".to_owned());
            all.endpoints.insert((container.clone(), link.clone(), addresses.clone()));
            for address in addresses {
                all.routes.insert(*address, link.clone());
                all.held.insert(*address, format!("pods.{container}"));
            }
        }
        all
    }

    /// What there is of this node.
    ///
    /// # Errors
    /// When the daemon or `ip` does not answer, or one address is held twice.
    pub fn of_node(margay: &Margay) -> Result<Self> {
        let host = margay.host();
        let mut all = Self::default();
        for link in rows(&host.ip(&["-j", "link", "show"])?)? {
            all.links.extend(workload_link(&link["ifname"]));
        }
        for family in ["-4", "-6"] {
            for route in rows(&host.ip(&["-j", family, "route", "show"])?)? {
                let Some(link) = workload_link(&route["dev"]) else { continue };
                // Other than those of addresses the kernel makes by itself.
                let to = route["dst"].as_str().and_then(|text| text.parse().ok());
                all.routes.extend(to.map(|to| (to, link)));
            }
        }
        for row in list(&margay.json(&["workload", "list"])?) {
            let problem = row["problem"].as_str().map(|text| format!(": {text}"));
            let state = format!("{}{}", text(&row["state"])?, problem.unwrap_or_default());
            all.attachments.insert(text(&row["container_id"])?, state);
        }
        for row in list(&margay.json(&["get", "wep", "-A"])?["items"]) {
            let spec = &row["spec"];
            if spec["node"] != host.name() {
                continue;
            }
            let plain = |network: &Value| {
                let network = network.as_str()?;
                network.split('/').next()?.parse().ok()
            };
            let addresses = list(&spec["ipNetworks"]).iter().filter_map(plain).collect();
            let (container, link) = (text(&spec["containerID"])?, text(&spec["interfaceName"])?);
            all.endpoints.insert((container, link, addresses));
        }
        for (address, holder) in holders(margay)? {
            if holder.node == host.name() {
                all.held.insert(address, holder.handle);
            }
        }
        let spool = fs::read_dir(runtime::spool(host));
        all.spooled = spool.map_or(0, Iterator::count);
        Ok(all)
    }
}

/// Who holds an address.
struct Holder {
    handle: String,
    node: String,
}

/// Every address that is held, as stored.
fn holders(margay: &Margay) -> Result<BTreeMap<IpAddr, Holder>> {
    let mut all = BTreeMap::new();
    for line in margay.text(&["datastore", "export", "-"])?.lines() {
        let row: Value = serde_json::from_str(line)?;
        let block = &row["value"];
        // What has no list of free addresses is no block.
        if !block["free"].is_array() {
            continue;
        }
        let cidr = text(&block["cidr"])?;
        let first = cidr.split('/').next().context("an address")?.parse()?;
        for (ordinal, held) in block["held"].as_object().context("what is held")? {
            let address = nth(first, ordinal.parse()?);
            let holder = Holder { handle: text(&held["handle"])?, node: text(&held["node"])? };
            ensure!(all.insert(address, holder).is_none(), "{address} is held twice");
        }
    }
    Ok(all)
}

fn nth(first: IpAddr, ordinal: u32) -> IpAddr {
    match first {
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first).saturating_add(ordinal)).into(),
        IpAddr::V6(first) => {
            Ipv6Addr::from(u128::from(first).saturating_add(ordinal.into())).into()
        }
    }
}

fn rows(json: &str) -> Result<Vec<Value>> {
    // Nothing to show is nothing at all.
    if json.trim().is_empty() {
        return Ok(Vec::new());
    }
    Ok(list(&serde_json::from_str(json)?).to_vec())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is no text"))?.to_owned())
}

fn workload_link(name: &Value) -> Option<String> {
    let name = name.as_str().filter(|name| name.starts_with("cali"))?;
    Some(name.to_owned())
}

/// Fails unless `margay ipam check` finds nothing.
///
/// # Errors
/// What it finds.
pub fn check_addresses(margay: &Margay) -> Result<()> {
    let output = margay.output(&["-o", "json", "ipam", "check"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let found: Value = serde_json::from_str(&said).with_context(|| complaint.into_owned())?;
    let nothing = found["problems"].as_array().is_some_and(Vec::is_empty);
    ensure!(nothing, "{}: {said}", margay.host().name());
    Ok(())
}
