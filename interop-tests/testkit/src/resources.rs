//! Texts of the resources that tests apply: one YAML document each, to be put together by [`all`].

/// An `IPPool` with everything left to its defaults.
pub fn pool(name: &str, cidr: &str) -> String {
    let cidr = if cidr.contains(':') { format!("\"{cidr}\"") } else { cidr.to_owned() };
    document("IPPool", name, &format!("{{cidr: {cidr}}}"))
}

/// The `BGPConfiguration` of all nodes, with the AS they are in.
pub fn asn(asn: u32) -> String {
    document("BGPConfiguration", "default", &format!("{{asNumber: {asn}}}"))
}

/// A `Node` with its addresses, each with the length of its network (`10.0.0.1/24`).
pub fn node(name: &str, v4: &str, v6: Option<&str>) -> String {
    let v6 = v6.map(|v6| format!(", ipv6Address: \"{v6}\"")).unwrap_or_default();
    document("Node", name, &format!("{{bgp: {{ipv4Address: {v4}{v6}}}}}"))
}

/// A `BGPPeer`; its `spec` in braces.
pub fn peer(name: &str, spec: &str) -> String {
    document("BGPPeer", name, spec)
}

/// A document of a kind without a namespace; its `spec` in braces.
pub fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:\n  name: {name}\nspec: {spec}\n"
    )
}

/// Documents one after the other.
pub fn all(documents: &[impl AsRef<str>]) -> String {
    let documents: Vec<&str> = documents.iter().map(AsRef::as_ref).collect();
    documents.join("---\n")
}
