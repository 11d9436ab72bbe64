use super::*;

#[test]
fn an_invalid_argument_names_its_field() {
    let status = invalid_argument("prefix", "\"10.0.0.0/33\" is not a prefix");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "\"10.0.0.0/33\" is not a prefix");
    assert_eq!(field(&status).as_deref(), Some("prefix"));
}

#[test]
fn another_error_names_no_field() {
    assert_eq!(field(&Status::not_found("no such peer")), None);
}

#[test]
fn an_error_carries_its_cni_code_and_one_without_says_whether_to_try_again() {
    let taken = with_cni_code(Status::already_exists("10.0.0.1 is taken"), 101);
    assert_eq!(cni_code(&taken), 101);
    assert_eq!(taken.message(), "10.0.0.1 is taken");
    assert_eq!(cni_code(&Status::unavailable("away")), 11);
    assert_eq!(cni_code(&Status::invalid_argument("no")), 7);
    let mut odd = Status::unavailable("away");
    odd.metadata_mut().insert(CNI_CODE, MetadataValue::from_static("many"));
    assert_eq!(cni_code(&odd), 11);
}
