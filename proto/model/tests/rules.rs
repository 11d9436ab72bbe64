//! Every validation rule has an accepted and a refused example, in `rules.txt`.

use std::fmt::Write as _;

use margay_model::{Kind, Mode, Scope, decode};

/// Names that stand for long texts.
fn expanded(text: &str) -> String {
    let numbered = |count: usize, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    text.replace("LONG1024", &"a".repeat(1024))
        .replace("LONG", &"a".repeat(254))
        .replace("HALF", &"a".repeat(140_000))
        .replace("RULES1025", &numbered(1025, &|_| "{action: Allow}".into()))
        .replace("NETS257", &numbered(257, &|n| format!("10.{}.{}.0/24", n / 256, n % 256)))
        .replace("PORTS51", &numbered(51, &|n| (n + 1).to_string()))
        .replace("WORDS21", &numbered(21, &|n| format!("M{n}")))
        .replace("WORDS51", &numbered(51, &|n| format!("\"1:{n}\"")))
        .replace("ENDPOINTS1001", &numbered(1001, &|_| "{addresses: [10.0.0.1]}".into()))
        .replace("ADDRESSES101", &numbered(101, &|n| format!("10.0.0.{n}")))
        .replace("NAMED101", &numbered(101, &|n| format!("{{name: p{n}, port: 1}}")))
        .replace("PATHS21", &numbered(21, &|n| format!("{{exact: /{n}}}")))
}

/// What the spec of a kind needs to be one, where the metadata is what matters.
fn bare_spec(kind: Kind) -> &'static str {
    match kind {
        Kind::IpPool => "{cidr: 10.0.0.0/16}",
        Kind::CalicoNodeStatus => "{node: a, classes: [BGP], updatePeriodSeconds: 0}",
        Kind::EndpointSlice => "{addressType: IPv4}",
        _ => "{}",
    }
}

/// Whether what is wanted stands beside the metadata.
fn is_flat(kind: Kind) -> bool {
    kind == Kind::EndpointSlice
}

/// `KIND SPEC`, `KIND+NAME SPEC`, `KIND+meta METADATA` or `KIND+status STATUS` as a document.
fn document(example: &str) -> String {
    let (kind, body) = example.split_once(' ').expect("a kind and a body");
    let (kind, name) = kind.split_once('+').unwrap_or((kind, ""));
    let known = Kind::from_name(kind).unwrap_or_else(|| panic!("no kind {kind}"));
    let namespace = if known.scope() == Scope::Namespaced { ", namespace: n" } else { "" };
    let mut status = String::new();
    let (metadata, spec) = match name {
        "status" => {
            status = format!(", status: {body}");
            (format!("{{name: a{namespace}}}"), bare_spec(known).to_owned())
        }
        "meta" => (expanded(body), bare_spec(known).to_owned()),
        // Its name is made of its spec.
        "" if known == Kind::WorkloadEndpoint => ("{namespace: n}".into(), expanded(body)),
        "" => (format!("{{name: a{namespace}}}"), expanded(body)),
        name => (format!("{{name: {name}{namespace}}}"), expanded(body)),
    };
    let spec = match spec.strip_prefix('{').and_then(|spec| spec.strip_suffix('}')) {
        Some(fields) if is_flat(known) => fields.to_owned(),
        _ => format!("spec: {spec}{status}"),
    };
    let group = known.api_version();
    format!("{{apiVersion: {group}, kind: {kind}, metadata: {metadata}, {spec}}}")
}

#[test]
fn every_rule_accepts_and_refuses() {
    let mut rules: Vec<(&str, usize, usize)> = Vec::new();
    let mut wrong = String::new();
    for line in include_str!("rules.txt").lines().skip(5).filter(|line| !line.is_empty()) {
        if let Some(rule) = line.strip_prefix("# ") {
            rules.push((rule, 0, 0));
            continue;
        }
        let (rule, accepted, refused) = rules.last_mut().expect("a rule stands above it");
        if let Some(example) = line.strip_prefix("ok ") {
            *accepted += 1;
            if let Err(faults) = decode(document(example).as_bytes(), Mode::Strict) {
                writeln!(wrong, "{rule}: {faults}").expect("a string");
            }
        } else {
            let rest = line.strip_prefix("no ").unwrap_or_else(|| panic!("{line}"));
            *refused += 1;
            // A quoted key may hold a blank.
            let at = rest.find("\"] ").map_or_else(|| rest.find(' '), |at| Some(at + 2));
            let (path, example) = rest.split_at(at.expect("a path"));
            match decode(document(example.trim_start()).as_bytes(), Mode::Strict) {
                Ok(_) => writeln!(wrong, "{rule}: accepted {example}").expect("a string"),
                Err(faults) => {
                    let paths: Vec<_> = faults.iter().map(|fault| fault.path.to_string()).collect();
                    let placed = faults.iter().all(|fault| fault.position.is_some());
                    if paths != [path] || !placed {
                        writeln!(wrong, "{rule}: not at {path} alone: {faults}").expect("a string");
                    }
                }
            }
        }
    }
    for (rule, accepted, refused) in &rules {
        if *accepted == 0 || *refused == 0 {
            writeln!(wrong, "{rule}: {accepted} accepted, {refused} refused").expect("a string");
        }
    }
    let (accepted, refused) = rules.iter().fold((0, 0), |(a, r), (_, ok, no)| (a + ok, r + no));
    println!("{} rules, {accepted} examples accepted, {refused} refused", rules.len());
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(rules.len() >= 150, "{} rules", rules.len());
}

