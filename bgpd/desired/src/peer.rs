//! `[[bgp.peer-group]]` and `[[bgp.peer]]`.

use std::{cell::Cell, collections::BTreeMap, net::IpAddr, time::Duration};

use bgp_core::config::{
    LocalAsnMode, NextHopMode, PeerAddress, PeerAsn, PeerConfig, RemovePrivate, Secret,
};

use crate::{
    ReadSecret,
    bgp::{Context, PORT},
    node::word,
    origin::prefix,
    reader::{At, Entry, Section, quoted},
    settings::{self, Password, Settings},
    suggest::nearest,
};

mod check;

const CONNECT_RETRY: Duration = Duration::from_secs(10);
const MIN_HOLD_TIME: Duration = Duration::from_secs(3);

struct Group<'a> {
    settings: Settings<'a>,
    name: Entry<'a>,
    used: Cell<bool>,
}

/// Reads groups and peers out of `[bgp]`.
pub(crate) fn read<'a>(
    bgp: &mut Section<'a>,
    context: &Context<'a, '_>,
    read_secret: ReadSecret<'_>,
) -> Vec<PeerConfig> {
    let groups = groups(bgp, context);
    let mut peers = Vec::new();
    for mut section in
        bgp.entry("peer").map(|entry| entry.tables("tables [[bgp.peer]]")).unwrap_or_default()
    {
        let peer = peer(&mut section, &groups, context, read_secret);
        section.finish();
        peers.extend(peer);
    }
    for group in groups.values().filter(|group| !group.used.get()) {
        group.name.warn_if_sound("no peer is in this group");
    }
    check::together(&peers);
    peers.into_iter().map(|(peer, _)| peer).collect()
}

fn groups<'a>(bgp: &mut Section<'a>, context: &Context<'a, '_>) -> BTreeMap<String, Group<'a>> {
    let mut groups = BTreeMap::new();
    let sections = bgp.entry("peer-group").map(|entry| entry.tables("tables [[bgp.peer-group]]"));
    for mut section in sections.unwrap_or_default() {
        let name = section.entry("name");
        if name.is_none() {
            section.missing("name", "a group needs one");
        }
        let settings = Settings::read(&mut section, context.policies);
        for key in ["address", "interface", "prefix", "group"] {
            if let Some(entry) = section.entry(key) {
                entry.fault("belongs to a peer, a group has any key but this");
            }
        }
        section.finish();
        let Some(entry) = name else { continue };
        let Some(name) = word(&entry, "a name") else { continue };
        let group = Group { settings, name: entry.clone(), used: Cell::new(false) };
        if groups.insert(name.clone(), group).is_some() {
            entry.fault(format_args!("a second group named {}", quoted(&name)));
        }
    }
    groups
}

/// A peer and the entry by which faults about it as a whole are told.
fn peer<'a>(
    section: &mut Section<'a>,
    groups: &BTreeMap<String, Group<'a>>,
    context: &Context<'a, '_>,
    read_secret: ReadSecret<'_>,
) -> Option<(PeerConfig, Entry<'a>)> {
    let mut settings = Settings::read(section, context.policies);
    let name = section.entry("name").map(|entry| (word(&entry, "a name"), entry));
    let group = section.entry("group").and_then(|entry| group(&entry, groups));
    if let Some(group) = group.and_then(|name| groups.get(name)) {
        settings = settings.over(&group.settings);
    }
    let address = address(section, &settings);
    if settings.asn.is_none() && section.entry("asn").is_none() {
        section.missing(
            "asn",
            "allowed: an AS number, a list of them, \"external\", \"internal\" or \"any\"",
        );
    }
    check::alone(section, &settings, address.as_ref().map(|(address, _)| address), context);
    let (password, password_error) = password(settings.password.as_ref(), read_secret);
    let (address, entry) = address?;
    let (name, entry) = match name {
        Some((name, entry)) => (name?, entry),
        None => (default_name(&address), entry),
    };
    fn value<T>(at: Option<At<'_, T>>) -> Option<T> {
        at.map(|at| at.value)
    }
    let local_asn = value(settings.local_asn);
    // Alone it means nothing, so it must not make two peers differ either.
    let local_asn_mode = local_asn.and_then(|_| value(settings.local_asn_mode));
    let peer = PeerConfig {
        name,
        group: group.map(str::to_owned),
        address,
        port: value(settings.port).unwrap_or(PORT),
        asn: value(settings.asn)?,
        local_asn,
        local_asn_mode: local_asn_mode.unwrap_or(LocalAsnMode::Prepend),
        local_address: value(settings.local_address),
        passive: value(settings.passive).unwrap_or(false),
        families: value(settings.families),
        import: value(settings.import),
        export: value(settings.export),
        hold_time: value(settings.hold_time).unwrap_or(context.hold_time),
        connect_retry: value(settings.connect_retry).unwrap_or(CONNECT_RETRY),
        multihop: value(settings.multihop),
        ttl_security: value(settings.ttl_security),
        min_hold_time: value(settings.min_hold_time).unwrap_or(MIN_HOLD_TIME),
        enforce_first_as: value(settings.enforce_first_as).unwrap_or(true),
        reject_as_set: value(settings.reject_as_set).unwrap_or(false),
        password,
        password_error,
        route_reflector_client: value(settings.route_reflector_client).unwrap_or(false),
        route_server_client: value(settings.route_server_client).unwrap_or(false),
        next_hop: value(settings.next_hop).unwrap_or(NextHopMode::Auto),
        max_prefixes: value(settings.max_prefixes),
        add_path: value(settings.add_path).unwrap_or_default(),
        graceful_restart: value(settings.graceful_restart).flatten(),
        extended_messages: value(settings.extended_messages).unwrap_or(true),
        extended_next_hop: value(settings.extended_next_hop).unwrap_or(false),
        allow_own_asn: value(settings.allow_own_asn).unwrap_or(0),
        remove_private_asn: value(settings.remove_private_asn).unwrap_or(RemovePrivate::No),
        as_override: value(settings.as_override).unwrap_or(false),
        enabled: value(settings.enabled).unwrap_or(true),
        description: value(settings.description).unwrap_or_default(),
    };
    Some((peer, entry))
}

