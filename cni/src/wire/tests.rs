use std::thread::{self, JoinHandle};

use h2::server::SendResponse;
use http::Response;
use margay_proto::v1::{ListWorkloadsRequest, ListWorkloadsResponse, Workload};
use nix::sys::socket::{Backlog, bind, listen};

use super::*;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Outcome = Result<Result<ListWorkloadsResponse, Status>, Broken>;

fn asked(line: UnixStream, limit: Duration) -> Outcome {
    line.set_nonblocking(true).expect("set");
    call(line, [PATIENCE, limit], "/margay.v1.Workloads/List", &ListWorkloadsRequest::default())
}

/// What comes of a call that is answered so by something that speaks HTTP/2.
fn answered(answer: impl FnOnce(SendResponse<Bytes>) + Send + 'static) -> Outcome {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let peer: JoinHandle<()> = thread::spawn(move || {
        theirs.set_nonblocking(true).expect("set");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let theirs = tokio::net::UnixStream::from_std(theirs).expect("a socket");
            let mut connection = h2::server::handshake(theirs).await.expect("a client");
            let (request, respond) = connection.accept().await.expect("one").expect("a request");
            assert_eq!(request.uri().path(), "/margay.v1.Workloads/List");
            assert_eq!(request.headers()["te"], "trailers");
            answer(respond);
            // Until the client is gone.
            while let Some(Ok(_)) = connection.accept().await {}
        });
    });
    let outcome = asked(ours, PATIENCE);
    peer.join().expect("the peer did as it should");
    outcome
}

fn head(code: u16) -> Response<()> {
    Response::builder().status(code).body(()).expect("a response")
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().expect("a name"), code.parse().expect("text"))])
}

#[test]
fn an_answer_comes_in_as_many_parts_as_it_likes() {
    let workload = |n: u32| Workload { endpoint_name: format!("pod-{n}"), ..Workload::default() };
    let all = ListWorkloadsResponse { workloads: (0..50_000).map(workload).collect() };
    let octets = framed(&all);
    assert!(octets.len() > 8 * 65_535, "{} octets are no more than some windows", octets.len());
    let outcome = answered(move |mut respond| {
        let mut body = respond.send_response(head(200), false).expect("sent");
        for part in octets.chunks(10_007) {
            body.send_data(Bytes::copy_from_slice(part), false).expect("sent");
        }
        body.send_trailers(status("0")).expect("sent");
    });
    assert_eq!(outcome.expect("in time").expect("an answer"), all);
}

#[test]
fn an_error_may_come_before_or_after_a_message() {
    let before = answered(|mut respond| {
        let mut head = head(200);
        *head.headers_mut() = status("14");
        respond.send_response(head, true).expect("sent");
    });
    assert_eq!(before.expect("in time").expect_err("an error").code(), tonic::Code::Unavailable);
    let after = answered(|mut respond| {
        let mut body = respond.send_response(head(200), false).expect("sent");
        let message = framed(&ListWorkloadsResponse::default());
        body.send_data(message, false).expect("sent");
        body.send_trailers(status("5")).expect("sent");
    });
    assert_eq!(after.expect("in time").expect_err("an error").code(), tonic::Code::NotFound);
}

#[test]
fn what_is_no_answer_of_grpc_is_an_error() {
    let without = answered(|mut respond| {
        let mut body = respond.send_response(head(200), false).expect("sent");
        body.send_data(framed(&ListWorkloadsResponse::default()), true).expect("sent");
    });
    assert_eq!(
        without.expect("in time").expect_err("an error").message(),
        "an answer without a status"
    );
    let web = answered(|mut respond| drop(respond.send_response(head(404), true).expect("sent")));
    let error = web.expect("in time").expect_err("an error");
    assert_eq!(error.message(), "an answer of HTTP 404 Not Found");
}

#[test]
fn a_call_that_is_thrown_away_is_lost() {
    let reset = answered(|mut respond| respond.send_reset(h2::Reason::REFUSED_STREAM));
    assert_eq!(reset.expect_err("no answer"), Broken::Lost);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    drop(theirs);
    assert_eq!(asked(ours, PATIENCE).expect_err("no answer"), Broken::Lost);
}

#[test]
fn a_peer_that_speaks_something_else_is_lost() {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    theirs.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").expect("written");
    assert_eq!(asked(ours, PATIENCE).expect_err("no answer"), Broken::Lost);
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let late = asked(ours, Duration::from_millis(20));
    assert_eq!(late.expect_err("no answer"), Broken::Late);
    drop(theirs);
}

#[test]
fn a_queue_that_stays_full_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener =
        socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("a socket");
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).expect("an address")).expect("bound");
    listen(&listener, Backlog::new(0).expect("a length")).expect("listens");
    let mut held = Vec::new();
    // The queue takes one more than its length; nobody takes anything out of it.
    let full = (0..5).find_map(|_| match connect(&path, 1) {
        Ok(line) => {
            held.push(line);
            None
        }
        Err(error) => Some(error.kind()),
    });
    assert_eq!(full, Some(io::ErrorKind::WouldBlock));
}

#[test]
fn what_is_not_the_length_it_says_is_not_read() {
    let text = |octets: &'static [u8]| {
        let read = decoded::<ListWorkloadsResponse>(Bytes::from_static(octets));
        read.expect_err("not a message").message().to_owned()
    };
    assert!(text(b"").ends_with("there is no message in it"));
    assert!(text(b"\0\0\0\0").ends_with("there is no message in it"));
    assert!(text(b"\x01\0\0\0\0").ends_with("it is compressed, which was not asked for"));
    assert!(text(b"\0\0\0\0\x02\x0a").ends_with("1 octets instead of 2"));
    assert!(text(b"\0\0\0\0\x02\x0a\x05").contains("cannot be read"));
    let none = decoded::<ListWorkloadsResponse>(Bytes::from_static(b"\0\0\0\0\0"));
    assert_eq!(none.expect("a message"), ListWorkloadsResponse::default());
}

#[test]
fn one_that_never_says_a_word_is_not_waited_for_as_long_as_an_answer() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("set");
    let limits = [Duration::from_millis(50), PATIENCE];
    let request = ListWorkloadsRequest::default();
    let outcome: Outcome = call(ours, limits, "/margay.v1.Workloads/List", &request);
    assert_eq!(outcome.expect_err("no answer"), Broken::Silent);
    drop(theirs);
}
