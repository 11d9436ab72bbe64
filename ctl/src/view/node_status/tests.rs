use super::*;

fn peer(name: &str, address: Option<&str>, state: SessionState) -> v1::Peer {
    v1::Peer {
        name: name.to_owned(),
        address: address.map(str::to_owned),
        state: state.into(),
        admin_state: AdminState::Up.into(),
        uptime_seconds: (state == SessionState::Established).then_some(100),
        ..v1::Peer::default()
    }
}

#[test]
fn names_tell_what_makes_a_session() {
    for (name, wanted) in [
        ("Mesh_10_0_0_2", "node-to-node mesh"),
        ("Node_10_0_0_254", "node specific"),
        ("Global_10_0_0_254_port_1179", "global"),
        ("Local_Workload_10_1_0_2", "local workload"),
        ("tor1", "configuration file"),
    ] {
        assert_eq!(kind(name), wanted, "{name}");
    }
}

#[test]
fn sessions_stand_in_the_table_of_their_family() {
    let mut broken = peer("Global_10_0_0_9", Some("10.0.0.9"), SessionState::Active);
    broken.last_error = Some(v1::SessionError {
        text: "connection\u{1b}refused".into(),
        at: 500,
        ..Default::default()
    });
    let mut unnumbered = peer("uplink", None, SessionState::Idle);
    unnumbered.interface = Some("eth0".to_owned());
    unnumbered.admin_state = AdminState::Down.into();
    let status = NodeStatus::new(
        vec![
            peer("Mesh_10_0_0_2", Some("10.0.0.2"), SessionState::Established),
            peer("Mesh_fd00__2", Some("fd00::2"), SessionState::Established),
            broken,
            unnumbered,
        ],
        1000,
    );
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["ipv4"][0]["state"], "up");
    assert_eq!(json["ipv4"][0]["since"], 900);
    assert_eq!(json["ipv4"][1]["state"], "start");
    assert_eq!(json["ipv4"][1]["since"], 500);
    assert_eq!(json["ipv4"][1]["info"], "Active: connection?refused");
    assert_eq!(json["ipv6"][0]["type"], "node-to-node mesh");
    assert_eq!(
        (&json["ipv6"][1]["state"], &json["ipv6"][1]["since"]),
        (&"down".into(), &serde_json::Value::Null)
    );
    let mut text = Vec::new();
    status.text(false, Paint(false), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("10.0.0.2") && text.contains("1970-01-01T00:15:00Z"), "{text}");
    let mut empty = Vec::new();
    NodeStatus::new(Vec::new(), 0).text(false, Paint(false), &mut empty).unwrap();
    assert_eq!(String::from_utf8(empty).unwrap(), "IPv4: no peers\n\nIPv6: no peers\n");
}
