use std::ffi::OsStr;

use super::*;

#[test]
fn the_definition_of_the_command_line_is_sound() {
    command().debug_assert();
}

#[test]
fn the_name_of_the_program_decides() {
    for name in ["calicoctl", "/usr/local/bin/calicoctl", "./calicoctl"] {
        assert!(is_meant(Some(OsStr::new(name))), "{name}");
    }
    for name in ["margay", "/usr/bin/margay", "kubectl-calico"] {
        assert!(!is_meant(Some(OsStr::new(name))), "{name}");
    }
    assert!(!is_meant(None));
}

#[test]
fn what_is_no_command_line_is_answered_as_by_the_original() {
    let error = Cli::try_parse_from(["calicoctl", "get", "--bogus"]).expect_err("no such option");
    let text = usage("get --bogus", &error);
    assert!(
        text.starts_with(
            "Invalid option: 'calicoctl get --bogus'. Use flag '--help' to read about a specific \
             subcommand.\n"
        ),
        "{text}"
    );
    assert!(text.contains("'--bogus'"), "{text}");
    let error = Cli::try_parse_from(["calicoctl", "delete", "ippool"]).expect_err("no name");
    let text = usage("delete ippool", &error);
    assert!(text.ends_with("not provided: <NAME>..."), "{text}");
}

#[test]
fn options_stand_anywhere_and_may_be_abbreviated() {
    for line in [
        "calicoctl get ippool -o wide",
        "calicoctl get -owide ippool --config=/etc/x",
        "calicoctl -c /etc/x get nodes --export",
        "calicoctl get wep -a",
        "calicoctl get wep --all-names",
        "calicoctl get -f pools.yaml",
        "calicoctl create --filename=x.yaml --skip-exists",
        "calicoctl patch node n1 -p {} -t strategic --allow-version-mismatch",
        "calicoctl label nodes n1 a=b --overwrite",
        "calicoctl ipam show --show-blocks",
        "calicoctl version --client",
        "calicoctl convert -f x -o json",
        "calicoctl node status",
        "calicoctl node checksystem",
        "calicoctl node checksystem -f /boot/config",
        "calicoctl node checksystem --kernel-config=/boot/config",
        "calicoctl node diags --log-dir=/var/log/calico",
    ] {
        let words = line.split(' ');
        assert!(Cli::try_parse_from(words).is_ok(), "{line}");
    }
    for line in ["calicoctl", "calicoctl get", "calicoctl delete ippool", "calicoctl get a -f b"] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn the_daemons_words_become_those_of_the_original() {
    for (ours, theirs) in [
        (
            "resource does not exist: IPPool(a)",
            "resource does not exist: IPPool(a) with error: not found",
        ),
        (
            "resource already exists: IPPool(a)",
            "resource already exists: IPPool(a) with error: it is there",
        ),
        ("update conflict: IPPool(a) was changed by somebody else", "update conflict: IPPool(a)"),
        ("the datastore is away", "the datastore is away"),
    ] {
        assert_eq!(refused::in_its_words(ours), theirs);
        assert_eq!(refused::in_its_words(theirs), theirs);
    }
}
