use super::*;

fn faults(text: &str) -> Vec<String> {
    let faults = parse(text, "policy-dp.toml").expect_err("something is wrong");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_word_everything_is_at_its_default() {
    let read = parse("", "policy-dp.toml").expect("nothing is wrong").dataplane;
    assert_eq!(read, Dataplane::default());
    assert_eq!(read.api, PathBuf::from("/run/margay/policy-dp.sock"));
    assert_eq!(read.bgpd, PathBuf::from("/run/margay/bgpd.sock"));
    assert_eq!(read.http, Some("127.0.0.1:9178".parse().expect("an address")));
}

#[test]
fn every_key_is_read() {
    let text = "[node]\nname = \"a\"\nlog-level = \"debug\"\n[bgpd]\nsocket = \"/tmp/b.sock\"\n\
                [api]\nsocket = \"/tmp/p.sock\"\n\
                [http]\nlisten = \"\"\n[policy]\nbackend = \"nftables\"\n\
                flow-logs = false\nhold-table = false\nguard = false\n";
    let read = parse(text, "policy-dp.toml").expect("nothing is wrong").dataplane;
    let expected = Dataplane {
        name: Some("a".into()),
        log_level: Some(LogLevel::Debug),
        api: "/tmp/p.sock".into(),
        bgpd: "/tmp/b.sock".into(),
        http: None,
        backend: Enforcement::Nftables,
        flow_logs: false,
        hold_table: false,
        guard: false,
    };
    assert_eq!(read, expected);
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let text = "[policy]\nbackend = \"ebpf\"\n";
    let expected = ["policy-dp.toml:2: policy.backend: ebpf: not supported in this version"];
    assert_eq!(faults(text), expected);
}

#[test]
fn each_fault_has_its_line_and_what_is_allowed() {
    let text = "node = 1\n[bgpd]\nsokcet = \"x\"\n[policy]\nbackend = \"iptables\"\n";
    let expected = [
        "policy-dp.toml:1: node: found 1, allowed: a table",
        "policy-dp.toml:3: bgpd.sokcet: unknown key, did you mean socket?",
        "policy-dp.toml:5: policy.backend: found \"iptables\", allowed: \"auto\", \"nftables\"",
    ];
    assert_eq!(faults(text), expected);
}

#[test]
fn a_text_that_is_no_toml_is_said_to_be_none() {
    let said = faults("[node\n");
    assert!(said.iter().any(|fault| fault.starts_with("policy-dp.toml:1: not TOML")), "{said:?}");
}
