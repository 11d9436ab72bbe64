use super::*;

fn wish(v4: bool, v6: bool, v4_pools: &[&str], v6_pools: &[&str]) -> Wish {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let (v4_pools, v6_pools) = (names(v4_pools), names(v6_pools));
    Wish { v4, v6, exactly: Vec::new(), v4_pools, v6_pools }
}

#[test]
fn a_family_without_named_pools_is_not_bound_to_those_of_the_other() {
    let both = wants(&wish(true, true, &["a"], &[]));
    let four = (Want::Any { v4: 1, v6: 0 }, vec!["a".to_owned()]);
    assert_eq!(both, [four, (Want::Any { v4: 0, v6: 1 }, Vec::new())]);
    let named = vec!["a".to_owned(), "b".to_owned()];
    let both = wants(&wish(true, true, &["a"], &["b"]));
    assert_eq!(both, [(Want::Any { v4: 1, v6: 1 }, named)]);
    let six = wants(&wish(false, true, &["a"], &[]));
    assert_eq!(six, [(Want::Any { v4: 0, v6: 1 }, Vec::new())]);
}

#[test]
fn what_the_kernel_says_becomes_what_a_runtime_can_act_upon() {
    let path = std::path::PathBuf::from("/run/netns/a");
    let name = || "cali1".to_owned();
    let missing = |path: &Path, errno| {
        let err = std::io::Error::from_raw_os_error(errno);
        AttachError::NamespaceMissing { path: path.to_owned(), err }
    };
    for (error, cause) in [
        (AttachError::NamespaceGone { path: path.clone() }, Cause::Namespace),
        (missing(&path, 2), Cause::Namespace),
        (missing(&path, 24), Cause::Later),
        (missing(&path, 12), Cause::Later),
        (AttachError::NotANamespace { path }, Cause::Namespace),
        (AttachError::NameTaken { name: name() }, Cause::NameTaken),
        (AttachError::ContainerNameTaken { name: name() }, Cause::NameTaken),
    ] {
        assert_eq!(kernel(&error).cause, cause);
    }
}
