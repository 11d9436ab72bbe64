use super::*;

fn failure(status: GrpcStatus) -> Failure {
    let meaning = meaning(&status);
    Failure { endpoint: "http://e".into(), status, doubtful: meaning == Meaning::Unknown, meaning }
}

#[test]
fn what_may_have_been_done_is_never_called_undone() {
    for message in ["etcdserver: request timed out", "etcdserver: server stopped", "h2: broken"] {
        let failure = failure(GrpcStatus::unavailable(message));
        assert_eq!(failure.meaning, Meaning::Unknown);
        assert!(failure.of_commit().is_outcome_unknown(), "{message}");
    }
    let refused = failure(GrpcStatus::unavailable("etcdserver: no leader"));
    assert_eq!(refused.meaning, Meaning::NotDone);
    assert!(matches!(refused.of_commit(), StoreError::Unavailable { .. }));
}

#[test]
fn each_refusal_has_its_error() {
    let compacted =
        GrpcStatus::out_of_range("etcdserver: mvcc: required revision has been compacted");
    assert!(matches!(failure(compacted).of_read(Revision(7)), StoreError::Compacted { .. }));
    let full = GrpcStatus::resource_exhausted("etcdserver: mvcc: database space exceeded");
    assert_eq!(meaning(&full), Meaning::Final);
    assert!(matches!(failure(full).of_commit(), StoreError::Full { .. }));
    for denied in [
        GrpcStatus::permission_denied("etcdserver: permission denied"),
        GrpcStatus::invalid_argument("etcdserver: user name is empty"),
        GrpcStatus::invalid_argument(
            "etcdserver: authentication failed, invalid user ID or password",
        ),
    ] {
        assert!(matches!(failure(denied).of_commit(), StoreError::Denied { .. }));
    }
    let token = GrpcStatus::unauthenticated("etcdserver: invalid auth token");
    assert_eq!(meaning(&token), Meaning::TokenExpired);
}
