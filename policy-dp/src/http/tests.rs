use super::*;
use crate::enforcer::Cluster;

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
fn every_metric_has_its_help_its_kind_and_its_samples() {
    let status = Status { steps: 7, seconds: 0.5, tables: 3, ..Status::default() };
    let text = exposition(&status, &Standing::default(), Counts::default());
    assert!(text.contains("\nmargay_policy_steps_applied_total 7\n"), "{text}");
    assert!(text.contains("\nmargay_policy_apply_seconds_total 0.5\n"), "{text}");
    let mut names = Vec::new();
    for metric in text.split("# HELP ").skip(1) {
        let mut lines = metric.lines();
        let name = lines.next().and_then(|help| help.split(' ').next()).expect("a name");
        assert!(lines.next().is_some_and(|kind| kind.starts_with(&format!("# TYPE {name} "))));
        let samples: Vec<_> = lines.collect();
        assert!(!samples.is_empty() && samples.iter().all(|line| line.starts_with(name)));
        names.push(name);
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "each name stands once");
}

#[test]
fn what_felix_counts_stands_under_its_name_too() {
    let counts = crate::enforcer::Counts {
        endpoints: 3,
        policies: 4,
        cluster: Cluster { policies: 9, ..Cluster::default() },
        ..crate::enforcer::Counts::default()
    };
    let status = Status { counts, failures: 2, seconds: 0.5, tables: 3, ..Status::default() };
    let text = exposition(&status, &Standing::default(), Counts::default());
    for line in [
        "felix_active_local_endpoints 3",
        "felix_active_local_policies 4",
        "felix_cluster_num_policies 9",
        "felix_int_dataplane_failures 2",
        "felix_int_dataplane_apply_time_seconds_sum 0.5",
        "felix_int_dataplane_apply_time_seconds_count 3",
        "margay_policy_cluster_policies 9",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}
