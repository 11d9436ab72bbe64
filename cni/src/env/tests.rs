use super::*;

const ADD: &[(&str, &str)] = &[
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c0ffee"),
    ("CNI_NETNS", "/run/netns/blue"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_ARGS", "IgnoreUnknown=1"),
    ("CNI_PATH", "/opt/cni/bin:relative:/usr/lib/cni"),
];

/// Some variables, with changes; `None` takes one away.
fn read(changes: &[(&str, Option<&str>)]) -> Result<Environment, Error> {
    let variables: std::collections::BTreeMap<&str, &str> = ADD
        .iter()
        .copied()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
        .chain(changes.iter().filter_map(|(name, value)| Some((*name, (*value)?))))
        .collect();
    Environment::read(|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn refused(changes: &[(&str, Option<&str>)]) -> String {
    let error = read(changes).expect_err("refused");
    assert_eq!(error.code, Code::InvalidEnvironment);
    error.msg
}

#[test]
fn an_add_has_everything() {
    let environment = read(&[]).expect("valid");
    assert_eq!(environment.verb, Verb::Add);
    assert_eq!(environment.target.container_id, "c0ffee");
    assert_eq!(environment.target.netns, Some("/run/netns/blue".into()));
    assert_eq!(environment.target.ifname, "eth0");
    assert_eq!(environment.args, "IgnoreUnknown=1");
    assert!(!environment.may_be_own_netns);
}

#[test]
fn plugins_are_not_looked_for_where_the_runtime_happens_to_be() {
    let path = read(&[]).expect("valid").path;
    assert_eq!(path, [PathBuf::from("/opt/cni/bin"), "/usr/lib/cni".into()]);
}

#[test]
fn every_missing_variable_is_named() {
    let none = [("CNI_CONTAINERID", None), ("CNI_NETNS", None), ("CNI_IFNAME", None)];
    assert_eq!(refused(&none), "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME not set: ADD needs it");
    assert_eq!(refused(&[("CNI_NETNS", Some(""))]), "CNI_NETNS not set: ADD needs it");
    let check = [("CNI_COMMAND", Some("CHECK")), ("CNI_NETNS", None)];
    assert_eq!(refused(&check), "CNI_NETNS not set: CHECK needs it");
    let del = [("CNI_COMMAND", Some("DEL")), ("CNI_CONTAINERID", None)];
    assert_eq!(refused(&del), "CNI_CONTAINERID not set: DEL needs it");
}

#[test]
fn a_network_namespace_is_an_absolute_path() {
    let relative = ("CNI_NETNS", Some("run/netns/blue"));
    assert_eq!(refused(&[relative]), "CNI_NETNS: \"run/netns/blue\" is no absolute path");
    read(&[relative, ("CNI_COMMAND", Some("DEL"))]).expect("a DEL does not need it");
}

#[test]
fn a_del_may_come_without_network_namespace() {
    let del = read(&[("CNI_COMMAND", Some("DEL")), ("CNI_NETNS", None)]).expect("valid");
    assert_eq!(del.target.netns, None);
}

#[test]
fn gc_status_and_version_are_about_no_container() {
    for verb in ["GC", "STATUS", "VERSION"] {
        let none = [
            ("CNI_COMMAND", Some(verb)),
            ("CNI_CONTAINERID", None),
            ("CNI_NETNS", None),
            ("CNI_IFNAME", None),
        ];
        assert_eq!(read(&none).expect("valid").target, Target::default(), "{verb}");
    }
}

#[test]
fn a_command_that_nobody_knows_is_refused_with_those_that_there_are() {
    let error = read(&[("CNI_COMMAND", Some("UPDATE"))]).expect_err("refused");
    assert_eq!(error.code, Code::InvalidEnvironment);
    assert_eq!(error.msg, "CNI_COMMAND: unknown command \"UPDATE\"");
    assert!(error.details.contains("STATUS"), "{}", error.details);
    assert_eq!(refused(&[("CNI_COMMAND", None)]), "CNI_COMMAND is not set");
}

#[test]
fn a_container_id_has_no_strange_letters() {
    for id in ["../etc", "a b", "-a", ".a", "a/b", "ä"] {
        let said = refused(&[("CNI_CONTAINERID", Some(id))]);
        assert!(said.starts_with("CNI_CONTAINERID: "), "{id}: {said}");
    }
    for id in ["a", "0", "A_b.c-d"] {
        assert!(read(&[("CNI_CONTAINERID", Some(id))]).is_ok(), "{id}");
    }
}

#[test]
fn an_interface_name_is_one_that_the_kernel_takes() {
    let faults = [
        ("sixteen-letters-", "is longer than 15 characters"),
        ("..", "is no interface name"),
        ("a/b", "has a slash, a colon, a percent sign or a space"),
        ("eth0:1", "has a slash, a colon, a percent sign or a space"),
        ("eth%d", "has a slash, a colon, a percent sign or a space"),
        ("a b", "has a slash, a colon, a percent sign or a space"),
    ];
    for (name, fault) in faults {
        let said = refused(&[("CNI_IFNAME", Some(name))]);
        assert_eq!(said, format!("CNI_IFNAME: {name:?} {fault}"));
    }
    assert!(read(&[("CNI_IFNAME", Some("fifteen-letters"))]).is_ok());
}

#[test]
fn the_override_is_a_truth() {
    for (value, truth) in [("true", true), ("1", true), ("Yes", true), ("0", false), ("", false)] {
        let environment = read(&[("CNI_NETNS_OVERRIDE", Some(value))]).expect("valid");
        assert_eq!(environment.may_be_own_netns, truth, "{value:?}");
    }
}
