use margay_model::Revision;

use super::*;

#[test]
fn a_node_is_ready_once_it_has_read_the_datastore_it_has() {
    let (mirror, heard) = (Mirror::new(), AtomicBool::default());
    let (code, text) = readiness(false, Some(&mirror), &heard);
    assert_eq!(
        (code, text),
        (StatusCode::SERVICE_UNAVAILABLE, "the datastore has not been read yet\n")
    );
    assert_eq!(readiness(false, None, &heard).0, StatusCode::OK, "where there is none");
    mirror.replace([], Revision(1));
    assert_eq!(readiness(false, Some(&mirror), &heard).0, StatusCode::OK);
    assert_eq!(readiness(true, Some(&mirror), &heard).0, StatusCode::SERVICE_UNAVAILABLE);
}
