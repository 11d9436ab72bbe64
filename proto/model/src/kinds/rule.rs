//! Rules of policies and profiles.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{
    fault::Step,
    scalar::{Cidr, Port, Protocol, masked, numeric, with_length},
    selector::{self, Selector},
    wire::{At, rules},
};

choice! {
    /// What a rule does with a packet that it matches.
    pub enum Action {
        /// Lets it through; final.
        Allow = "Allow",
        /// Drops it; final.
        Deny = "Deny",
        /// Writes it down and goes on.
        Log = "Log",
        /// Goes on to the next tier.
        Pass = "Pass",
    }
}

record! {
    /// A type of ICMP, and a code of it.
    pub struct IcmpFields {
        /// The type.
        kind: Option<u8> = "type" => rules::within(0u8..=254),
        /// The code; it needs a type.
        code: Option<u8> = "code",
    }
    check |icmp, at: &mut At<'_, '_>| {
        if icmp.code.is_some() && icmp.kind.is_none() {
            at.refuse("type", "a type beside code");
        }
    }
}

record! {
    /// Service accounts by name or by their labels; both must hold where both are given.
    #[derive(Default)]
    pub struct ServiceAccountMatch {
        /// Any of these names.
        names: Vec<String> = "names",
        /// Labels of the service account.
        selector: Option<Selector> = "selector" => selector::plain,
    }
}

record! {
    /// A service, which stands for its endpoints.
    pub struct ServiceMatch {
        /// Its name.
        name: Option<String> = "name",
        /// Its namespace; a global policy must give it.
        namespace: Option<String> = "namespace",
    }
    check |service, at: &mut At<'_, '_>| {
        if service.name.is_none() {
            at.refuse("name", "the name of a service");
        }
    }
}

record! {
    /// One side of a rule: all that is given must hold.
    #[derive(Default)]
    pub struct EntityRule {
        /// In any of these ranges.
        nets: Vec<Cidr> = "nets" => rules::both(with_length, masked),
        /// In none of these ranges.
        not_nets: Vec<Cidr> = "notNets" => rules::both(with_length, masked),
        /// An endpoint or network set with such labels.
        selector: Option<Selector> = "selector" => selector::plain,
        /// No endpoint or network set with such labels; unknown addresses pass.
        not_selector: Option<Selector> = "notSelector" => selector::plain,
        /// In a namespace with such labels; `global()` alone is no namespace at all.
        namespace_selector: Option<Selector> = "namespaceSelector" => selector::global_alone,
        /// With such a service account.
        service_accounts: Option<ServiceAccountMatch> = "serviceAccounts",
        /// An endpoint of this service.
        services: Option<ServiceMatch> = "services",
        /// On any of these ports.
        ports: Vec<Port> = "ports",
        /// On none of these ports.
        not_ports: Vec<Port> = "notPorts",
    }
    check Self::check
}

impl EntityRule {
    fn check(&self, at: &mut At<'_, '_>) {
        for (field, count) in [("nets", self.nets.len()), ("notNets", self.not_nets.len())] {
            if count > 256 {
                at.refuse(field, "at most 256 items");
            }
        }
        for (field, count) in [("ports", self.ports.len()), ("notPorts", self.not_ports.len())] {
            if count > 50 {
                at.refuse(field, "at most 50 items");
            }
        }
        for (field, nets) in [("nets", &self.nets), ("notNets", &self.not_nets)] {
            if let Err(allowed) = rules::unique(nets) {
                at.refuse(field, allowed);
            }
        }
        for (index, net) in self.not_nets.iter().enumerate() {
            if net.net().prefix_len() == 0 {
                at.refuse_item("notNets", index, "less than every address");
            }
        }
        if self.services.is_some() {
            for (field, set) in [
                ("selector", self.selector.is_some()),
                ("notSelector", self.not_selector.is_some()),
                ("namespaceSelector", self.namespace_selector.is_some()),
                ("serviceAccounts", self.service_accounts.is_some()),
                ("nets", !self.nets.is_empty()),
                ("notNets", !self.not_nets.is_empty()),
            ] {
                if set {
                    at.refuse(field, "nothing beside services");
                }
            }
        }
    }

