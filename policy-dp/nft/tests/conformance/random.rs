//! Random sets of policies over the nine pods, in the words of case files: what fails can be read,
//! and put into a file.

/// A generator of numbers (splitmix64): equal seeds, equal numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).expect("below a usize")
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn net(&mut self) -> String {
        let third = self.below(3);
        match self.below(4) {
            0 => format!("10.1.{third}.{}/32", 1 + self.below(3)),
            1 => format!("10.1.{third}.{}/31", 2 * self.below(2)),
            2 => format!("10.1.{third}.0/{}", self.one(&["30", "24"])),
            _ => "10.1.0.0/23".to_owned(),
        }
    }

    /// One or two different ones.
    fn nets(&mut self) -> String {
        let nets = std::collections::BTreeSet::from([self.net(), self.net()]);
        nets.into_iter().collect::<Vec<_>>().join(", ")
    }

    fn selector(&mut self) -> &'static str {
        self.one(&[
            "all()",
            "pod == 'a'",
            "pod != 'b'",
            "pod in {'a', 'c'}",
            "tag == 'n'",
            "has(pod)",
            "!has(pod)",
            "pcns.ns == 'x'",
            "pcsa.trust == 'high'",
            "pod == 'b' || pcns.ns == 'z'",
        ])
    }

    fn side(&mut self, is_calico: bool, ports: bool) -> String {
        let mut parts = Vec::new();
        if self.chance(30) {
            parts.push(format!("nets: [{}]", self.nets()));
        }
        if self.chance(15) {
            parts.push(format!("notNets: [{}]", self.net()));
        }
        if self.chance(40) {
            parts.push(format!("selector: \"{}\"", self.selector()));
        }
        if self.chance(15) {
            parts.push(format!("notSelector: \"{}\"", self.selector()));
        }
        if is_calico && self.chance(25) {
            let what = self.one(&["all()", "ns == 'x'", "ns != 'y'", "ns in {'y', 'z'}"]);
            parts.push(format!("namespaceSelector: \"{what}\""));
        }
        if is_calico && self.chance(8) {
            parts.push("serviceAccounts: { names: [a, b] }".into());
        }
        if ports && self.chance(50) {
            let what = self.one(&["80", "81", "'80:81'", "'79:80'", "web", "dns", "81, web"]);
            parts.push(format!("{}: [{what}]", self.one(&["ports", "ports", "notPorts"])));
        }
        format!("{{ {} }}", parts.join(", "))
    }

    fn address(&mut self) -> String {
        format!("10.1.{}.{}", self.below(3), 1 + self.below(3))
    }

    /// A side that may ask for a service, here and there one that nobody has.
    fn service(&mut self) -> String {
        let name = self.one(&["s", "s", "t", "nobody"]);
        format!("{{ services: {{ name: {name}, namespace: {} }} }}", self.one(&["x", "x", "y"]))
    }

    fn slice(&mut self, number: usize) -> String {
        let endpoints: Vec<_> =
            (0..self.below(4)).map(|_| format!("{{ addresses: [{}] }}", self.address())).collect();
        let ports: Vec<_> = (0..self.below(3))
            .map(|name| {
                let (port, protocol) =
                    (80 + self.below(2), self.one(&["TCP", "TCP", "UDP", "SCTP"]));
                format!("{{ name: p{name}, port: {port}, protocol: {protocol} }}")
            })
            .collect();
        let service = self.one(&["x/s", "x/s", "x/t", "y/s"]);
        format!(
            "slice {service}.{number} {{ addressType: IPv4, endpoints: [{}], ports: [{}] }}\n",
            endpoints.join(", "),
            ports.join(", ")
        )
    }

    fn rule(&mut self, egress: bool) -> String {
        let action = self.one(&["Allow", "Allow", "Allow", "Deny", "Deny", "Pass", "Log"]);
        let protocol = self.one(&["", "TCP", "TCP", "UDP", "SCTP", "ICMP"]);
        let mut text = format!("{{ action: {action}");
        let mut ports = false;
        match protocol {
            "" if self.chance(25) => {
                text += &format!(", notProtocol: {}", self.one(&["TCP", "UDP", "ICMP"]));
            }
            "" => {}
            "ICMP" => {
                text += ", protocol: ICMP";
                let which = self.one(&["", "icmp: { type: 8 }", "notICMP: { type: 13, code: 0 }"]);
                if !which.is_empty() {
                    text += &format!(", {which}");
                }
            }
            _ => {
                text += &format!(", protocol: {protocol}");
                ports = true;
            }
        }
        let service = self.chance(15);
        if service && !egress {
            text += &format!(", source: {}", self.service());
        } else if self.chance(60) {
            text += &format!(", source: {}", self.side(true, false));
        }
        if service && egress {
            text += &format!(", destination: {}", self.service());
        } else if self.chance(60) {
            text += &format!(", destination: {}", self.side(true, ports));
        }
        text + " }"
    }

    fn rules(&mut self, most: usize, egress: bool) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| self.rule(egress)).collect::<Vec<_>>().join(", ")
    }

    fn policy(&mut self, number: usize) -> String {
        let order = ["", "order: 10, ", "order: 20, "][self.below(3)];
        let tier = ["", "", "tier: first, ", "tier: second, "][self.below(4)];
        let name = match tier {
            "" => format!("p{number}"),
            _ => format!("{}.p{number}", tier.trim_start_matches("tier: ").trim_end_matches(", ")),
        };
        let types = self.one(&["[Ingress]", "[Egress]", "[Ingress, Egress]"]);
        let (ingress, egress) = match types {
            "[Ingress]" => (self.rules(4, false), String::new()),
            "[Egress]" => (String::new(), self.rules(4, true)),
            _ => (self.rules(3, false), self.rules(3, true)),
        };
        let selector = self.selector();
        let head = match self.chance(50) {
            true => format!("np {}/{name}", self.one(&["x", "y", "z"])),
            false => format!("gnp {name}"),
        };
        format!(
            "{head} {{ {tier}{order}selector: \"{selector}\", types: {types}, \
             ingress: [{ingress}], egress: [{egress}] }}\n"
        )
    }

    fn kubernetes(&mut self, number: usize) -> String {
        let labels = ["{}", "{ pod: a }", "{ pod: b }", "{ tag: n }"];
        let peer = |dice: &mut Self| {
            match dice.below(4) {
            0 => format!("{{ podSelector: {{ matchLabels: {} }} }}", dice.one(&labels)),
            1 => "{ namespaceSelector: { matchExpressions: [{ key: ns, operator: NotIn, values: [x] }] } }".into(),
            2 => format!(
                "{{ namespaceSelector: {{}}, podSelector: {{ matchLabels: {} }} }}",
                dice.one(&labels)
            ),
            _ => "{ ipBlock: { cidr: 10.1.0.0/23, except: [10.1.0.2/32, 10.1.1.0/30] } }".into(),
        }
        };
        let ports = self.one(&[
            "",
            ", ports: [{ port: 80 }]",
            ", ports: [{ protocol: UDP, port: 80, endPort: 81 }]",
            ", ports: [{ port: web }, { protocol: UDP, port: dns }]",
            ", ports: [{ protocol: SCTP }]",
        ]);
        let (types, list, way) = match self.chance(50) {
            true => ("[Ingress]", "ingress", "from"),
            false => ("[Egress]", "egress", "to"),
        };
        let peers = [peer(self), peer(self)].join(", ");
        format!(
            "knp {}/k{number} {{ podSelector: {{ matchLabels: {} }}, policyTypes: {types}, \
             {list}: [{{ {way}: [{peers}]{ports} }}] }}\n",
            self.one(&["x", "y", "z"]),
            self.one(&labels),
        )
    }
}

