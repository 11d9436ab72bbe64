use super::*;
use crate::parse;

const BASE: &str = r#"
[bgp]
asn = 65001
require-policy = false
originate = ["10.1.0.0/16"]

[[bgp.peer]]
name = "tor1"
address = "10.0.0.254"
asn = 65000
import = "p"
password = "first"

[policy.prefix-set.nets]
prefixes = ["10.0.0.0/8"]

[policy.route.p]
default = "accept"
rules = [{ match = { prefix-set = "nets" }, then = { action = "reject" } }]
"#;

fn desired(text: &str) -> Desired {
    parse(text, "t.toml", &|_| Err(std::io::ErrorKind::NotFound.into()))
        .unwrap_or_else(|faults| panic!("{faults:?}"))
        .desired
}

/// The steps of an edit as text, with their impact.
fn steps(edits: &[(&str, &str)]) -> Vec<(String, Impact)> {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let steps = diff(&desired(BASE), &desired(&text));
    steps.into_iter().map(|step| (step.to_string(), step.impact)).collect()
}

fn one(from: &str, to: &str) -> (String, Impact) {
    let mut steps = steps(&[(from, to)]);
    assert_eq!(steps.len(), 1, "{steps:?}");
    steps.remove(0)
}

#[test]
fn the_same_configuration_has_no_steps() {
    assert_eq!(steps(&[]), []);
    assert_eq!(steps(&[("asn = 65000\n", "asn = 65000 # the same\nport = 179\n")]), []);
}

#[test]
fn a_mode_of_a_local_asn_that_is_not_there_is_no_difference() {
    let alone = "asn = 65000\nlocal-asn-mode = \"replace\"\n";
    assert_eq!(steps(&[("asn = 65000\n", alone)]), []);
}

#[test]
fn a_peer_that_comes_or_goes_is_one_step() {
    let more = "[[bgp.peer]]\naddress = \"10.0.0.253\"\nasn = 65000\n[[bgp.peer]]\nname = \"tor1\"";
    assert_eq!(
        one("[[bgp.peer]]\nname = \"tor1\"", more),
        ("peer 10.0.0.253: added (its session starts)".to_owned(), Impact::Reset)
    );
    let renamed = steps(&[("name = \"tor1\"", "name = \"tor2\"")]);
    assert_eq!(renamed[0].0, "peer tor1: removed (its session ends)");
    assert_eq!(renamed[1].0, "peer tor2: added (its session starts)");
}

#[test]
fn a_changed_peer_says_what_changed_and_what_it_costs() {
    assert_eq!(
        one("asn = 65000\n", "asn = 65000\nhold-time = 9\npassive = true\n"),
        (
            "peer tor1: passive false -> true, hold-time 90 -> 9 (its session starts again)"
                .to_owned(),
            Impact::Reset
        )
    );
    assert_eq!(
        one("asn = 65000\n", "asn = 65000\ndescription = \"x\"\n"),
        ("peer tor1: description \"\" -> \"x\"".to_owned(), Impact::Live)
    );
    assert_eq!(
        one("asn = 65000\n", "asn = 65000\nlocal-address = \"10.0.0.1\"\n").0,
        "peer tor1: local-address not set -> \"10.0.0.1\" (its session starts again)"
    );
}

#[test]
fn a_changed_secret_is_a_step_without_the_secret() {
    assert_eq!(
        one("\"first\"", "\"second\""),
        ("peer tor1: password changed (its session starts again)".to_owned(), Impact::Reset)
    );
    assert_eq!(
        one("password = \"first\"\n", "").0,
        "peer tor1: password \"(secret)\" -> not set (its session starts again)"
    );
}

#[test]
fn a_changed_set_reaches_the_policies_and_peers_that_use_it() {
    let texts: Vec<String> =
        steps(&[("10.0.0.0/8", "11.0.0.0/8")]).into_iter().map(|(text, _)| text).collect();
    assert_eq!(
        texts,
        [
            "policy p: its sets changed",
            "peer tor1: import policy p changed (routes are evaluated again)",
        ]
    );
}

