use super::*;

#[test]
fn each_line_is_an_error_and_remedies_come_last() {
    let failure = Failure::usage("one\ntwo\n\nhelp: from the daemon").with_help("ours");
    assert_eq!(failure.text(), "error: one\nerror: two\nhelp: from the daemon\nhelp: ours\n");
}

#[test]
fn a_status_becomes_the_exit_code_it_means() {
    let code = |status: Status| Failure::from(status).exit_code();
    assert_eq!(code(Status::invalid_argument("x")), ExitCode::from(2));
    assert_eq!(code(Status::not_found("x")), ExitCode::from(1));
    assert_eq!(code(Status::unavailable("x")), ExitCode::from(1));
}

#[test]
fn a_daemon_that_keeps_silent_is_named_as_such() {
    let error: Box<dyn std::error::Error + Send + Sync> = Box::new(tonic::TimeoutExpired(()));
    let text = Failure::from(Status::from_error(error)).text();
    assert_eq!(text, "error: margay-bgpd is there but does not answer\n");
}

#[test]
fn whoever_went_away_is_named() {
    let gone = io::Error::from(io::ErrorKind::ConnectionReset);
    let text = Failure::of("margay-policy-dp", Status::from_error(gone.into())).text();
    assert_eq!(text, "error: margay-policy-dp went away before it had answered\n");
}

#[test]
fn operating_system_errors_have_no_numbers() {
    let error = io::Error::from_raw_os_error(2);
    assert_eq!(plain(&error), "no such file or directory");
}