/// A set of policies, and one more that comes while it is in force.
pub fn case(seed: u64) -> String {
    let mut dice = Dice(seed);
    let mut text = format!("= seed {seed}\n");
    for tier in ["first", "second"] {
        let action = dice.one(&["Deny", "Pass", "Pass"]);
        text +=
            &format!("tier {tier} {{ order: {}, defaultAction: {action} }}\n", 1 + dice.below(9));
    }
    for pod in ["x/a", "y/b", "z/c"] {
        if dice.chance(30) {
            text += &format!("pod {pod} {{ tag: n, pod: {} }}\n", dice.one(&["a", "b", "q"]));
        }
    }
    if dice.chance(40) {
        text += &format!("gset net {{ nets: [{}] }}\n", dice.nets());
    }
    if dice.chance(20) {
        text +=
            &format!("profile kns.y {{ ingress: [{}], egress: [{}] }}\n", dice.rules(2, false), {
                "{ action: Allow }"
            });
    }
    for number in 0..dice.below(4) {
        text += &dice.slice(number);
    }
    let count = 1 + dice.below(7);
    for number in 0..count {
        text += &match dice.chance(25) {
            true => dice.kubernetes(number),
            false => dice.policy(number),
        };
    }
    text += &format!("+ seed {seed}, one more\n");
    text += &dice.policy(9);
    text += &dice.slice(0);
    text
}