/// The name of a group that exists.
fn group<'g>(entry: &Entry<'_>, groups: &'g BTreeMap<String, Group<'_>>) -> Option<&'g str> {
    let name = entry.string("the name of a group")?;
    if let Some((name, group)) = groups.get_key_value(name) {
        group.used.set(true);
        return Some(name);
    }
    let hint = match nearest(name, groups.keys().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None if groups.is_empty() => "none is".to_owned(),
        None => {
            let names: Vec<String> = groups.keys().map(|name| quoted(name)).collect();
            format!("allowed: {}", names.join(", "))
        }
    };
    entry.fault(format_args!("peer-group {} is not defined, {hint}", quoted(name)));
    None
}

/// One of the three ways to say who the peer is.
fn address<'a>(
    section: &mut Section<'a>,
    settings: &Settings<'a>,
) -> Option<(PeerAddress, Entry<'a>)> {
    let address = section.entry("address");
    let interface = section.entry("interface");
    let network = section.entry("prefix");
    if network.is_none()
        && let Some(max_peers) = section.entry("max-peers")
    {
        max_peers.fault("goes with prefix only");
    }
    match (address, interface, network) {
        (Some(entry), interface, None) => {
            let interface = interface.map(|entry| (interface_name(&entry), entry));
            let found = entry.unicast()?;
            let link_local = matches!(found, IpAddr::V6(v6) if v6.is_unicast_link_local());
            let interface = match interface {
                Some((_, entry)) if !link_local => {
                    entry.fault(format_args!(
                        "{found} is not link-local, allowed: address or interface alone"
                    ));
                    None
                }
                Some((name, _)) => Some(name?),
                None => {
                    if link_local {
                        entry.fault(format_args!("{found} is link-local, interface is missing"));
                    }
                    None
                }
            };
            Some((PeerAddress::Address { address: found, interface }, entry))
        }
        (None, Some(entry), None) => {
            interface_name(&entry).map(|name| (PeerAddress::Interface(name), entry))
        }
        (None, None, Some(entry)) => {
            let prefix = prefix(&entry);
            let Some(max_peers) = &settings.max_peers else {
                if section.entry("max-peers").is_none() {
                    section.missing("max-peers", "dynamic peers need a limit");
                }
                return None;
            };
            let max_peers = max_peers.value;
            Some((PeerAddress::Dynamic { prefix: prefix?, max_peers }, entry))
        }
        (None, None, None) => {
            section.missing("address", "allowed: one of address, interface, prefix");
            None
        }
        (_, _, Some(entry)) => {
            entry.fault("excludes address and interface, allowed: one of the three");
            None
        }
    }
}

fn interface_name(entry: &Entry<'_>) -> Option<String> {
    /// IFNAMSIZ without the closing zero.
    const MOST: usize = 15;
    let allowed = "the name of an interface, 1 to 15 octets";
    let text = entry.string(allowed)?;
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > MOST || text.contains(odd) || matches!(text, "." | "..") {
        entry.expected(allowed);
        return None;
    }
    Some(text.to_owned())
}

/// What a peer is called where nothing is configured.
pub(crate) fn default_name(address: &PeerAddress) -> String {
    match address {
        PeerAddress::Address { address, interface: None } => address.to_string(),
        PeerAddress::Address { address, interface: Some(name) } => format!("{address}%{name}"),
        PeerAddress::Interface(name) => name.clone(),
        PeerAddress::Dynamic { prefix, .. } => prefix.to_string(),
    }
}

/// The key, or why it cannot be read.
fn password(
    setting: Option<&At<'_, Password>>,
    read_secret: ReadSecret<'_>,
) -> (Option<Secret>, Option<String>) {
    let Some(At { value, entry }) = setting else { return (None, None) };
    let path = match value {
        Password::Text(text) => return (Some(Secret(text.clone().into_bytes())), None),
        Password::File(path) => path,
    };
    let read = match read_secret(path) {
        Ok(octets) => settings::key_of(octets).map_err(|why| format!("{} {why}", path.display())),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    };
    let why = match read {
        Ok(secret) => return (Some(secret), None),
        Err(why) => why,
    };
    entry.warn(format_args!("{why}; the session stays down"));
    (None, Some(why))
}

/// Whether sessions with this peer are all internal (`Some(true)`), all external, or it depends.
fn internal(asn: &PeerAsn, context: &Context<'_, '_>) -> Option<bool> {
    let own = context.asn?;
    match asn {
        PeerAsn::Internal => Some(true),
        PeerAsn::External => Some(false),
        PeerAsn::Any => None,
        PeerAsn::OneOf(asns) if asns.iter().all(|asn| *asn == own) => Some(true),
        PeerAsn::OneOf(asns) if asns.contains(&own) => None,
        PeerAsn::OneOf(_) => Some(false),
    }
}