/// The fields that a source file of `src/` states a rule about: `= "field" => rule` for one value,
/// `at.refuse("field", …)` for what depends on others.
fn stated(text: &str) -> impl Iterator<Item = &str> {
    let alone = text.match_indices(" = \"").filter_map(|(at, sign)| {
        let (field, rest) = text.get(at + sign.len()..)?.split_once('"')?;
        rest.trim_start().starts_with("=>").then_some(field)
    });
    let signs = ["refuse(\"", "refuse_item(\"", "refuse_key(\""];
    let beside = signs.into_iter().flat_map(move |sign| {
        text.match_indices(sign).filter_map(move |(at, sign)| {
            text.get(at + sign.len()..)?.split_once('"').map(|(field, _)| field)
        })
    });
    alone.chain(beside)
}

/// The kinds whose rules stand in a source file.
fn kinds_of(file: &str) -> &'static [&'static str] {
    match file {
        "bgp_configuration" => &["BGPConfiguration"],
        "bgp_filter" => &["BGPFilter"],
        "bgp_peer" => &["BGPPeer"],
        "block_affinity" => &["BlockAffinity"],
        "calico_node_status" => &["CalicoNodeStatus"],
        "endpoint_slice" => &["EndpointSlice"],
        "felix_configuration" => &["FelixConfiguration"],
        "host_endpoint" => &["HostEndpoint", "WorkloadEndpoint"],
        "ip_pool" => &["IPPool"],
        "ip_reservation" => &["IPReservation"],
        "ipam_configuration" => &["IPAMConfiguration"],
        "kube_controllers" => &["KubeControllersConfiguration"],
        "network_policy" | "rule" => &["GlobalNetworkPolicy", "NetworkPolicy"],
        "network_set" => &["GlobalNetworkSet", "NetworkSet"],
        "node" => &["Node"],
        "profile" => &["Profile"],
        "staged_policy" => {
            &["StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy", "StagedNetworkPolicy"]
        }
        "workload_endpoint" => &["WorkloadEndpoint"],
        // Those of every kind, and what conditions look like in any status.
        "condition" | "meta" => &[],
        other => panic!("which kinds are those of {other}.rs?"),
    }
}

#[test]
fn no_rule_is_stated_in_the_sources_without_a_refused_example() {
    let refused: Vec<(&str, &str)> = include_str!("rules.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("no "))
        .map(|line| {
            let at = line.find("\"] ").map_or_else(|| line.find(' '), |at| Some(at + 2));
            let (path, example) = line.split_at(at.expect("a path"));
            let kind = example.trim_start().split([' ', '+']).next().expect("a kind");
            (kind, path)
        })
        .collect();
    let ends_with = |path: &str, field: &str| {
        let place = path.rsplit('.').next().unwrap_or(path);
        place == field || place.strip_prefix(field).is_some_and(|rest| rest.starts_with('['))
    };
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<_> = std::fs::read_dir(sources.join("kinds"))
        .expect("the sources of the kinds")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .chain([sources.join("meta.rs")])
        .collect();
    files.sort();
    let (mut rules, mut bare) = (0, String::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        let mut fields = stated(&text).peekable();
        if fields.peek().is_none() {
            continue;
        }
        let kinds = kinds_of(name);
        for field in fields {
            rules += 1;
            let has = refused.iter().any(|(kind, path)| {
                (kinds.is_empty() || kinds.contains(kind)) && ends_with(path, field)
            });
            if !has {
                writeln!(bare, "{name}.rs: no document is refused for {field}").expect("a string");
            }
        }
    }
    assert!(rules > 250, "only {rules} rules were found");
    assert!(bare.is_empty(), "\n{bare}");
}
