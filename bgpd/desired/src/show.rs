//! A [`Desired`] as text again: every key with the value in effect, secrets hidden.

use std::{collections::BTreeMap, fmt::Display, time::Duration};

use bgp_core::{
    config::{
        MaxPrefixAction, Origination, PeerAddress, PeerAsn, PeerConfig, Redistribution,
        RemovePrivate,
    },
    policy::{
        RoutePolicy, RuleAction, Sets,
        definition::{
            CommunityItem, Default as DefaultAction, MatchDefinition, NextHopSetting, Prepend,
            Range, RuleDefinition, SetDefinition,
        },
    },
};

use crate::{
    autodetect::AddressFamily,
    datastore::{AuditLog, Backend},
    desired::{Api, Bgp, Desired, Fib, NexthopObjects, Reach},
    origin::source_text,
    policy::{ACTIONS, ORIGINS, SOURCES},
    reader::is_bare,
    registration::{NodeAddress, PoolWish, Registration},
    settings::{HIDDEN, LOCAL_ASN_MODES, NEXT_HOP_MODES},
    sync::{Sync, Tls},
};

/// Keys and values of a table, in the order in which they are shown.
pub(crate) type Keys = Vec<(&'static str, String)>;

/// The configuration in effect: defaults filled in, groups applied. Read again it means the same,
/// but for secrets, which are shown as `"(secret)"`.
pub fn show(desired: &Desired) -> String {
    let mut out = String::new();
    table(&mut out, "[node]", &node(desired));
    table(&mut out, "[api]", &api(desired));
    table(&mut out, "[http]", &http(desired));
    table(&mut out, "[datastore]", &datastore(desired));
    let sync = sync(desired);
    if !sync.is_empty() {
        table(&mut out, "[sync]", &sync);
    }
    if let Some(bgp) = &desired.bgp {
        table(&mut out, "[bgp]", &self::bgp(bgp));
        let mut groups: Vec<&str> = bgp.peers.iter().filter_map(|p| p.group.as_deref()).collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            table(&mut out, "[[bgp.peer-group]]", &vec![("name", string(group))]);
        }
        for peer in &bgp.peers {
            table(&mut out, "[[bgp.peer]]", &self::peer(peer));
        }
    }
    sets(&mut out, &desired.sets);
    for (name, policy) in &desired.policies {
        let header = format!("[policy.route.{}]", key(name));
        table(&mut out, &header, &self::policy(policy));
    }
    table(&mut out, "[fib]", &fib(&desired.fib));
    // There is no key for these.
    for text in reach(&desired.reach).into_values() {
        out.push_str(&format!("# {text}\n"));
    }
    out
}

/// What peers need of the kernel, for people: subject and text.
pub(crate) fn reach(reach: &Reach) -> BTreeMap<String, String> {
    let gateways = reach.gateways.iter().map(|(peer, gateway)| {
        (format!("route to {peer}"), format!("peer {peer} is reached by {gateway}"))
    });
    let called = reach.addresses.iter().map(|address| {
        (format!("address {address}"), format!("workloads call this node at {address}"))
    });
    gateways.chain(called).collect()
}

fn table(out: &mut String, header: &str, keys: &Keys) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(header);
    out.push('\n');
    for (key, value) in keys {
        out.push_str(&format!("{key} = {value}\n"));
    }
}

pub(crate) fn node(desired: &Desired) -> Keys {
    let mut keys = Keys::new();
    keys.extend(desired.node.name.as_deref().map(|name| ("name", string(name))));
    keys.push(("state-dir", string(desired.node.state_dir.display())));
    let secrets_dir = desired.node.secrets_dir.as_ref();
    keys.extend(secrets_dir.map(|path| ("secrets-dir", string(path.display()))));
    keys.extend(desired.node.log_level.map(|level| ("log-level", string(level.as_str()))));
    registration(&mut keys, &desired.node.registration);
    keys
}