#[test]
fn originations_are_compared_by_prefix() {
    assert_eq!(
        steps(&[(
            "[\"10.1.0.0/16\"]",
            "[{ prefix = \"10.1.0.0/16\", blackhole = true }, \"::/0\"]"
        )]),
        [
            (
                "originate 10.1.0.0/16: \"10.1.0.0/16\" -> { prefix = \"10.1.0.0/16\", \
                 blackhole = true }"
                    .to_owned(),
                Impact::Live
            ),
            ("originate ::/0: added".to_owned(), Impact::Live),
        ]
    );
}

#[test]
fn redistribution_is_compared_by_source_and_table() {
    let with = "originate = [\"10.1.0.0/16\"]\nredistribute = [\"kernel\"]";
    assert_eq!(
        one("originate = [\"10.1.0.0/16\"]", with).0,
        "redistribute kernel of table 254: added"
    );
}

#[test]
fn what_a_running_daemon_cannot_take_over_says_so() {
    for (section, key) in [
        ("node", "state-dir = \"/tmp/x\""),
        ("node", "secrets-dir = \"/tmp/x\""),
        ("api", "socket = \"/tmp/x\""),
        ("http", "listen = \"\""),
    ] {
        let (text, impact) = one("[bgp]", &format!("[{section}]\n{key}\n\n[bgp]"));
        assert!(text.ends_with("(needs a restart of the daemon)"), "{text}");
        assert_eq!(impact, Impact::Restart);
    }
}

#[test]
fn keys_of_the_speaker_itself_concern_every_session() {
    assert_eq!(
        one("asn = 65001\n", "asn = 65001\nrouter-id = \"10.0.0.1\"\n"),
        (
            "bgp.router-id: not set -> \"10.0.0.1\" (every session starts again)".to_owned(),
            Impact::Reset
        )
    );
    assert_eq!(one("asn = 65001\n", "asn = 65001\nlisten = []\n").1, Impact::Live);
}

/// `bgp_impact` names keys, `fsm::global_change_impact` fields: this keeps them in step.
#[test]
fn the_impact_of_each_key_is_that_of_its_field() {
    for (key, value) in [
        ("asn", "65002"),
        ("router-id", "\"10.0.0.1\""),
        ("listen", "[]"),
        ("cluster-id", "\"10.0.0.1\""),
        ("confederation", "{ id = 64512, members = [65003] }"),
        ("multipath", "{ ebgp = 2, ibgp = 2, relax-as-path = true }"),
        ("require-policy", "true"),
        ("decision", "{ prefer-older = true }"),
        ("originate", "[\"10.9.0.0/16\"]"),
        ("redistribute", "[\"static\"]"),
    ] {
        let base = "[bgp]\nasn = 65001\nrequire-policy = false\n";
        let text = if base.contains(&format!("\n{key} =")) {
            let lines = base.lines().map(|line| match line.starts_with(&format!("{key} =")) {
                true => format!("{key} = {value}\n"),
                false => format!("{line}\n"),
            });
            lines.collect()
        } else {
            format!("{base}{key} = {value}\n")
        };
        let (old, new) = (desired(base), desired(&text));
        let id = Ipv4Addr::new(192, 0, 2, 1);
        let wanted = fsm::global_change_impact(&old.global(id), &new.global(id));
        let steps = diff(&old, &new);
        let got = steps.iter().map(|step| step.impact).max();
        assert_eq!(got, Some(wanted.into()), "{key}: {steps:?}");
    }
}

#[test]
fn the_whole_of_bgp_may_come_and_go() {
    let (none, some) = (desired(""), desired("[bgp]\nasn = 1\n"));
    assert_eq!(diff(&none, &some)[0].to_string(), "bgp: added (every session starts again)");
    assert_eq!(diff(&some, &none)[0].to_string(), "bgp: removed (every session starts again)");
}

#[test]
fn the_fib_names_its_keys() {
    let (old, new) = (desired(""), desired("[fib]\nmetric = 7\nexport = \"reject\"\n"));
    let texts: Vec<String> = diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["fib.metric: 32 -> 7", "fib.export: not set -> \"reject\" (routes are evaluated again)",]
    );
}