    fn all_nets(&self) -> [(&'static str, &Vec<Cidr>); 2] {
        [("nets", &self.nets), ("notNets", &self.not_nets)]
    }
}

record! {
    /// A path of a request; exactly one field is there.
    #[derive(Default)]
    pub struct HttpPath {
        /// The whole path.
        exact: Option<String> = "exact" => http_path,
        /// How it begins.
        prefix: Option<String> = "prefix" => http_path,
    }
    check |path, at: &mut At<'_, '_>| {
        if path.exact.is_some() == path.prefix.is_some() {
            at.refuse_all("both or neither", "exactly one of exact, prefix");
        }
    }
}

record! {
    /// Requests of HTTP; needs a proxy that enforces it.
    #[derive(Default)]
    pub struct HttpMatch {
        /// Any of these methods.
        methods: Vec<String> = "methods" => rules::at_most(1024),
        /// Any of these paths.
        paths: Vec<HttpPath> = "paths",
    }
    check |http, at: &mut At<'_, '_>| {
        for (field, count) in [("methods", http.methods.len()), ("paths", http.paths.len())] {
            if count > 20 {
                at.refuse(field, "at most 20 items");
            }
        }
        if let Err(allowed) = rules::unique(&http.methods) {
            at.refuse("methods", allowed);
        }
    }
}

record! {
    /// Notes on a rule.
    #[derive(Default)]
    pub struct RuleMetadata {
        /// The notes.
        annotations: BTreeMap<String, String> = "annotations",
    }
    check |metadata, at: &mut At<'_, '_>| {
        for key in metadata.annotations.keys() {
            if !crate::scalar::names::is_label_key(&key.to_ascii_lowercase()) {
                let steps = [Step::Key("annotations".into()), Step::Key(key.clone())];
                at.refuse_key(&steps, "a qualified name");
            }
        }
    }
}

record! {
    /// A rule: all that is given must hold.
    pub struct Rule {
        /// What is done.
        action: Action = "action",
        /// The IP version: 4 or 6.
        ip_version: Option<u8> = "ipVersion" => ip_version,
        /// The protocol.
        protocol: Option<Protocol> = "protocol",
        /// The type and code of ICMP.
        icmp: Option<IcmpFields> = "icmp",
        /// Any protocol but this.
        not_protocol: Option<Protocol> = "notProtocol",
        /// Any type and code of ICMP but this.
        not_icmp: Option<IcmpFields> = "notICMP",
        /// Where it comes from.
        source: Option<EntityRule> = "source",
        /// Where it goes.
        destination: Option<EntityRule> = "destination",
        /// The request it carries.
        http: Option<HttpMatch> = "http",
        /// Notes.
        metadata: Option<RuleMetadata> = "metadata",
    }
    check Self::check
}

impl Rule {
    /// A rule that matches everything.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            icmp: None,
            not_protocol: None,
            not_icmp: None,
            source: None,
            destination: None,
            http: None,
            metadata: None,
        }
    }

    fn sides(&self) -> impl Iterator<Item = (&'static str, &EntityRule)> {
        let sides = [("source", &self.source), ("destination", &self.destination)];
        sides.into_iter().filter_map(|(field, side)| Some((field, side.as_ref()?)))
    }

    fn check(&self, at: &mut At<'_, '_>) {
        for (field, protocol) in [("protocol", self.protocol), ("notProtocol", self.not_protocol)] {
            let needed = match protocol.map(Protocol::number) {
                Some(1) => 4,
                Some(58) => 6,
                _ => continue,
            };
            if self.ip_version.is_some_and(|version| version != needed) {
                at.refuse(field, format!("a protocol of IPv{}", self.ip_version.unwrap_or(4)));
            }
        }
        let is_icmp = matches!(self.protocol.map(Protocol::number), Some(1 | 58));
        if self.icmp.is_some() && !is_icmp {
            at.refuse("protocol", "ICMP or ICMPv6 beside icmp");
        }
        if self.http.is_some() {
            if self.action != Action::Allow {
                at.refuse("http", "no HTTP match unless the action is Allow");
            }
            if self.protocol.is_some_and(|protocol| protocol.number() != 6) {
                at.refuse("protocol", "TCP, or none, beside http");
            }
        }
        self.check_families(at);
        self.check_ports(at);
    }

    /// One family in all four lists, and the one of `ipVersion`.
    fn check_families(&self, at: &mut At<'_, '_>) {
        let mut family = self.ip_version.map(|version| version == 4);
        for (side, entity) in self.sides() {
            for (field, nets) in entity.all_nets() {
                for (index, net) in nets.iter().enumerate() {
                    let is_v4 = matches!(net.net(), IpNet::V4(_));
                    if *family.get_or_insert(is_v4) != is_v4 {
                        let steps =
                            [Step::Key(side.into()), Step::Key(field.into()), Step::Index(index)];
                        at.refuse_at(&steps, "CIDRs of one family in a rule, that of ipVersion");
                    }
                }
            }
        }
    }

    /// Numbers need a protocol that has ports; names need none.
    fn check_ports(&self, at: &mut At<'_, '_>) {
        let has_ports = self.protocol.is_some_and(Protocol::has_ports);
        for (side, entity) in self.sides() {
            for (field, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
                if ports.is_empty() || has_ports {
                    continue;
                }
                if self.protocol.is_some() {
                    let steps = [Step::Key(side.into()), Step::Key(field.into())];
                    at.refuse_at(&steps, "no ports unless the protocol is TCP, UDP or SCTP");
                } else if let Some(index) = ports.iter().position(|port| numeric(port).is_ok()) {
                    let steps =
                        [Step::Key(side.into()), Step::Key(field.into()), Step::Index(index)];
                    at.refuse_at(&steps, "named ports only, as there is no protocol");
                }
            }
        }
    }
}

