//! The keys of a peer that a group can have too, each still with its place in the text.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use bgp_core::{
    config::{
        AddPathConfig, GracefulRestart, LocalAsnMode, MaxPrefixAction, MaxPrefixes, NextHopMode,
        PeerAsn, RemovePrivate, Secret,
    },
    policy::RoutePolicy,
};
use bgp_packet::{Asn, Family, FamilySet};

use crate::{
    bgp::asn,
    node::path,
    policy::Policies,
    reader::{At, Entry, Section},
};

/// Where a TCP-MD5 key is.
#[derive(Clone)]
pub(crate) enum Password {
    Text(String),
    File(PathBuf),
}

/// Octets of a TCP-MD5 key that Linux takes.
pub(crate) const MAX_PASSWORD: usize = 80;

/// How long a peer is asked to wait for us (RFC 4724), where nothing is said.
pub(crate) const RESTART_TIME: Duration = Duration::from_secs(120);
/// The longest time an OPEN can carry, in seconds.
pub(crate) const MAX_RESTART_TIME: u16 = 4095;

/// What is shown instead of a key.
pub(crate) const HIDDEN: &str = "(secret)";

macro_rules! settings {
    ($($field:ident: $type:ty,)*) => {
        /// What a group or a peer says; `None` = nothing.
        #[derive(Clone, Default)]
        pub(crate) struct Settings<'a> {
            $(pub(crate) $field: Option<At<'a, $type>>,)*
        }

        impl Settings<'_> {
            /// These, and where they say nothing, those of the group. A table counts as one value.
            pub(crate) fn over(self, group: &Self) -> Self {
                Self { $($field: self.$field.or_else(|| group.$field.clone()),)* }
            }
        }
    };
}

settings! {
    port: u16,
    asn: PeerAsn,
    local_asn: Asn,
    local_asn_mode: LocalAsnMode,
    local_address: IpAddr,
    passive: bool,
    families: FamilySet,
    import: Arc<RoutePolicy>,
    export: Arc<RoutePolicy>,
    hold_time: Duration,
    connect_retry: Duration,
    multihop: u8,
    ttl_security: u8,
    min_hold_time: Duration,
    enforce_first_as: bool,
    reject_as_set: bool,
    password: Password,
    route_reflector_client: bool,
    route_server_client: bool,
    next_hop: NextHopMode,
    max_prefixes: MaxPrefixes,
    add_path: AddPathConfig,
    graceful_restart: Option<GracefulRestart>,
    extended_messages: bool,
    extended_next_hop: bool,
    allow_own_asn: u8,
    remove_private_asn: RemovePrivate,
    as_override: bool,
    enabled: bool,
    description: String,
    max_peers: u32,
}

pub(crate) const LOCAL_ASN_MODES: [(&str, LocalAsnMode); 3] = [
    ("prepend", LocalAsnMode::Prepend),
    ("no-prepend", LocalAsnMode::NoPrepend),
    ("replace", LocalAsnMode::Replace),
];

pub(crate) const NEXT_HOP_MODES: [(&str, NextHopMode); 3] = [
    ("auto", NextHopMode::Auto),
    ("self", NextHopMode::SelfAddress),
    ("unchanged", NextHopMode::Unchanged),
];