/// Of a node that does not register only what is set.
fn registration(keys: &mut Keys, registration: &Registration) {
    let usual = Registration::default();
    let Registration { enabled, .. } = *registration;
    keys.push(("register", enabled.to_string()));
    let detected = [
        ("ipv4", "ipv4-autodetection", AddressFamily::V4),
        ("ipv6", "ipv6-autodetection", AddressFamily::V6),
    ];
    for (address, method, family) in detected {
        let (wish, usual) = (registration.family(family), usual.family(family));
        if (enabled || wish.address != usual.address)
            && let Some(text) = wish.address.text()
        {
            keys.push((address, string(text)));
        }
        if wish.method != usual.method || (enabled && wish.address == NodeAddress::Autodetect) {
            keys.push((method, string(&wish.method)));
        }
    }
    keys.extend(registration.asn.map(|asn| ("asn", asn.to_string())));
    if !registration.labels.is_empty() {
        let labels = registration.labels.iter();
        let labels: Vec<_> = labels.map(|(k, v)| format!("{} = {}", key(k), string(v))).collect();
        keys.push(("labels", format!("{{ {} }}", labels.join(", "))));
    }
    keys.extend(registration.cluster_id.map(|id| ("route-reflector-cluster-id", string(id))));
    let pools = [
        ("default-ipv4-pool", "default-ipv4-block-size", AddressFamily::V4),
        ("default-ipv6-pool", "default-ipv6-block-size", AddressFamily::V6),
    ];
    for (pool, size, family) in pools {
        let wish = registration.family(family);
        if enabled || wish.pool != PoolWish::None {
            keys.push((pool, string(wish.pool)));
        }
        keys.extend(wish.block_size.map(|bits| (size, bits.to_string())));
    }
}

pub(crate) fn api(desired: &Desired) -> Keys {
    let Api { socket, listen, tls } = &desired.api;
    let mut keys = vec![("socket", string(socket.display()))];
    keys.extend(listen.map(|listen| ("listen", string(listen))));
    keys.extend(tls.as_ref().map(|tls| ("tls", certificates(tls))));
    keys
}

pub(crate) fn sync(desired: &Desired) -> Keys {
    let Sync { upstream, tls } = &desired.sync;
    let mut keys = Keys::new();
    if !upstream.is_empty() {
        keys.push(("upstream", strings(upstream)));
    }
    keys.extend(tls.as_ref().map(|tls| ("tls", certificates(tls))));
    keys
}

fn certificates(tls: &Tls) -> String {
    let files = [("cert", &tls.cert), ("key", &tls.key), ("ca", &tls.ca)];
    inline(&files.map(|(key, pem)| (key, string(pem.file.display()))).into())
}

pub(crate) fn http(desired: &Desired) -> Keys {
    vec![("listen", desired.http.listen.map_or_else(|| string(""), string))]
}

pub(crate) fn datastore(desired: &Desired) -> Keys {
    let datastore = &desired.datastore;
    let mut keys = vec![("type", string(datastore.kind()))];
    match &datastore.audit_log {
        AuditLog::StateDir => {}
        AuditLog::File(path) => keys.push(("audit-log", string(path.display()))),
        AuditLog::Off => keys.push(("audit-log", string(""))),
    }
    let Backend::Etcd(etcd) = &datastore.backend else { return keys };
    keys.push(("endpoints", strings(&etcd.endpoints)));
    keys.extend(etcd.ca_file.as_ref().map(|path| ("ca-file", string(path.display()))));
    if let Some((cert, key)) = &etcd.client {
        keys.push(("cert-file", string(cert.display())));
        keys.push(("key-file", string(key.display())));
    }
    if let Some(user) = &etcd.user {
        keys.push(("username", string(&user.name)));
        keys.push(("password-file", string(user.file.display())));
    }
    keys.push(("prefix", string(&etcd.prefix)));
    keys
}

/// `[bgp]` without originations, redistribution and peers.
pub(crate) fn bgp_settings(bgp: &Bgp) -> Keys {
    let mut keys = vec![("asn", bgp.asn.to_string())];
    keys.extend(bgp.router_id.map(|id| ("router-id", string(id))));
    keys.push(("listen", strings(&bgp.listen())));
    keys.extend(bgp.cluster_id.map(|id| ("cluster-id", string(id))));
    keys.extend(bgp.confederation.as_ref().map(|confederation| {
        let members = list(confederation.members.iter().map(ToString::to_string));
        ("confederation", format!("{{ id = {}, members = {members} }}", confederation.id))
    }));
    keys.push(("hold-time", seconds(bgp.hold_time)));
    keys.push((
        "multipath",
        format!(
            "{{ ebgp = {}, ibgp = {}, relax-as-path = {} }}",
            bgp.multipath_ebgp, bgp.multipath_ibgp, bgp.multipath_relax
        ),
    ));
    keys.push(("require-policy", bgp.require_policy.to_string()));
    let decision = bgp.decision;
    keys.push((
        "decision",
        format!(
            "{{ always-compare-med = {}, missing-med-worst = {}, deterministic-med = {}, \
             prefer-older = {} }}",
            decision.always_compare_med,
            decision.missing_med_worst,
            decision.deterministic_med,
            decision.prefer_older
        ),
    ));
    keys
}

