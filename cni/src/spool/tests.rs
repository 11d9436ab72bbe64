use std::os::unix::fs::PermissionsExt;

use margay_proto::v1::Attachment;

use super::*;

fn request(container: &str) -> DeleteWorkloadRequest {
    DeleteWorkloadRequest {
        attachment: Some(Attachment {
            network: "blue".into(),
            container_id: container.into(),
            ifname: "eth0".into(),
        }),
        netns: "/run/netns/blue".into(),
        ..DeleteWorkloadRequest::default()
    }
}

#[test]
fn what_is_left_can_be_read_and_says_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = folder.path().join("state/cni-spool");
    leave(&spool, request("one")).expect("left");
    leave(&spool, request("one")).expect("left again");
    assert_eq!(fs::metadata(&spool).expect("made").permissions().mode() & 0o777, 0o700);
    let mut found = 0;
    for entry in fs::read_dir(&spool).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(path.extension().and_then(|e| e.to_str()), Some("del"), "{}", path.display());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let octets = fs::read(&path).expect("readable");
        let back = DeleteWorkloadRequest::decode(octets.as_slice()).expect("a request");
        // 2020 to 2100, in milliseconds.
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&back.spooled_at));
        assert_eq!(back.spooled_boot_id.len(), 36, "{}", back.spooled_boot_id);
        assert!(back.spooled_up_nanos > 0);
        let plain = DeleteWorkloadRequest {
            spooled_at: 0,
            spooled_boot_id: String::new(),
            spooled_up_nanos: 0,
            ..back
        };
        assert_eq!(plain, request("one"));
        found += 1;
    }
    assert_eq!(found, 2);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(leave(&file, request("one")).is_err());
    assert!(leave(&file.join("below"), request("one")).is_err());
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
