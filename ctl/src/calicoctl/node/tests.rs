use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_time_is_of_today_or_a_date() {
    // 2026-11-22 09:42:00 UTC.
    let now = at(1_795_340_520);
    assert_eq!(since(60, now), "09:41:00");
    assert_eq!(since(10 * 3600, now), "2026-11-21");
    assert_eq!(since(0, at(951_782_400)), "00:00:00");
    assert_eq!(since(86_400, at(951_868_800)), "2000-02-29");
    assert_eq!(since(86_400, at(946_684_800)), "1999-12-31");
    assert_eq!(since(1 << 40, at(86_400)), "1970-01-01");
}

#[test]
fn sessions_stand_by_family_with_their_type() {
    let peer = |name: &str, address: &str, state: SessionState, uptime| v1::Peer {
        name: name.into(),
        address: Some(address.into()),
        state: state.into(),
        admin_state: AdminState::Up.into(),
        uptime_seconds: uptime,
        ..v1::Peer::default()
    };
    let peers = [
        peer("Mesh_10_0_0_2", "10.0.0.2", SessionState::Established, Some(60)),
        peer("Global_10_0_0_254", "10.0.0.254", SessionState::Active, None),
        peer("tor1", "10.0.0.253", SessionState::Connect, None),
        peer("Local_Workload_10_1_0_9", "10.1.0.9", SessionState::Idle, None),
    ];
    assert_eq!(
        status(&peers, at(1_795_340_520)),
        "\
Calico process is running.

IPv4 BGP status
+--------------+-------------------+-------+----------+-------------+
| PEER ADDRESS |     PEER TYPE     | STATE |  SINCE   |    INFO     |
+--------------+-------------------+-------+----------+-------------+
| 10.0.0.2     | node-to-node mesh | up    | 09:41:00 | Established |
| 10.0.0.254   | global            | start |          | Active      |
| 10.0.0.253   | node specific     | start |          | Connect     |
+--------------+-------------------+-------+----------+-------------+

IPv6 BGP status
No IPv6 peers found.

"
    );
}
