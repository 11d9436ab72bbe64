//! `bgp.originate` and `bgp.redistribute`.

use std::collections::BTreeSet;

use bgp_core::{
    config::{KernelSource, Origination, Redistribution},
    policy::CommunityValue,
};
use ipnet::IpNet;

use crate::{policy::Policies, reader::Entry};

/// The main table.
pub(crate) const MAIN: u32 = 254;

const SOURCES: [(&str, KernelSource); 3] = [
    ("connected", KernelSource::Connected),
    ("static", KernelSource::Static),
    ("kernel", KernelSource::Kernel),
];

pub(crate) fn source_text(source: KernelSource) -> &'static str {
    SOURCES.iter().find(|(_, known)| *known == source).map_or("", |(text, _)| text)
}

/// A prefix without host bits.
pub(crate) fn prefix(entry: &Entry<'_>) -> Option<IpNet> {
    let prefix: IpNet = entry.standard("a prefix like \"10.1.0.0/16\"")?;
    let masked = prefix.trunc();
    if masked != prefix {
        entry.fault(format_args!("{prefix} has host bits set, the prefix is {masked}"));
        return None;
    }
    Some(prefix)
}

pub(crate) fn originate(entry: &Entry<'_>) -> Vec<Origination> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for item in entry.items("a list of prefixes or tables { prefix, next-hop, … }") {
        let Some((place, origination)) = origination(&item) else { continue };
        if !seen.insert(origination.prefix) {
            place.fault(format_args!("{} is originated twice", origination.prefix));
        }
        out.push(origination);
    }
    out
}

/// With the entry its prefix stands in.
fn origination<'a>(item: &Entry<'a>) -> Option<(Entry<'a>, Origination)> {
    let plain =
        |prefix| Origination { prefix, next_hop: None, communities: Vec::new(), blackhole: false };
    if !item.is_table() {
        return prefix(item).map(|prefix| (item.clone(), plain(prefix)));
    }
    let mut section = item.section()?;
    let network = section.entry("prefix");
    if network.is_none() {
        section.missing("prefix", "a table here names what it originates");
    }
    let next_hop = section.entry("next-hop");
    let communities = section.entry("communities");
    let blackhole = section.entry("blackhole");
    section.finish();
    let place = network?;
    let mut out = plain(prefix(&place)?);
    if let Some(entry) = next_hop
        && let Some(address) = entry.unicast()
    {
        if out.prefix.addr().is_ipv6() && address.is_ipv4() {
            entry.expected("an IPv6 address, as the prefix is IPv6");
        }
        out.next_hop = Some(address);
    }
    if let Some(entry) = communities {
        let allowed = "a list of communities \"A:B\", \"large:A:B:C\", \"ext:rt:A:N\"";
        out.communities = entry.items(allowed).iter().filter_map(community).collect();
    }
    if let Some(blackhole) = blackhole.and_then(|entry| entry.boolean()) {
        out.blackhole = blackhole;
    }
    Some((place, out))
}

fn community(entry: &Entry<'_>) -> Option<CommunityValue> {
    entry.parsed("a community \"A:B\", \"large:A:B:C\", \"ext:rt:A:N\"")
}

pub(crate) fn redistribute(entry: &Entry<'_>, policies: &Policies<'_>) -> Vec<Redistribution> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    let allowed = "a list of \"connected\", \"static\", \"kernel\" or tables { source, … }";
    for item in entry.items(allowed) {
        let Some(redistribution) = redistribution(&item, policies) else { continue };
        if !seen.insert((redistribution.source, redistribution.table)) {
            item.fault(format_args!(
                "{} of table {} is redistributed twice",
                source_text(redistribution.source),
                redistribution.table
            ));
        }
        out.push(redistribution);
    }
    out
}

fn redistribution(item: &Entry<'_>, policies: &Policies<'_>) -> Option<Redistribution> {
    if !item.is_table() {
        let source = item.one_of(&SOURCES)?;
        return Some(Redistribution { source, table: MAIN, policy: None });
    }
    let mut section = item.section()?;
    let source = section.entry("source");
    if source.is_none() {
        section.missing("source", "allowed: \"connected\", \"static\", \"kernel\"");
    }
    let table = section.entry("table").map(|entry| entry.integer(1..=u32::MAX));
    let policy = section.entry("policy").map(|entry| policies.reference(&entry));
    section.finish();
    Some(Redistribution {
        source: source?.one_of(&SOURCES)?,
        table: table.unwrap_or(Some(MAIN))?,
        policy: policy.unwrap_or_default(),
    })
}