fn bgp(bgp: &Bgp) -> Keys {
    let mut keys = bgp_settings(bgp);
    keys.push(("originate", list(bgp.originate.iter().map(origination))));
    keys.push(("redistribute", list(bgp.redistribute.iter().map(redistribution))));
    keys
}

pub(crate) fn origination(origination: &Origination) -> String {
    let mut keys = vec![("prefix", string(origination.prefix))];
    keys.extend(origination.next_hop.map(|address| ("next-hop", string(address))));
    if !origination.communities.is_empty() {
        keys.push(("communities", list(origination.communities.iter().map(string))));
    }
    if origination.blackhole {
        keys.push(("blackhole", "true".to_owned()));
    }
    match keys.as_slice() {
        [(_, prefix)] => prefix.clone(),
        _ => inline(&keys),
    }
}

pub(crate) fn redistribution(redistribution: &Redistribution) -> String {
    let mut keys = vec![
        ("source", string(source_text(redistribution.source))),
        ("table", redistribution.table.to_string()),
    ];
    keys.extend(redistribution.policy.as_ref().map(|policy| ("policy", string(policy.name()))));
    inline(&keys)
}

pub(crate) fn peer(peer: &PeerConfig) -> Keys {
    let mut keys = vec![("name", string(&peer.name))];
    keys.extend(peer.group.as_ref().map(|group| ("group", string(group))));
    match &peer.address {
        PeerAddress::Address { address, interface } => {
            keys.push(("address", string(address)));
            keys.extend(interface.as_ref().map(|name| ("interface", string(name))));
        }
        PeerAddress::Interface(name) => keys.push(("interface", string(name))),
        PeerAddress::Dynamic { prefix, max_peers } => {
            keys.push(("prefix", string(prefix)));
            keys.push(("max-peers", max_peers.to_string()));
        }
    }
    keys.push(("port", peer.port.to_string()));
    keys.push((
        "asn",
        match &peer.asn {
            PeerAsn::OneOf(asns) => match asns.as_slice() {
                [asn] => asn.to_string(),
                asns => list(asns.iter().map(ToString::to_string)),
            },
            PeerAsn::External => string("external"),
            PeerAsn::Internal => string("internal"),
            PeerAsn::Any => string("any"),
        },
    ));
    if let Some(asn) = peer.local_asn {
        keys.push(("local-asn", asn.to_string()));
        keys.push(("local-asn-mode", word(&LOCAL_ASN_MODES, peer.local_asn_mode)));
    }
    keys.extend(peer.local_address.map(|address| ("local-address", string(address))));
    keys.push(("passive", peer.passive.to_string()));
    keys.extend(peer.families.map(|set| ("families", list(set.iter().map(string)))));
    keys.extend(peer.import.as_ref().map(|policy| ("import", string(policy.name()))));
    keys.extend(peer.export.as_ref().map(|policy| ("export", string(policy.name()))));
    keys.push(("hold-time", seconds(peer.hold_time)));
    keys.push(("connect-retry", seconds(peer.connect_retry)));
    keys.extend(peer.multihop.map(|ttl| ("multihop", ttl.to_string())));
    keys.extend(peer.ttl_security.map(|hops| ("ttl-security", hops.to_string())));
    keys.push(("min-hold-time", seconds(peer.min_hold_time)));
    keys.push(("enforce-first-as", peer.enforce_first_as.to_string()));
    keys.push(("as-set", string(if peer.reject_as_set { "reject" } else { "accept" })));
    if peer.password.is_some() || peer.password_error.is_some() {
        keys.push(("password", string(HIDDEN)));
    }
    keys.push(("route-reflector-client", peer.route_reflector_client.to_string()));
    keys.push(("route-server-client", peer.route_server_client.to_string()));
    keys.push(("next-hop", word(&NEXT_HOP_MODES, peer.next_hop)));
    keys.extend(peer.max_prefixes.map(|max| {
        let mut keys = vec![("limit", max.limit.to_string()), ("warn-at", max.warn_at.to_string())];
        let action = match max.action {
            MaxPrefixAction::Warn => "warn",
            MaxPrefixAction::Shutdown => "shutdown",
            MaxPrefixAction::Restart(_) => "restart",
            MaxPrefixAction::Discard => "discard",
        };
        keys.push(("action", string(action)));
        if let MaxPrefixAction::Restart(after) = max.action {
            keys.push(("restart-after", seconds(after)));
        }
        ("max-prefixes", inline(&keys))
    }));
    let add_path = peer.add_path;
    keys.push((
        "add-path",
        format!("{{ receive = {}, send = {} }}", add_path.receive, add_path.send),
    ));
    keys.push((
        "graceful-restart",
        match peer.graceful_restart {
            None => "{ enabled = false }".to_owned(),
            Some(graceful) => {
                format!("{{ enabled = true, restart-time = {} }}", seconds(graceful.restart_time))
            }
        },
    ));
    keys.push(("extended-messages", peer.extended_messages.to_string()));
    keys.push(("extended-next-hop", peer.extended_next_hop.to_string()));
    keys.push(("allow-own-asn", peer.allow_own_asn.to_string()));
    keys.push((
        "remove-private-asn",
        match peer.remove_private_asn {
            RemovePrivate::No => "false".to_owned(),
            RemovePrivate::WhollyPrivate => "true".to_owned(),
            RemovePrivate::All => string("all"),
            RemovePrivate::Replace => string("replace"),
        },
    ));
    keys.push(("as-override", peer.as_override.to_string()));
    keys.push(("enabled", peer.enabled.to_string()));
    keys.push(("description", string(&peer.description)));
    keys
}