impl<'a> Settings<'a> {
    pub(crate) fn read(section: &mut Section<'a>, policies: &Policies<'a>) -> Self {
        let password = password(section);
        let mut reader = Reader(section);
        let out = Self {
            port: reader.get("port", |e| e.integer(1..=u16::MAX)),
            asn: reader.get("asn", peer_asn),
            local_asn: reader.get("local-asn", asn),
            local_asn_mode: reader.get("local-asn-mode", |e| e.one_of(&LOCAL_ASN_MODES)),
            local_address: reader.get("local-address", Entry::unicast),
            passive: reader.get("passive", Entry::boolean),
            families: reader.get("families", families),
            import: reader.get("import", |e| policies.reference(e)),
            export: reader.get("export", |e| policies.reference(e)),
            hold_time: reader.get("hold-time", hold_time),
            connect_retry: reader.get("connect-retry", |e| seconds(e, 1)),
            multihop: reader.get("multihop", |e| e.integer(1..=u8::MAX)),
            ttl_security: reader.get("ttl-security", |e| e.integer(1..=u8::MAX - 1)),
            min_hold_time: reader.get("min-hold-time", |e| seconds(e, 3)),
            enforce_first_as: reader.get("enforce-first-as", Entry::boolean),
            reject_as_set: reader
                .get("as-set", |e| e.one_of(&[("accept", false), ("reject", true)])),
            password,
            route_reflector_client: reader.get("route-reflector-client", Entry::boolean),
            route_server_client: reader.get("route-server-client", Entry::boolean),
            next_hop: reader.get("next-hop", |e| e.one_of(&NEXT_HOP_MODES)),
            max_prefixes: reader.get("max-prefixes", max_prefixes),
            add_path: reader.get("add-path", add_path),
            graceful_restart: reader.get("graceful-restart", graceful_restart),
            extended_messages: reader.get("extended-messages", Entry::boolean),
            extended_next_hop: reader.get("extended-next-hop", Entry::boolean),
            allow_own_asn: reader.get("allow-own-asn", |e| e.integer(0..=u8::MAX)),
            remove_private_asn: reader.get("remove-private-asn", remove_private_asn),
            as_override: reader.get("as-override", Entry::boolean),
            enabled: reader.get("enabled", Entry::boolean),
            description: reader.get("description", |e| e.string("a text").map(str::to_owned)),
            max_peers: reader.get("max-peers", |e| e.integer(1..=65_535u32)),
        };
        section.unsupported(&["tcp-ao", "long-lived-graceful-restart", "bfd", "role"]);
        out
    }
}

struct Reader<'s, 'a>(&'s mut Section<'a>);

impl<'a> Reader<'_, 'a> {
    fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Entry<'a>) -> Option<T>,
    ) -> Option<At<'a, T>> {
        let entry = self.0.entry(key)?;
        read(&entry).map(|value| At { value, entry })
    }
}

pub(crate) fn hold_time(entry: &Entry<'_>) -> Option<Duration> {
    match entry.integer_value().and_then(|seconds| u16::try_from(seconds).ok()) {
        Some(seconds) if !(1..=2).contains(&seconds) => {
            Some(Duration::from_secs(u64::from(seconds)))
        }
        _ => {
            entry.expected("0 (no keep-alives), or 3 to 65535 seconds");
            None
        }
    }
}

fn seconds(entry: &Entry<'_>, least: u16) -> Option<Duration> {
    entry.integer(least..=u16::MAX).map(|seconds| Duration::from_secs(u64::from(seconds)))
}

fn peer_asn(entry: &Entry<'_>) -> Option<PeerAsn> {
    match entry.as_str() {
        Some("external") => return Some(PeerAsn::External),
        Some("internal") => return Some(PeerAsn::Internal),
        Some("any") => return Some(PeerAsn::Any),
        Some(text) if text.parse::<Asn>().is_err() => {
            entry.expected("an AS number, a list of them, \"external\", \"internal\" or \"any\"");
            return None;
        }
        _ => {}
    }
    let items = entry.one_or_more();
    if items.is_empty() {
        entry.expected("at least one AS number");
        return None;
    }
    let mut asns = Vec::new();
    for item in &items {
        let Some(asn) = asn(item) else { continue };
        if asns.contains(&asn) {
            item.fault(format_args!("{asn} is listed twice"));
        }
        asns.push(asn);
    }
    Some(PeerAsn::OneOf(asns))
}

fn families(entry: &Entry<'_>) -> Option<FamilySet> {
    let items = entry.items("a list of \"ipv4-unicast\", \"ipv6-unicast\"");
    let mut out = FamilySet::EMPTY;
    for item in &items {
        let family = family(item)?;
        if out.contains(family) {
            item.fault(format_args!("{family} is listed twice"));
        }
        out.insert(family);
    }
    if out.is_empty() {
        entry.expected("at least one of \"ipv4-unicast\", \"ipv6-unicast\"");
        return None;
    }
    Some(out)
}

pub(crate) fn family(entry: &Entry<'_>) -> Option<Family> {
    entry.one_of(&[("ipv4-unicast", Family::IPV4_UNICAST), ("ipv6-unicast", Family::IPV6_UNICAST)])
}

