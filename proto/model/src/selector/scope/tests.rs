use super::*;

fn expression(text: &str) -> Expression {
    text.parse::<Selector>().unwrap().expression().clone()
}

fn selector(text: &str) -> Option<Selector> {
    Some(text.parse().unwrap())
}

#[test]
fn rules_combine_with_their_namespace() {
    let rule = |selector: Option<Selector>, namespaces: Option<Selector>| EntityRule {
        selector,
        namespace_selector: namespaces,
        ..EntityRule::default()
    };
    for (rule, expected) in [
        (rule(selector("x == 'y'"), None), "(projectcalico.org/namespace == 'ns1') && (x == 'y')"),
        (rule(selector("x == 'y'"), selector("team == 'a'")), "(pcns.team == \"a\") && (x == 'y')"),
        (rule(None, selector("all()")), "has(projectcalico.org/namespace)"),
        (
            rule(selector("x == 'y'"), selector("global()")),
            "(!has(projectcalico.org/namespace)) && (x == 'y')",
        ),
    ] {
        assert_eq!(entity(Some("ns1"), &rule), Some(expression(expected)), "{expected}");
    }
}

#[test]
fn a_negative_selector_alone_keeps_to_the_namespace_of_its_policy() {
    let rule = EntityRule { not_selector: selector("x == 'y'"), ..EntityRule::default() };
    let in_namespace = expression("projectcalico.org/namespace == 'ns1'");
    assert_eq!(entity(Some("ns1"), &rule), Some(in_namespace));
    assert_eq!(entity(None, &rule), None);
    assert_eq!(entity(Some("ns1"), &EntityRule::default()), None);
}

#[test]
fn service_accounts_are_labels_too() {
    let accounts = crate::kinds::ServiceAccountMatch {
        names: vec!["a".into(), "b".into()],
        selector: selector("team == 'x'"),
    };
    let rule = EntityRule { service_accounts: Some(accounts), ..EntityRule::default() };
    let expected = "projectcalico.org/serviceaccount in {'a', 'b'} && pcsa.team == 'x'";
    assert_eq!(entity(None, &rule), Some(expression(expected)));
}

#[test]
fn policies_apply_to_what_their_selectors_name() {
    let of = |own: &str, namespaces: Option<&str>, accounts: Option<&str>| {
        let parsed = |text: &str| text.parse::<Selector>().unwrap();
        let (own, namespaces, accounts) =
            (parsed(own), namespaces.map(parsed), accounts.map(parsed));
        policy(None, Some(&own), namespaces.as_ref(), accounts.as_ref())
    };
    let workloads = "has(projectcalico.org/namespace)";
    assert_eq!(policy(None, None, None, None), Expression::All);
    let all = "all()".parse().unwrap();
    assert_eq!(policy(None, None, Some(&all), None), expression(workloads));
    assert_eq!(
        of("all()", Some("a == 'b'"), None),
        expression(&format!("{workloads} && pcns.a == 'b'"))
    );
    assert_eq!(of("all()", None, None), Expression::All);
    assert_eq!(
        of("x == 'y'", None, Some("all()")),
        expression("x == 'y' && has(projectcalico.org/serviceaccount)")
    );
    let spec = NetworkPolicySpec { selector: selector("x == 'y'"), ..NetworkPolicySpec::default() };
    assert_eq!(
        network_policy("n", &spec),
        expression("x == 'y' && projectcalico.org/namespace == 'n'")
    );
}
