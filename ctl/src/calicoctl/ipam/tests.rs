use super::*;

#[test]
fn an_address_in_use_names_its_handle_and_owner() {
    let mut answer = v1::ShowAddressResponse {
        address: "10.0.0.1".into(),
        state: "in-use".into(),
        handle: Some("h1".into()),
        ..v1::ShowAddressResponse::default()
    };
    answer.attributes.insert("pod".into(), "web-0".into());
    answer.attributes.insert("namespace".into(), "prod".into());
    assert_eq!(
        who(&answer),
        "IP 10.0.0.1 is in use\nHandle ID: h1\nActive Owner Attributes:\n  namespace: prod\n  pod: \
         web-0\n"
    );
    answer.state = "cooling".into();
    assert_eq!(who(&answer), "10.0.0.1 is not assigned\n");
}

#[test]
fn a_check_counts_what_it_found() {
    let none = found(&v1::CheckIpamResponse::default(), Shown::All);
    assert_eq!(none, "Checking IPAM for inconsistencies...\n\nCheck complete; found 0 problems.\n");
    let problem = v1::IpamProblem {
        kind: "blocks-overlap".into(),
        block: Some("10.0.0.0/26".into()),
        detail: "with 10.0.0.0/27".into(),
        ..v1::IpamProblem::default()
    };
    let one = found(
        &v1::CheckIpamResponse { problems: vec![problem], ..v1::CheckIpamResponse::default() },
        Shown::None,
    );
    assert!(one.contains("\n  10.0.0.0/26: blocks-overlap: with 10.0.0.0/27\n"), "{one}");
    assert!(one.ends_with("\nCheck complete; found 1 problems.\n"), "{one}");
}

#[test]
fn a_check_shows_the_addresses_that_were_asked_for() {
    let held = |address: &str, leaked: Option<&str>| v1::HeldAddress {
        address: address.into(),
        node: "n1".into(),
        handle: "h".into(),
        leaked: leaked.map(str::to_owned),
        ..v1::HeldAddress::default()
    };
    let addresses = vec![held("10.0.0.1", None), held("10.0.0.2", Some("nobody uses it"))];
    let answer = v1::CheckIpamResponse { addresses, ..v1::CheckIpamResponse::default() };
    let (used, leaked) = ("  10.0.0.1 in use; n1:h\n", "  10.0.0.2 leaked; n1:h\n");
    for (shown, expected) in
        [(Shown::None, [false; 2]), (Shown::Leaked, [false, true]), (Shown::All, [true; 2])]
    {
        let text = found(&answer, shown);
        assert_eq!([text.contains(used), text.contains(leaked)], expected, "{text}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let refused = unsupported("ipam check", &[(false, "--a"), (true, "--b")], "see c");
    assert_eq!(
        refused.expect_err("it is refused").into_text(),
        "ipam check --b is not supported: see c"
    );
    assert_eq!(unsupported("ipam check", &[(false, "--a")], "see c"), Ok(()));
}
