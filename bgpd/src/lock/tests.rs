use super::*;

#[test]
fn the_second_one_is_told_who_has_the_directory() {
    let dir = std::env::temp_dir().join(format!("margay-lock-{}", std::process::id()));
    let first = StateLock::take(&dir).expect("a new directory");
    let error = StateLock::take(&dir).expect_err("it is taken").to_string();
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    drop(first);
    StateLock::take(&dir).expect("it is free again");
    fs::remove_dir_all(&dir).expect("our own directory");
}
