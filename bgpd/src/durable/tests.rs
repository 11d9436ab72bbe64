use super::*;

#[test]
fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("name");
    write(&path, "a longer text").expect("written");
    write(&path, "short").expect("written");
    assert_eq!(fs::read_to_string(&path).expect("there"), "short");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
}

#[test]
fn a_file_that_cannot_be_written_is_left_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("name");
    write(&path, "before").expect("written");
    fs::create_dir(path.with_extension("new")).expect("in the way");
    assert!(write(&path, "after").is_err());
    assert_eq!(fs::read_to_string(&path).expect("there"), "before");
}
