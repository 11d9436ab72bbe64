use super::*;

fn report(action: Action, kinds: &[&'static str], done: usize, errors: &[&str]) -> Report {
    let mut tally = Tally::new(action, kinds);
    (0..done).for_each(|_| tally.done());
    errors.iter().for_each(|error| tally.failed(*error));
    tally.report()
}

fn says(out: &str, err: &str) -> Report {
    Report { out: out.to_owned(), err: err.to_owned() }
}

#[test]
fn success_names_the_kind_if_there_is_one() {
    assert_eq!(
        report(Action::Apply, &["IPPool"], 1, &[]),
        says("Successfully applied 1 'IPPool' resource(s)\n", "")
    );
    assert_eq!(
        report(Action::Create { skip: false }, &["IPPool", "Tier"], 2, &[]),
        says("Successfully created 2 resource(s)\n", "")
    );
    assert_eq!(
        report(Action::Patch, &["Node"], 1, &[]),
        says("Successfully patched 1 'Node' resource\n", "")
    );
    assert_eq!(
        report(Action::Validate, &["Tier"; 3], 3, &[]),
        says("Successfully validated 3 'Tier' resource(s)\n", "")
    );
}

#[test]
fn nothing_done_is_a_failure_of_one_or_of_any() {
    assert_eq!(
        report(Action::Create { skip: false }, &["IPPool"], 0, &["it is there"]),
        says("", "failed to create 'IPPool' resource: [it is there]\n")
    );
    assert_eq!(
        report(Action::Replace, &["IPPool", "IPPool"], 0, &["a", "b"]),
        says("", "failed to replace any 'IPPool' resources: [a b]\n")
    );
    assert_eq!(
        report(Action::Apply, &["IPPool", "Tier"], 0, &["a", "b"]),
        says("", "failed to apply any resources: [a b]\n")
    );
}

#[test]
fn some_done_is_a_partial_success() {
    assert_eq!(
        report(Action::Create { skip: false }, &["IPPool"; 3], 2, &["a"]),
        says(
            "Partial success: created the first 2 out of 3 'IPPool' resources:\n",
            "hit error: [a]\n"
        )
    );
}

#[test]
fn a_deletion_tells_each_failure_on_its_own() {
    assert_eq!(
        report(Action::Delete, &["Tier"; 3], 1, &["a", "b"]),
        says(
            "Successfully deleted 1 'Tier' resource(s)\n",
            "Failed to delete 'Tier' resource: a\nFailed to delete 'Tier' resource: b\n"
        )
    );
    assert_eq!(
        report(Action::Delete, &["Tier"], 0, &["a"]),
        says("", "Failed to delete 'Tier' resource: a\n")
    );
}