fn sets(out: &mut String, sets: &Sets) {
    let mut set = |kind: &str, name: &str, values_key, values: String| {
        table(out, &format!("[policy.{kind}.{}]", key(name)), &vec![(values_key, values)]);
    };
    for (name, prefixes) in &sets.prefix {
        set("prefix-set", name, "prefixes", strings(prefixes.patterns()));
    }
    for (name, communities) in &sets.community {
        set("community-set", name, "communities", strings(communities.patterns()));
    }
    for (name, patterns) in &sets.as_path {
        set("as-path-set", name, "patterns", strings(patterns.patterns()));
    }
}

fn policy(policy: &RoutePolicy) -> Keys {
    let definition = policy.definition();
    let default = match definition.default {
        DefaultAction::Accept => "accept",
        DefaultAction::Reject => "reject",
    };
    let rules: String =
        definition.rules.iter().map(|rule| format!("  {},\n", self::rule(rule))).collect();
    let rules = if rules.is_empty() { "[]".to_owned() } else { format!("[\n{rules}]") };
    vec![("default", string(default)), ("rules", rules)]
}

fn rule(rule: &RuleDefinition) -> String {
    let mut keys = Keys::new();
    keys.extend(rule.name.as_ref().map(|name| ("name", string(name))));
    keys.push(("match", matches(&rule.matches)));
    let mut then = Keys::new();
    if rule.set != SetDefinition::default() {
        then.push(("set", set(&rule.set)));
    }
    then.push(("action", word::<RuleAction>(&ACTIONS, rule.action)));
    keys.push(("then", inline(&then)));
    inline(&keys)
}

fn matches(matches: &MatchDefinition) -> String {
    fn values<T>(
        keys: &mut Keys,
        key: &'static str,
        values: &Option<Vec<T>>,
        text: impl Fn(&T) -> String,
    ) {
        keys.extend(values.as_ref().map(|values| (key, list(values.iter().map(text)))));
    }
    let mut keys = Keys::new();
    values(&mut keys, "prefix", &matches.prefix, |v| string(v));
    values(&mut keys, "prefix-set", &matches.prefix_set, |v| string(v));
    values(&mut keys, "not-prefix", &matches.not_prefix, |v| string(v));
    values(&mut keys, "not-prefix-set", &matches.not_prefix_set, |v| string(v));
    values(&mut keys, "family", &matches.family, |v| string(v));
    values(&mut keys, "next-hop", &matches.next_hop, |v| string(v));
    values(&mut keys, "interface", &matches.interface, |v| string(v));
    values(&mut keys, "peer", &matches.peer, |v| string(v));
    values(&mut keys, "peer-asn", &matches.peer_asn, ToString::to_string);
    values(&mut keys, "origin", &matches.origin, |origin| word(&ORIGINS, *origin));
    values(&mut keys, "as-path-set", &matches.as_path_set, |v| string(v));
    values(&mut keys, "as-path-prefix", &matches.as_path_prefix, ToString::to_string);
    values(&mut keys, "as-path-length", &matches.as_path_length, range);
    values(&mut keys, "med", &matches.med, range);
    values(&mut keys, "local-pref", &matches.local_pref, range);
    values(&mut keys, "community-set", &matches.community_set, |v| string(v));
    values(&mut keys, "community", &matches.community, |v| string(v));
    values(&mut keys, "source", &matches.source, |source| word(&SOURCES, *source));
    if keys.is_empty() {
        keys.push(("any", "true".to_owned()));
    }
    inline(&keys)
}

