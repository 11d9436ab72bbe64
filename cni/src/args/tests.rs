use super::*;

fn parse(text: &str) -> Args {
    Args::parse(text, Faults::Refuse).expect("valid")
}

#[test]
fn what_containerd_says_of_a_pod_is_understood() {
    let args = parse(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;\
         K8S_POD_INFRA_CONTAINER_ID=0123;K8S_POD_UID=5e-6",
    );
    assert_eq!(args.pod_namespace.as_deref(), Some("shop"));
    assert_eq!(args.pod_name.as_deref(), Some("web-1"));
    assert_eq!(args.pod_uid.as_deref(), Some("5e-6"));
    assert!(args.unknown.is_empty());
}

#[test]
fn nothing_at_all_is_no_fault() {
    assert_eq!(parse(""), Args::default());
    assert_eq!(parse(" ; ;"), Args::default());
}

#[test]
fn an_empty_value_is_none() {
    assert_eq!(parse("K8S_POD_NAME=").pod_name, None);
}

#[test]
fn addresses_of_both_families_may_be_asked_for() {
    let args = parse("IP=10.0.0.7/24,2001:db8::7");
    let expected: Vec<IpAddr> = vec!["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    assert_eq!(args.addresses, expected);
}

#[test]
fn a_fault_is_told_unless_it_must_not_matter() {
    for (text, told) in [
        ("IP=10.0.0", "CNI_ARGS: IP=10.0.0: not an address"),
        ("K8S_POD_NAME", "CNI_ARGS: \"K8S_POD_NAME\" is not KEY=VALUE"),
    ] {
        let error = Args::parse(text, Faults::Refuse).expect_err("refused");
        assert_eq!((error.code, error.msg.as_str()), (Code::InvalidEnvironment, told));
        assert_eq!(Args::parse(text, Faults::Drop), Ok(Args::default()));
    }
}

#[test]
fn unknown_keys_are_remembered_unless_they_are_to_be_ignored() {
    assert_eq!(parse("COLOUR=red").unknown, ["COLOUR"]);
    assert_eq!(parse("COLOUR=red;IgnoreUnknown=true").unknown, Vec::<String>::new());
    assert_eq!(parse("IgnoreUnknown=0;COLOUR=red").unknown, ["COLOUR"]);
}

#[test]
fn a_value_may_have_equals_signs() {
    assert_eq!(parse("K8S_POD_UID=a=b").pod_uid.as_deref(), Some("a=b"));
}
