use std::io;

use bgp_core::config::{NextHopMode, PeerAsn, PeerConfig};
use bgp_packet::{Asn, Family};
use margay_model::{Item, Mode, Resource, decode};
use proptest::prelude::*;

use super::*;
use crate::parse;

mod mesh;
mod options;
mod peerings;
mod whole;
mod workloads;

/// A cluster, one of its nodes, and its configuration file.
struct Rig {
    resources: Resources,
    file: Desired,
    blocks: BTreeSet<IpNet>,
    borrowed: BTreeSet<IpAddr>,
    secrets: BTreeMap<String, Vec<u8>>,
}

impl Rig {
    fn new() -> Self {
        Self {
            resources: Resources::default(),
            file: Desired::default(),
            blocks: BTreeSet::new(),
            borrowed: BTreeSet::new(),
            secrets: BTreeMap::new(),
        }
    }

    fn file(mut self, text: &str) -> Self {
        let read = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
        self.file = parse(text, "t.toml", &read).unwrap_or_else(|f| panic!("{f:?}")).desired;
        self
    }

    fn add(mut self, kind: &str, name: &str, spec: &str) -> Self {
        self.resources.set(resource(kind, name, "", spec));
        self
    }

    fn labelled(mut self, name: &str, labels: &str, bgp: &str) -> Self {
        self.resources.set(resource("Node", name, labels, &format!("{{bgp: {bgp}}}")));
        self
    }

    /// A node with an IPv4 address.
    fn node(self, name: &str, address: &str) -> Self {
        self.labelled(name, "", &format!("{{ipv4Address: {address}/24}}"))
    }

    /// Nodes a, b and c.
    fn three() -> Self {
        Self::new().node("a", "10.0.0.1").node("b", "10.0.0.2").node("c", "10.0.0.3")
    }

    fn config(self, spec: &str) -> Self {
        self.add("BGPConfiguration", "default", spec)
    }

    fn peer(self, name: &str, spec: &str) -> Self {
        self.add("BGPPeer", name, spec)
    }

    fn block(mut self, block: &str) -> Self {
        self.blocks.insert(block.parse().expect("a CIDR"));
        self
    }

    fn merged(&self, node: &str) -> Merged {
        let read = |key: &SecretRef| {
            let octets = self.secrets.get(&format!("{}/{}", key.name, key.key));
            octets.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let host = Host {
            node,
            blocks: &self.blocks,
            borrowed: &self.borrowed,
            address: Some(Ipv4Addr::new(192, 0, 2, 9)),
            read_secret: &read,
            policies: &BTreeMap::new(),
        };
        merge(&self.file, &self.resources, &host)
    }

    fn bgp(&self, node: &str) -> Bgp {
        self.merged(node).desired.bgp.expect("BGP is spoken")
    }

    fn one(&self, node: &str, peer: &str) -> PeerConfig {
        let peers = self.bgp(node).peers;
        let names: Vec<String> = peers.iter().map(|peer| peer.name.clone()).collect();
        let found = peers.into_iter().find(|found| found.name == peer);
        found.unwrap_or_else(|| panic!("no {peer} in {names:?}"))
    }

    /// The sessions in short: `NAME AS`, then `passive`, `client`, and `:PORT` where it is not 179.
    fn sessions(&self, node: &str) -> Vec<String> {
        let Some(bgp) = self.merged(node).desired.bgp else { return Vec::new() };
        bgp.peers.iter().map(short).collect()
    }

    fn remarks(&self, node: &str) -> Vec<String> {
        self.merged(node).remarks.iter().map(Remark::to_string).collect()
    }
}

fn resource(kind: &str, name: &str, labels: &str, spec: &str) -> Resource {
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:\n  name: {name}\n  labels: \
         {{{labels}}}\nspec: {spec}\n"
    );
    let mut manifest = decode(text.as_bytes(), Mode::Strict).unwrap_or_else(|f| panic!("{f}"));
    match manifest.documents.pop().map(|document| document.item) {
        Some(Item::Resource(mut resource)) => {
            resource.apply_defaults();
            resource
        }
        other => panic!("{other:?}"),
    }
}

fn short(peer: &PeerConfig) -> String {
    let asn = match &peer.asn {
        PeerAsn::OneOf(list) => list.iter().map(ToString::to_string).collect::<String>(),
        other => format!("{other:?}"),
    };
    let mut out = format!("{} {asn}", peer.name);
    for (is_so, text) in [(peer.passive, " passive"), (peer.route_reflector_client, " client")] {
        out.push_str(if is_so { text } else { "" });
    }
    if peer.port != 179 {
        out.push_str(&format!(" :{}", peer.port));
    }
    out
}

#[test]
fn a_router_id_of_a_name_is_what_the_users_of_calico_know() {
    // The last one's digest begins with 245.
    for (name, id) in [
        ("kube-master", [25, 79, 212, 8]),
        ("node-1", [53, 151, 27, 230]),
        ("node-18", [213, 194, 139, 227]),
    ] {
        assert_eq!(hashed(name), Ipv4Addr::from(id), "{name}");
    }
}
