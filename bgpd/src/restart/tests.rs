use super::*;

fn boot(id: &str) -> Option<String> {
    Some(format!("{id}\n"))
}

#[test]
fn a_crash_is_told_from_a_stop_and_from_a_boot() {
    let dir = tempfile::tempdir().expect("a directory");
    let begin = |id| Running::begin_in(dir.path(), boot(id));
    let (_, restarted) = begin("one");
    assert!(!restarted, "the first start ever");
    // It is gone without a word.
    let (running, restarted) = begin("one");
    assert!(restarted);
    running.farewell();
    let (_, restarted) = begin("one");
    assert!(!restarted, "after a stop");
    let (_, restarted) = begin("two");
    assert!(!restarted, "after a boot");
    let (_, restarted) = begin("two");
    assert!(restarted);
}

#[test]
fn without_a_boot_id_no_start_is_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        assert!(!Running::begin_in(dir.path(), None).1);
    }
}