fn password<'a>(section: &mut Section<'a>) -> Option<At<'a, Password>> {
    let text = section.entry("password");
    let file = section.entry("password-file");
    if let (Some(_), Some(file)) = (&text, &file) {
        file.fault("excludes password, allowed: one of the two");
        return None;
    }
    if let Some(entry) = text {
        let text = entry.string("a text")?;
        if text == HIDDEN {
            entry.fault("is how config show hides a key, allowed: the key itself");
            return None;
        }
        let len = text.len();
        if !(1..=MAX_PASSWORD).contains(&len) {
            entry.fault(format_args!("{len} octets, allowed: 1 to {MAX_PASSWORD}"));
            return None;
        }
        return Some(At { value: Password::Text(text.to_owned()), entry });
    }
    let entry = file?;
    path(&entry).map(|path| At { value: Password::File(path), entry })
}

/// The password in a file or secret, without the line end that editors add.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence.
pub(crate) fn key_of(mut octets: Vec<u8>) -> Result<Secret, String> {
    while octets.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
        octets.pop();
    }
    match octets.len() {
        1..=MAX_PASSWORD => Ok(Secret(octets)),
        len => Err(format!("holds {len} octets, allowed: 1 to {MAX_PASSWORD}")),
    }
}

fn max_prefixes(entry: &Entry<'_>) -> Option<MaxPrefixes> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Warn,
        Shutdown,
        Restart,
        Discard,
    }
    const WARN_AT: f32 = 0.8;
    const RESTART_AFTER: Duration = Duration::from_secs(30);
    let words = [
        ("warn", Word::Warn),
        ("shutdown", Word::Shutdown),
        ("restart", Word::Restart),
        ("discard", Word::Discard),
    ];
    let mut section = entry.section()?;
    let limit = section.entry("limit");
    if limit.is_none() {
        section.missing("limit", "the number of prefixes accepted at most");
    }
    let warn_at = section.entry("warn-at").and_then(|entry| entry.float(0.0..=1.0));
    let action = section.entry("action").and_then(|entry| entry.one_of(&words));
    let restart_after = section.entry("restart-after");
    section.finish();
    let action = action.unwrap_or(Word::Restart);
    if let Some(entry) = &restart_after
        && action != Word::Restart
    {
        entry.fault("goes with action = \"restart\" only");
    }
    let after = restart_after.and_then(|entry| seconds(&entry, 1)).unwrap_or(RESTART_AFTER);
    Some(MaxPrefixes {
        limit: limit?.integer(1..=u32::MAX)?,
        warn_at: warn_at.unwrap_or(WARN_AT),
        action: match action {
            Word::Warn => MaxPrefixAction::Warn,
            Word::Shutdown => MaxPrefixAction::Shutdown,
            Word::Restart => MaxPrefixAction::Restart(after),
            Word::Discard => MaxPrefixAction::Discard,
        },
    })
}

fn add_path(entry: &Entry<'_>) -> Option<AddPathConfig> {
    /// More paths than this for a prefix are nobody's wish.
    const MOST: u16 = 255;
    let mut section = entry.section()?;
    let receive = section.entry("receive").and_then(|entry| entry.boolean());
    let send = section.entry("send").and_then(|entry| entry.integer(0..=MOST));
    section.finish();
    Some(AddPathConfig { receive: receive.unwrap_or(false), send: send.unwrap_or(0) })
}

/// `None` inside: switched off.
fn graceful_restart(entry: &Entry<'_>) -> Option<Option<GracefulRestart>> {
    let mut section = entry.section()?;
    let enabled = section.entry("enabled").and_then(|entry| entry.boolean());
    let restart_time = section
        .entry("restart-time")
        .and_then(|entry| entry.integer(1..=MAX_RESTART_TIME))
        .map_or(RESTART_TIME, |seconds| Duration::from_secs(u64::from(seconds)));
    section.finish();
    Some(enabled.unwrap_or(true).then_some(GracefulRestart { restart_time }))
}

fn remove_private_asn(entry: &Entry<'_>) -> Option<RemovePrivate> {
    match (entry.as_bool(), entry.as_str()) {
        (Some(false), _) => Some(RemovePrivate::No),
        (Some(true), _) => Some(RemovePrivate::WhollyPrivate),
        (_, Some("all")) => Some(RemovePrivate::All),
        (_, Some("replace")) => Some(RemovePrivate::Replace),
        _ => {
            entry.expected("false, true, \"all\", \"replace\"");
            None
        }
    }
}
