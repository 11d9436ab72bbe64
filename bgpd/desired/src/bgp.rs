//! `[bgp]` but for its peers.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bgp_core::config::{Confederation, DecisionConfig};
use bgp_packet::Asn;

use crate::{
    ReadSecret,
    desired::Bgp,
    origin, peer,
    policy::Policies,
    reader::{Entry, Section},
    settings,
};

/// Of peers that say nothing else.
pub(crate) const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(90);

/// BGP's TCP port.
pub(crate) const PORT: u16 = 179;

/// What peers need to know of `[bgp]`; `None` where it is faulty.
pub(crate) struct Context<'a, 'p> {
    pub(crate) asn: Option<Asn>,
    pub(crate) confederation: Option<Confederation>,
    pub(crate) hold_time: Duration,
    pub(crate) require_policy: bool,
    pub(crate) policies: &'p Policies<'a>,
}

/// The outer `None`: a fault was reported. The inner: there is no `[bgp]`.
#[expect(clippy::option_option, reason = "absent and faulty differ")]
pub(crate) fn read<'a>(
    root: &mut Section<'a>,
    policies: &Policies<'a>,
    read_secret: ReadSecret<'_>,
) -> Option<Option<Bgp>> {
    let Some(entry) = root.entry("bgp") else { return Some(None) };
    let mut section = entry.section()?;
    let asn = match section.entry("asn") {
        Some(entry) => asn(&entry),
        None => {
            section.missing("asn", "[bgp] needs our AS number");
            None
        }
    };
    let router_id = section.entry("router-id").and_then(|entry| identifier(&entry));
    let cluster_id = section.entry("cluster-id").and_then(|entry| identifier(&entry));
    let listen = section.entry("listen").map(|entry| listen(&entry));
    let confederation = section.entry("confederation").and_then(|entry| confederation(&entry, asn));
    let hold_time = section.entry("hold-time").and_then(|entry| settings::hold_time(&entry));
    let hold_time = hold_time.unwrap_or(DEFAULT_HOLD_TIME);
    let (multipath_ebgp, multipath_ibgp, multipath_relax) =
        section.entry("multipath").and_then(|entry| multipath(&entry)).unwrap_or((1, 1, false));
    let require_policy = section.entry("require-policy").and_then(|entry| entry.boolean());
    let require_policy = require_policy.unwrap_or(true);
    let decision = section.entry("decision").and_then(|entry| decision(&entry));
    let originate = section.entry("originate").map(|entry| origin::originate(&entry));
    let redistribute =
        section.entry("redistribute").map(|entry| origin::redistribute(&entry, policies));
    let context =
        Context { asn, confederation: confederation.clone(), hold_time, require_policy, policies };
    let peers = peer::read(&mut section, &context, read_secret);
    section.finish();
    Some(Some(Bgp {
        asn: asn?,
        router_id,
        cluster_id,
        listen,
        confederation,
        hold_time,
        multipath_ebgp,
        multipath_ibgp,
        multipath_relax,
        require_policy,
        decision: decision.unwrap_or(Bgp::DECISION),
        originate: originate.unwrap_or_default(),
        redistribute: redistribute.unwrap_or_default(),
        peers,
    }))
}

/// An AS number that a speaker can have.
pub(crate) fn asn(entry: &Entry<'_>) -> Option<Asn> {
    let allowed = "an AS number from 1 to 4294967294, or dotted like \"1.10\"";
    let number = match entry.integer_value() {
        Some(number) => u32::try_from(number).ok().map(Asn),
        None => entry.as_str().and_then(|text| text.parse().ok()),
    };
    let Some(asn) = number else {
        entry.expected(allowed);
        return None;
    };
    let why = match asn {
        Asn(0) => "AS 0 is reserved (RFC 7607)",
        Asn::TRANS => "AS 23456 stands for 4-octet numbers (RFC 6793)",
        Asn(65535 | u32::MAX) => "the last AS numbers are reserved (RFC 7300)",
        _ => return Some(asn),
    };
    entry.fault(format_args!("{why}, allowed: {allowed}"));
    None
}

fn identifier(entry: &Entry<'_>) -> Option<Ipv4Addr> {
    let allowed = "an IPv4 address other than 0.0.0.0";
    let found: Ipv4Addr = entry.standard(allowed)?;
    if found.is_unspecified() {
        entry.expected(allowed);
        return None;
    }
    Some(found)
}

/// Where connections are accepted unless configured.
pub(crate) fn default_listen() -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, PORT).into(), (Ipv6Addr::UNSPECIFIED, PORT).into()]
}

fn listen(entry: &Entry<'_>) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for item in entry.items("a list of addresses with port, [] to accept no connections") {
        let allowed = "an address with port like \"0.0.0.0:179\" or \"[::]:179\"";
        let Some(address) = item.standard::<SocketAddr>(allowed) else { continue };
        if address.port() == 0 {
            item.expected("a port from 1 to 65535");
        } else if address.ip().is_multicast() {
            item.expected("an address of this host");
        } else if !seen.insert(address) {
            item.fault(format_args!("{address} is listed twice"));
        }
        out.push(address);
    }
    out
}

fn confederation(entry: &Entry<'_>, own: Option<Asn>) -> Option<Confederation> {
    let mut section = entry.section()?;
    let id_entry = section.entry("id");
    let member_entry = section.entry("members");
    if id_entry.is_none() {
        section.missing("id", "the AS number that the world outside sees");
    }
    if member_entry.is_none() {
        section.missing("members", "a list of the member AS numbers");
    }
    section.finish();
    let (id_entry, member_entry) = (id_entry?, member_entry?);
    let id = asn(&id_entry)?;
    if own == Some(id) {
        id_entry.fault(format_args!(
            "{id} is bgp.asn, allowed: another one (bgp.asn is our AS inside the confederation)"
        ));
    }
    let mut members = Vec::new();
    let items = member_entry.items("a list of AS numbers");
    if items.is_empty() {
        member_entry.expected("at least one AS number");
    }
    for item in items {
        let Some(member) = asn(&item) else { continue };
        if member == id {
            item.fault(format_args!("{id} is the confederation's own id"));
        } else if members.contains(&member) {
            item.fault(format_args!("{member} is listed twice"));
        }
        members.push(member);
    }
    Some(Confederation { id, members })
}

fn multipath(entry: &Entry<'_>) -> Option<(u16, u16, bool)> {
    /// Of a next-hop group in the kernel, with room for weights.
    const MOST: u16 = 256;
    let mut section = entry.section()?;
    let ebgp = section.entry("ebgp").and_then(|entry| entry.integer(1..=MOST));
    let ibgp = section.entry("ibgp").and_then(|entry| entry.integer(1..=MOST));
    let relax = section.entry("relax-as-path").and_then(|entry| entry.boolean());
    section.finish();
    Some((ebgp.unwrap_or(1), ibgp.unwrap_or(1), relax.unwrap_or(false)))
}

fn decision(entry: &Entry<'_>) -> Option<DecisionConfig> {
    let mut section = entry.section()?;
    let mut out = Bgp::DECISION;
    for (key, field) in [
        ("always-compare-med", &mut out.always_compare_med),
        ("missing-med-worst", &mut out.missing_med_worst),
        ("deterministic-med", &mut out.deterministic_med),
        ("prefer-older", &mut out.prefer_older),
    ] {
        if let Some(value) = section.entry(key).and_then(|entry| entry.boolean()) {
            *field = value;
        }
    }
    section.finish();
    Some(out)
}