impl Dice {
    fn host_side(&mut self, ports: bool) -> String {
        let nets = [
            "192.0.2.0/24",
            "192.0.2.2/32",
            "198.51.100.0/24",
            "198.51.100.2/32",
            "10.1.0.0/16",
            "0.0.0.0/0",
            "203.0.113.9/32",
        ];
        let mut parts = Vec::new();
        if self.chance(45) {
            let two = std::collections::BTreeSet::from([self.one(&nets), self.one(&nets[..2])]);
            parts.push(format!("nets: [{}]", two.into_iter().collect::<Vec<_>>().join(", ")));
        }
        if self.chance(15) {
            parts.push(format!("notNets: [{}]", self.one(&nets[1..5])));
        }
        if self.chance(15) {
            let key = self.one(&["selector", "notSelector"]);
            parts.push(format!("{key}: \"{}\"", self.one(&["pod == 'pod'", "set == 'a'"])));
        }
        if ports && self.chance(60) {
            let what = self.one(&["80", "22", "81", "'79:81'", "8080, 80"]);
            parts.push(format!("{}: [{what}]", self.one(&["ports", "ports", "notPorts"])));
        }
        format!("{{ {} }}", parts.join(", "))
    }

    fn host_rules(&mut self) -> String {
        let rules = (0..self.below(4)).map(|_| {
            let action = self.one(&["Allow", "Allow", "Allow", "Deny", "Pass", "Log"]);
            let protocol = self.one(&["", "TCP", "TCP", "UDP", "ICMP"]);
            let mut text = format!("{{ action: {action}");
            if !protocol.is_empty() {
                text += &format!(", protocol: {protocol}");
            }
            if self.chance(60) {
                text += &format!(", source: {}", self.host_side(false));
            }
            if self.chance(60) {
                let ports = matches!(protocol, "TCP" | "UDP");
                text += &format!(", destination: {}", self.host_side(ports));
            }
            text + " }"
        });
        rules.collect::<Vec<_>>().join(", ")
    }
}

/// Host endpoints and policies of all classes for them and for the pod; in words of `hosts.cases`.
pub fn hosts(seed: u64) -> String {
    let mut dice = Dice(seed ^ 0x0570_u64.rotate_left(32));
    let mut text = format!("= seed {seed}\n");
    if dice.chance(25) {
        text += "felix { drop }\n";
    }
    if dice.chance(50) {
        text += "set a { nets: [192.0.2.2/32, 198.51.100.0/25] }\n";
    }
    for (name, place, percent) in [("eth0", "eth0", 85), ("eth1", "eth1", 50), ("all", "'*'", 30)] {
        if dice.chance(percent) {
            let profiles = dice.one(&["", ", profiles: [projectcalico-default-allow]"]);
            text += &format!("hep {name} {{ interfaceName: {place}{profiles} }}\n");
        }
    }
    for number in 0..2 + dice.below(6) {
        let selector = dice.one(&[
            "host == 'eth0'",
            "has(host)",
            "has(host)",
            "host in {'eth1', 'all'}",
            "all()",
            "pod == 'pod'",
        ]);
        let order = 10 * dice.below(4);
        let (ingress, egress) = (dice.host_rules(), dice.host_rules());
        let both = format!("types: [Ingress, Egress], ingress: [{ingress}], egress: [{egress}]");
        let of = dice.below(5);
        // What is not tracked is not rewritten, which happens to what comes by eth0.
        let selector = if of == 3 { "host == 'eth1'" } else { selector };
        let class = match of {
            0 | 1 => both,
            2 => format!("applyOnForward: true, {both}"),
            3 => format!("applyOnForward: true, doNotTrack: true, {both}"),
            _ => {
                format!(
                    "applyOnForward: true, preDNAT: true, types: [Ingress], ingress: [{ingress}]"
                )
            }
        };
        text += &format!("gnp p{number} {{ order: {order}, selector: \"{selector}\", {class} }}\n");
    }
    text
}