/// What depends on the direction: where services may stand, and HTTP.
pub(super) fn check_directions(at: &mut At<'_, '_>, ingress: &[Rule], egress: &[Rule]) {
    for (list, rules, side) in [("ingress", ingress, "source"), ("egress", egress, "destination")] {
        for (index, rule) in rules.iter().enumerate() {
            for (found, entity) in rule.sides() {
                if entity.services.is_none() {
                    continue;
                }
                let field = |field: &str| {
                    [
                        Step::Key(list.into()),
                        Step::Index(index),
                        Step::Key(found.into()),
                        Step::Key(field.into()),
                    ]
                };
                if found != side {
                    at.refuse_at(
                        &field("services"),
                        "services only as source of ingress or destination of egress rules",
                    );
                }
                if list == "egress" && found == "destination" {
                    for (name, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)]
                    {
                        if !ports.is_empty() {
                            at.refuse_at(&field(name), "no ports: those of the service count");
                        }
                    }
                }
            }
            if rule.http.is_some() && list == "egress" {
                let steps = [Step::Key(list.into()), Step::Index(index), Step::Key("http".into())];
                at.refuse_at(&steps, "no HTTP match in egress rules");
            }
        }
    }
}

/// In a policy without a namespace, services must say theirs.
pub(super) fn check_service_namespaces(at: &mut At<'_, '_>, ingress: &[Rule], egress: &[Rule]) {
    for (list, rules) in [("ingress", ingress), ("egress", egress)] {
        for (index, rule) in rules.iter().enumerate() {
            for (side, entity) in rule.sides() {
                if entity.services.as_ref().is_some_and(|service| service.namespace.is_none()) {
                    let steps = [
                        Step::Key(list.into()),
                        Step::Index(index),
                        Step::Key(side.into()),
                        Step::Key("services".into()),
                        Step::Key("namespace".into()),
                    ];
                    at.refuse_at(&steps, "the namespace of the service, in a global policy");
                }
            }
        }
    }
}

fn ip_version(version: &u8) -> rules::Answer {
    rules::allow(matches!(version, 4 | 6), || "4 or 6".into())
}

fn http_path(path: &String) -> rules::Answer {
    let holds = path.starts_with('/') && path.len() <= 1024 && !path.contains(['?', '#', ' ']);
    rules::allow(holds, || {
        "a path of at most 1024 characters that starts with /, without ?, # and blanks".into()
    })
}
