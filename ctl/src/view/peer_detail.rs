//! `margay peers NAME`: a peer with timers, transport, what was agreed, and message counts.

use std::io::{self, Write};

use margay_proto::v1;
use serde::Serialize;

use super::{Labels, or_dash, peer::Peer};
use crate::{
    output::{
        Sheet,
        table::{Paint, Tone},
    },
    values::{duration, list, timestamp},
};

/// Everything about a peer.
#[derive(Debug, Serialize)]
pub struct PeerDetail {
    #[serde(flatten)]
    peer: Peer,
    timers: Timers,
    transport: Transport,
    negotiated: Option<Negotiated>,
    messages: Messages,
    settings: Settings,
}

#[derive(Debug, Serialize)]
struct Timers {
    configured_hold_time_seconds: u64,
    hold_time_seconds: Option<u64>,
    keepalive_interval_seconds: Option<u64>,
    hold_remaining_seconds: Option<u64>,
    keepalive_remaining_seconds: Option<u64>,
    connect_retry_seconds: u64,
    connect_remaining_seconds: Option<u64>,
    last_received_seconds: Option<u64>,
    last_update_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Transport {
    local_address: Option<String>,
    local_port: Option<u32>,
    remote_address: Option<String>,
    remote_port: Option<u32>,
    incoming: Option<bool>,
    passive: bool,
    authentication: String,
    multihop: Option<u32>,
    ttl_security: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Negotiated {
    kind: String,
    families: Vec<&'static str>,
    four_octet_asn: bool,
    max_send_length: u32,
    max_receive_length: u32,
    add_path_receive: Vec<&'static str>,
    add_path_send: Vec<&'static str>,
    extended_next_hop: Vec<&'static str>,
    route_refresh: bool,
    enhanced_route_refresh: bool,
    capabilities_sent: Vec<String>,
    capabilities_received: Vec<String>,
    end_of_rib_received: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Messages {
    sent: Counts,
    received: Counts,
    attributes_discarded: u64,
    treated_as_withdraw: u64,
}

#[derive(Debug, Serialize)]
struct Counts {
    open: u64,
    update: u64,
    notification: u64,
    keepalive: u64,
    route_refresh: u64,
    octets: u64,
}

#[derive(Debug, Serialize)]
struct Settings {
    import: Option<String>,
    export: Option<String>,
    route_reflector_client: bool,
    route_server_client: bool,
    next_hop: String,
    max_prefixes: Option<u64>,
}

impl From<v1::PeerTimers> for Timers {
    fn from(timers: v1::PeerTimers) -> Self {
        Self {
            configured_hold_time_seconds: timers.configured_hold_time_seconds,
            hold_time_seconds: timers.hold_time_seconds,
            keepalive_interval_seconds: timers.keepalive_interval_seconds,
            hold_remaining_seconds: timers.hold_remaining_seconds,
            keepalive_remaining_seconds: timers.keepalive_remaining_seconds,
            connect_retry_seconds: timers.connect_retry_seconds,
            connect_remaining_seconds: timers.connect_remaining_seconds,
            last_received_seconds: timers.last_received_seconds,
            last_update_seconds: timers.last_update_seconds,
        }
    }
}

impl From<v1::PeerTransport> for Transport {
    fn from(transport: v1::PeerTransport) -> Self {
        Self {
            local_address: transport.local_address,
            local_port: transport.local_port,
            remote_address: transport.remote_address,
            remote_port: transport.remote_port,
            incoming: transport.incoming,
            passive: transport.passive,
            authentication: transport.authentication,
            multihop: transport.multihop,
            ttl_security: transport.ttl_security,
        }
    }
}

impl From<v1::PeerNegotiated> for Negotiated {
    fn from(agreed: v1::PeerNegotiated) -> Self {
        Self {
            families: agreed.families().map(v1::Family::name).collect(),
            add_path_receive: agreed.add_path_receive().map(v1::Family::name).collect(),
            add_path_send: agreed.add_path_send().map(v1::Family::name).collect(),
            extended_next_hop: agreed.extended_next_hop().map(v1::Family::name).collect(),
            end_of_rib_received: agreed.end_of_rib_received().map(v1::Family::name).collect(),
            kind: agreed.kind,
            four_octet_asn: agreed.four_octet_asn,
            max_send_length: agreed.max_send_length,
            max_receive_length: agreed.max_receive_length,
            route_refresh: agreed.route_refresh,
            enhanced_route_refresh: agreed.enhanced_route_refresh,
            capabilities_sent: agreed.capabilities_sent,
            capabilities_received: agreed.capabilities_received,
        }
    }
}

impl From<v1::MessageCounts> for Counts {
    fn from(counts: v1::MessageCounts) -> Self {
        let v1::MessageCounts { open, update, notification, keepalive, route_refresh, octets } =
            counts;
        Self { open, update, notification, keepalive, route_refresh, octets }
    }
}

impl From<v1::GetPeerResponse> for PeerDetail {
    fn from(detail: v1::GetPeerResponse) -> Self {
        let messages = detail.messages.unwrap_or_default();
        let settings = detail.settings.unwrap_or_default();
        Self {
            peer: detail.peer.unwrap_or_default().into(),
            timers: detail.timers.unwrap_or_default().into(),
            transport: detail.transport.unwrap_or_default().into(),
            negotiated: detail.negotiated.map(Negotiated::from),
            messages: Messages {
                sent: messages.sent.unwrap_or_default().into(),
                received: messages.received.unwrap_or_default().into(),
                attributes_discarded: messages.attributes_discarded,
                treated_as_withdraw: messages.treated_as_withdraw,
            },
            settings: Settings {
                import: settings.import_policy,
                export: settings.export_policy,
                route_reflector_client: settings.route_reflector_client,
                route_server_client: settings.route_server_client,
                next_hop: settings.next_hop,
                max_prefixes: settings.max_prefixes,
            },
        }
    }
}

const LABELS: Labels = Labels { indent: 2, width: 21 };

impl Sheet for PeerDetail {
    fn text(&self, _wide: bool, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let Self { peer, timers, transport, negotiated, messages, settings } = self;
        self.head(paint, to)?;
        section(to, paint, "Session")?;
        timers.text(to)?;
        transport.text(to)?;
        if let Some(negotiated) = negotiated {
            section(to, paint, "Agreed")?;
            negotiated.text(to)?;
        }
        section(to, paint, "Routes")?;
        settings.text(to)?;
        let width = peer.families.keys().map(|family| family.len()).max().unwrap_or(0).max(6);
        writeln!(
            to,
            "  {:<width$}  {:>9}  {:>9}  {:>10}",
            "FAMILY", "RECEIVED", "ACCEPTED", "ADVERTISED"
        )?;
        for (family, counts) in &peer.families {
            writeln!(
                to,
                "  {family:<width$}  {:>9}  {:>9}  {:>10}",
                counts.received, counts.accepted, counts.advertised
            )?;
        }
        section(to, paint, "Messages")?;
        messages.text(to)
    }
}

impl PeerDetail {
    fn head(&self, paint: Paint, to: &mut dyn Write) -> io::Result<()> {
        let peer = &self.peer;
        let (state, tone) = peer.state_text();
        let uptime = peer.uptime_seconds.map(|up| format!(" for {}", duration(up)));
        let state = format!("{}{}", paint.tone(tone, state), uptime.unwrap_or_default());
        writeln!(to, "{} {state}", paint.tone(Tone::Strong, super::tame(&peer.name)))?;
        if let Some(description) = &peer.description {
            LABELS.line(to, "Description", super::tame(description))?;
        }
        LABELS.line(to, "Address", or_dash(peer.address.as_deref()))?;
        if let Some(interface) = &peer.interface {
            LABELS.line(to, "Interface", interface)?;
        }
        LABELS.line(to, "ASN", or_dash(peer.asn))?;
        LABELS.line(to, "Local ASN", peer.local_asn)?;
        LABELS.line(to, "Router ID", or_dash(peer.router_id.as_deref()))?;
        for (label, value) in [("Group", &peer.group), ("Template", &peer.template)] {
            if let Some(value) = value {
                LABELS.line(to, label, value)?;
            }
        }
        LABELS.line(to, "Flaps", peer.flaps)?;
        match &peer.last_error {
            None => LABELS.line(to, "Last error", "none"),
            Some(error) => {
                let text = format!("{} at {}", error.summary(), timestamp(error.at));
                LABELS.line(to, "Last error", text)
            }
        }
    }
}

impl Timers {
    fn text(&self, to: &mut dyn Write) -> io::Result<()> {
        let configured = duration(self.configured_hold_time_seconds);
        let hold = match (self.hold_time_seconds, self.hold_remaining_seconds) {
            (None, _) => format!("{configured} configured"),
            (Some(0), _) => format!("none agreed, {configured} configured"),
            (Some(agreed), left) => {
                let left = left.map(|left| format!(", expires in {}", duration(left)));
                format!(
                    "{} agreed, {configured} configured{}",
                    duration(agreed),
                    left.unwrap_or_default()
                )
            }
        };
        LABELS.line(to, "Hold time", hold)?;
        if let Some(interval) = self.keepalive_interval_seconds.filter(|interval| *interval > 0) {
            let next = self.keepalive_remaining_seconds;
            let next = next.map(|left| format!(", next in {}", duration(left)));
            let text = format!("every {}{}", duration(interval), next.unwrap_or_default());
            LABELS.line(to, "Keep-alive", text)?;
        }
        let next = self.connect_remaining_seconds;
        let next = next.map(|left| format!(", next attempt in {}", duration(left)));
        let retry = format!("{}{}", duration(self.connect_retry_seconds), next.unwrap_or_default());
        LABELS.line(to, "Connect retry", retry)?;
        if let Some(ago) = self.last_received_seconds {
            let update = self.last_update_seconds;
            let update = update.map(|ago| format!(", last UPDATE {} ago", duration(ago)));
            let text = format!("{} ago{}", duration(ago), update.unwrap_or_default());
            LABELS.line(to, "Last message", text)?;
        }
        Ok(())
    }
}

impl Transport {
    fn text(&self, to: &mut dyn Write) -> io::Result<()> {
        let end = |address: &Option<String>, port: Option<u32>| {
            let address = address.as_deref().unwrap_or("-");
            match port {
                Some(port) if address.contains(':') => format!("[{address}]:{port}"),
                Some(port) => format!("{address}:{port}"),
                None => address.to_owned(),
            }
        };
        let direction = match self.incoming {
            Some(true) => ", the peer connected",
            Some(false) => ", we connected",
            None => "",
        };
        let local = end(&self.local_address, self.local_port);
        let remote = end(&self.remote_address, self.remote_port);
        let connection = match self.remote_address {
            Some(_) => format!("{local} to {remote}{direction}"),
            None => "none".to_owned(),
        };
        LABELS.line(to, "Connection", connection)?;
        let mut options = vec![format!("authentication {}", self.authentication)];
        options.extend(self.passive.then(|| "passive".to_owned()));
        options.extend(self.multihop.map(|ttl| format!("multihop {ttl}")));
        options.extend(self.ttl_security.map(|hops| format!("TTL security {hops}")));
        LABELS.line(to, "Transport", list(&options, ", "))
    }
}

impl Negotiated {
    fn text(&self, to: &mut dyn Write) -> io::Result<()> {
        LABELS.line(to, "Session kind", &self.kind)?;
        LABELS.line(to, "Families", or_none(&self.families))?;
        for (label, families) in [
            ("Add-path receive", &self.add_path_receive),
            ("Add-path send", &self.add_path_send),
            ("IPv6 next hop for", &self.extended_next_hop),
        ] {
            if !families.is_empty() {
                LABELS.line(to, label, list(families, ", "))?;
            }
        }
        let asn = if self.four_octet_asn { "4 octets" } else { "2 octets" };
        LABELS.line(to, "AS numbers", asn)?;
        let refresh = match (self.route_refresh, self.enhanced_route_refresh) {
            (_, true) => "enhanced",
            (true, false) => "yes",
            (false, false) => "no",
        };
        LABELS.line(to, "Route refresh", refresh)?;
        let Self { max_send_length, max_receive_length, .. } = self;
        let length = format!("{max_send_length} octets sent, {max_receive_length} received");
        LABELS.line(to, "Longest message", length)?;
        LABELS.line(to, "End-of-RIB from", or_none(&self.end_of_rib_received))?;
        LABELS.line(to, "Capabilities sent", or_none(&self.capabilities_sent))?;
        let received: Vec<_> = self.capabilities_received.iter().map(|c| super::tame(c)).collect();
        LABELS.line(to, "Capabilities received", or_none(&received))
    }
}

impl Settings {
    fn text(&self, to: &mut dyn Write) -> io::Result<()> {
        let policy =
            |name: &Option<String>| name.clone().unwrap_or_else(|| "none configured".to_owned());
        LABELS.line(to, "Import policy", policy(&self.import))?;
        LABELS.line(to, "Export policy", policy(&self.export))?;
        LABELS.line(to, "Next hop", &self.next_hop)?;
        if let Some(limit) = self.max_prefixes {
            LABELS.line(to, "Max prefixes", format!("{limit} per family"))?;
        }
        let mut roles = Vec::new();
        roles.extend(self.route_reflector_client.then_some("route reflector"));
        roles.extend(self.route_server_client.then_some("route server"));
        if !roles.is_empty() {
            LABELS.line(to, "Client of our", list(&roles, ", "))?;
        }
        Ok(())
    }
}

impl Messages {
    fn text(&self, to: &mut dyn Write) -> io::Result<()> {
        let Self { sent, received, attributes_discarded, treated_as_withdraw } = self;
        writeln!(to, "  {:<13}  {:>12}  {:>12}", "TYPE", "SENT", "RECEIVED")?;
        for (label, sent, received) in [
            ("OPEN", sent.open, received.open),
            ("UPDATE", sent.update, received.update),
            ("NOTIFICATION", sent.notification, received.notification),
            ("KEEPALIVE", sent.keepalive, received.keepalive),
            ("ROUTE-REFRESH", sent.route_refresh, received.route_refresh),
            ("octets", sent.octets, received.octets),
        ] {
            writeln!(to, "  {label:<13}  {sent:>12}  {received:>12}")?;
        }
        if *attributes_discarded > 0 || *treated_as_withdraw > 0 {
            writeln!(
                to,
                "  malformed UPDATEs healed (RFC 7606): {attributes_discarded} attributes \
                 discarded, {treated_as_withdraw} treated as withdraw"
            )?;
        }
        Ok(())
    }
}

fn section(to: &mut dyn Write, paint: Paint, title: &'static str) -> io::Result<()> {
    writeln!(to, "{}", paint.tone(Tone::Strong, title))
}

fn or_none<T: ToString>(items: &[T]) -> String {
    if items.is_empty() { "none".to_owned() } else { list(items, ", ") }
}
