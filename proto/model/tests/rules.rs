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
        .replace("PATHS21", &numbered(21, &|n| format!("{{exact: /{n}}}")))
}

/// What the spec of a kind needs to be one, where the metadata is what matters.
fn bare_spec(kind: Kind) -> &'static str {
    match kind {
        Kind::IpPool => "{cidr: 10.0.0.0/16}",
        _ => "{}",
    }
}

/// `KIND SPEC`, `KIND+NAME SPEC` or `KIND+meta METADATA` as a document.
fn document(example: &str) -> String {
    let (kind, body) = example.split_once(' ').expect("a kind and a body");
    let (kind, name) = kind.split_once('+').unwrap_or((kind, ""));
    let known = Kind::from_name(kind).unwrap_or_else(|| panic!("no kind {kind}"));
    let namespace = if known.scope() == Scope::Namespaced { ", namespace: n" } else { "" };
    let (metadata, spec) = match name {
        "meta" => (expanded(body), bare_spec(known).to_owned()),
        // Its name is made of its spec.
        "" if known == Kind::WorkloadEndpoint => ("{namespace: n}".into(), expanded(body)),
        "" => (format!("{{name: a{namespace}}}"), expanded(body)),
        name => (format!("{{name: {name}{namespace}}}"), expanded(body)),
    };
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {metadata}, spec: {spec}}}"
    )
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
