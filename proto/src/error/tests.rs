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