fn range(range: &Range) -> String {
    if range.ge == range.le {
        return range.ge.to_string();
    }
    format!("{{ ge = {}, le = {} }}", range.ge, range.le)
}

fn set(set: &SetDefinition) -> String {
    inline(&set_keys(set))
}

/// What a rule sets, `key = value` as in the file.
pub fn rule_settings(rule: &RuleDefinition) -> Vec<String> {
    set_keys(&rule.set).into_iter().map(|(key, value)| format!("{key} = {value}")).collect()
}

fn prepend(prepend: &Prepend) -> String {
    let mut keys = Keys::new();
    keys.extend(prepend.asn.map(|asn| ("asn", asn.to_string())));
    keys.push(("times", prepend.times.to_string()));
    inline(&keys)
}

fn set_keys(set: &SetDefinition) -> Keys {
    let items = |items: &[CommunityItem]| {
        list(items.iter().map(|item| match item {
            CommunityItem::Pattern(pattern) => string(pattern),
            CommunityItem::Set(name) => string(name),
        }))
    };
    let mut keys = Keys::new();
    keys.extend(set.local_pref.map(|value| ("local-pref", value.to_string())));
    keys.extend(set.med.map(|value| ("med", value.to_string())));
    keys.extend(set.origin.map(|origin| ("origin", word(&ORIGINS, origin))));
    keys.extend(set.next_hop.map(|next_hop| match next_hop {
        NextHopSetting::Address(address) => ("next-hop", string(address)),
        NextHopSetting::SelfAddress => ("next-hop", string("self")),
    }));
    match set.prepend.as_slice() {
        [] => {}
        [one] => keys.push(("prepend", prepend(one))),
        several => keys.push(("prepend", list(several.iter().map(prepend)))),
    }
    keys.extend(set.communities.as_ref().map(|list| ("communities", items(list))));
    if !set.remove_communities.is_empty() {
        keys.push(("remove-communities", items(&set.remove_communities)));
    }
    if !set.add_communities.is_empty() {
        keys.push(("add-communities", items(&set.add_communities)));
    }
    keys.extend(set.weight.map(|value| ("weight", value.to_string())));
    keys.extend(set.metric.map(|value| ("metric", value.to_string())));
    keys.extend(set.preferred_source.map(|address| ("preferred-source", string(address))));
    keys
}

pub(crate) fn fib(fib: &Fib) -> Keys {
    let objects = match fib.nexthop_objects {
        NexthopObjects::Auto => "auto",
        NexthopObjects::On => "on",
        NexthopObjects::Off => "off",
    };
    let mut keys = vec![
        ("enabled", fib.enabled.to_string()),
        ("table", fib.table.to_string()),
        ("metric", fib.metric.to_string()),
        ("protocol", fib.protocol.to_string()),
        ("nexthop-objects", string(objects)),
        ("nexthop-compat", string(if fib.nexthop_compat_off { "off" } else { "keep" })),
    ];
    keys.extend(fib.preferred_source.map(|address| ("preferred-source", string(address))));
    keys.extend(fib.export.as_ref().map(|policy| ("export", string(policy.name()))));
    keys
}

fn seconds(time: Duration) -> String {
    time.as_secs().to_string()
}

fn word<T: PartialEq>(words: &[(&str, T)], value: T) -> String {
    string(words.iter().find(|(_, known)| *known == value).map_or("", |(text, _)| text))
}

fn inline(keys: &Keys) -> String {
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    if keys.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", keys.join(", ")) }
}

fn strings<T: Display>(values: &[T]) -> String {
    list(values.iter().map(string))
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

/// A key that the user chose: quoted only where it must be.
fn key(name: &str) -> String {
    if is_bare(name) { name.to_owned() } else { string(name) }
}

/// A TOML basic string.
fn string(value: impl Display) -> String {
    let mut out = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
