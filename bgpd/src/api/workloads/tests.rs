use margay_ipam::Pool;
use margay_proto::{error::cni_code, v1::add_workload_request::Ipam};
use margay_workload::Source;

use super::*;

fn request() -> v1::AddWorkloadRequest {
    v1::AddWorkloadRequest {
        attachment: Some(v1::Attachment {
            network: "net".into(),
            container_id: "c1".into(),
            ifname: "eth0".into(),
        }),
        netns: "/run/netns/a".into(),
        ..v1::AddWorkloadRequest::default()
    }
}

fn given(address: &str) -> v1::WorkloadIp {
    v1::WorkloadIp { address: address.into(), ..v1::WorkloadIp::default() }
}

#[test]
fn a_request_that_says_nothing_more_wants_one_ipv4_address() {
    let (id, spec, _) = convert::wanted(request()).expect("it can be served");
    assert_eq!(id.handle(), "net.c1");
    assert_eq!(spec.mode, Mode::Link);
    let Source::Assign(wish) = spec.source else { panic!("assigned") };
    assert!(wish.v4 && !wish.v6 && wish.exactly.is_empty());
}

#[test]
fn foreign_addresses_are_taken_without_their_length() {
    let ips = vec![given("10.1.0.5/24"), given("fd00::5/64")];
    let ipam = Some(Ipam::Given(v1::GivenAddresses { ips }));
    let (_, spec, _) =
        convert::wanted(v1::AddWorkloadRequest { ipam, ..request() }).expect("served");
    let both = ["10.1.0.5", "fd00::5"].map(|text| text.parse().expect("an address"));
    assert_eq!(spec.source, Source::Given(both.to_vec()));
}

#[test]
fn leased_addresses_come_after_the_link() {
    let wanted = |ips, mode: v1::AttachmentMode| {
        let ipam = Some(Ipam::Leased(v1::LeasedAddresses { ips }));
        convert::wanted(v1::AddWorkloadRequest { ipam, mode: mode.into(), ..request() })
    };
    let (_, spec, _) = wanted(Vec::new(), v1::AttachmentMode::Link).expect("served");
    assert_eq!(spec.source, Source::Leased(Vec::new()));
    let (_, spec, _) =
        wanted(vec![given("10.1.0.5/24")], v1::AttachmentMode::Link).expect("served");
    assert_eq!(spec.source, Source::Leased(vec!["10.1.0.5".parse().expect("an address")]));
    let refused = wanted(Vec::new(), v1::AttachmentMode::Addresses);
    assert_eq!(refused.expect_err("there is no link").cause, Cause::Invalid("leased"));
}

#[test]
fn what_cannot_be_is_refused_by_field_and_not_tried_again() {
    let bad = |change: fn(&mut v1::AddWorkloadRequest)| {
        let mut request = request();
        change(&mut request);
        let status = failed(convert::wanted(request).expect_err("it cannot be"));
        assert_eq!(cni_code(&status), 7, "{status:?}");
        margay_proto::error::field(&status).expect("it names a field")
    };
    assert_eq!(bad(|request| request.attachment = None), "attachment");
    assert_eq!(bad(|request| request.netns = "a".into()), "netns");
    assert_eq!(bad(|request| request.queues = 4), "queues");
    assert_eq!(bad(|request| request.pod = Some(v1::PodIdentity::default())), "pod");
    assert_eq!(
        bad(|request| request
            .routes
            .push(v1::WorkloadRoute { destination: "x".into(), gateway: String::new() })),
        "routes"
    );
    assert_eq!(
        bad(|request| request.ipam = Some(Ipam::Assign(v1::AssignByUs::default()))),
        "assign"
    );
    assert_eq!(
        bad(|request| {
            let ips = vec![given("10.0.0.256")];
            request.ipam = Some(Ipam::Given(v1::GivenAddresses { ips }));
        }),
        "given"
    );
}

#[test]
fn each_cause_has_its_code() {
    for (cause, code) in [
        (Cause::Later, 11),
        (Cause::Exhausted, 11),
        (Cause::Namespace, 4),
        (Cause::Forbidden, 7),
        (Cause::Kernel, 100),
        (Cause::AddressTaken, 101),
        (Cause::NameTaken, 102),
        (Cause::Different, 103),
    ] {
        assert_eq!(cni_code(&failed(Failure::new(cause, "x"))), code);
    }
}

#[test]
fn a_status_looks_at_the_pools_that_an_add_would_be_bound_to() {
    let row = |pool: &str, cidr: &str, free| UseRow {
        cidr: cidr.parse().expect("a network"),
        is_block: false,
        pool: Some(pool.to_owned()),
        node: None,
        state: "active",
        total: 256,
        in_use: 256 - free,
        cooling: 0,
        reserved: 0,
        free,
    };
    let rows = [row("full", "10.1.0.0/24", 0), row("blue", "10.2.0.0/24", 9)];
    let pool = |row: &UseRow| {
        Pool::new(row.pool.as_deref().expect("a pool"), row.cidr, 28).expect("it fits")
    };
    let mut all = rows.each_ref().map(pool);
    let of = |all: &[Pool; 2], names: &[&str]| {
        let all = Pools::new(all.iter().cloned());
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let (ipv4, ipv4_pools) = (true, names);
        let wish = v1::AssignByUs { ipv4, ipv4_pools, ..v1::AssignByUs::default() };
        pools(&wish).iter().all(|(family, named)| has_room(&rows, &all, *family, named).is_ok())
    };
    let has = |names: &[&str]| of(&all, names);
    assert!(has(&[]) && has(&["blue"]) && has(&["10.2.0.0/24"]) && has(&["full", "blue"]));
    assert!(!has(&["full"]) && !has(&["10.1.0.0/24"]) && !has(&["none-such"]));
    let both = Pools::new(all.iter().cloned());
    assert!(has_room(&rows, &both, Family::V6, &[]).is_err());
    // Used where it is named only, or nowhere.
    all[1].selects_node = false;
    assert!(!of(&all, &[]) && of(&all, &["blue"]));
    all[1].selects_node = true;
    all[1].mode = AssignmentMode::Manual;
    assert!(!of(&all, &[]) && of(&all, &["blue"]));
    all[1].mode = AssignmentMode::Automatic;
    all[1].uses = [Use::Tunnel].into();
    assert!(!of(&all, &[]) && !of(&all, &["blue"]));
}

#[test]
fn what_comes_after_its_time_is_not_begun() {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).expect("a clock");
    let millis = |time: Duration| u64::try_from(time.as_millis()).expect("not so long ago");
    assert!(in_time(0).is_ok(), "whenever");
    assert!(in_time(millis(now + Duration::from_secs(60))).is_ok());
    let late = in_time(millis(now).saturating_sub(1000).max(1)).expect_err("too late");
    assert_eq!(cni_code(&late), 11);
    assert!(late.message().contains("after its time"), "{late}");
}
