use super::*;

#[test]
fn names_that_the_specification_does_not_allow_are_refused_by_field() {
    let long = "a".repeat(LONGEST + 1);
    for (network, container, ifname, field) in [
        ("", "c", "eth0", "network"),
        ("a/b", "c", "eth0", "network"),
        ("-a", "c", "eth0", "network"),
        ("n", "", "eth0", "container_id"),
        ("n", "../c", "eth0", "container_id"),
        ("n", long.as_str(), "eth0", "container_id"),
        ("n", "c", "", "ifname"),
        ("n", "c", "sixteen-octets-x", "ifname"),
        ("n", "c", "..", "ifname"),
        ("n", "c", "a b", "ifname"),
    ] {
        let error = AttachmentId::new(network, container, ifname).expect_err(field);
        assert_eq!(error.cause, crate::Cause::Invalid(field), "{error}");
    }
    AttachmentId::new("k8s-pod-network", "0af3", "eth0").expect("it is one");
}

#[test]
fn handles_of_different_attachments_differ() {
    let handle = |n, c, i| AttachmentId::new(n, c, i).expect("it is one").handle();
    assert_eq!(handle("net", "c1", "eth0"), "net.c1");
    let all = [
        handle("net", "c1", "eth0"),
        handle("net", "c1", "eth1"),
        handle("net.c1", "eth1", "eth0"),
        handle("net", "c1.eth1", "eth0"),
        handle("net", "c1.eth1", "eth1"),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn a_hardware_address_is_read_as_it_is_written() {
    let mac = Mac([0xee, 0, 1, 2, 3, 0xff]);
    assert_eq!(Mac::try_from(mac.to_string()), Ok(mac));
    for text in ["", "ee:00:01:02:03", "ee:00:01:02:03:04:05", "eg:00:01:02:03:04", "+e:0:0:0:0:0"]
    {
        Mac::try_from(text.to_owned()).expect_err(text);
    }
}
