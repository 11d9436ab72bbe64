use super::*;

#[test]
fn ready_is_who_has_enforced_once_and_what_is_wrong_is_said() {
    let (mut status, mut standing) = (Status::default(), Standing::default());
    let (code, text) = readiness(&status, &standing);
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("not everything has been heard"), "{text}");
    (status.enforcing, standing.connected) = (true, true);
    assert_eq!(readiness(&status, &standing), (StatusCode::OK, "ok\n".to_owned()));
    standing = Standing { connected: false, cause: "it is silent".to_owned(), losses: 1 };
    status.trouble = Some("no room".to_owned());
    let (code, text) = readiness(&status, &standing);
    assert_eq!(code, StatusCode::OK);
    assert!(text.contains("it is silent") && text.contains("no room"), "{text}");
}

#[test]
fn every_metric_has_its_help_its_kind_and_one_sample() {
    let status = Status { steps: 7, seconds: 0.5, ..Status::default() };
    let text = exposition(&status, &Standing::default(), Counts::default());
    assert!(text.contains("\nmargay_policy_steps_applied_total 7\n"), "{text}");
    assert!(text.ends_with("\nmargay_policy_apply_seconds_total 0.5\n"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    for metric in lines.chunks(3) {
        let [help, kind, sample] = metric else { panic!("{metric:?}") };
        let name = sample.split(' ').next().expect("a name");
        assert!(help.starts_with(&format!("# HELP {name} ")), "{help}");
        assert!(kind.starts_with(&format!("# TYPE {name} ")), "{kind}");
    }
}
