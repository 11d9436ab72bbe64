use super::*;

#[test]
fn an_instance_lives_as_long_as_its_state_directory() {
    let folder = std::env::temp_dir().join(format!("margay-instance-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let first = of(&folder).expect("it is made");
    assert_eq!(of(&folder).expect("it is read"), first);
    fs::write(folder.join(FILE), "half of a").expect("a file");
    let said = of(&folder).expect_err("it is none").to_string();
    assert!(said.contains("holds no instance id"), "{said}");
    fs::remove_file(folder.join(FILE)).expect("it is there");
    assert_ne!(of(&folder).expect("it is made"), first);
    fs::remove_dir_all(&folder).expect("it is there");
}
