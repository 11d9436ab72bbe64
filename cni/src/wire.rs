//! One unary gRPC call over a Unix socket, on the thread that asks.
//!
//! There is no runtime: a plugin makes one call and ends, and what a runtime, a pool of connections
//! and their tasks cost to set up is several times what the call costs. HTTP/2 is `h2`'s; this has the
//! socket, which the thread waits for itself, and gRPC's frame around a message.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, socket, sockopt::SendTimeout,
        },
        time::TimeVal,
    },
};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Status;

/// No answer is longer than this: 100,000 attachments and their addresses.
const LONGEST: usize = 64 << 20;
/// Of gRPC, before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Why there is neither an answer nor an error of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Not even its first word came in time.
    Silent,
    /// Time ran out.
    Late,
    /// The connection ended, or does not speak HTTP/2.
    Lost,
}

/// A connection to the socket, once the other side's queue takes it: a full one is waited for so many
/// seconds.
pub fn connect(path: &Path, patience: u8) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&made, SendTimeout, &TimeVal::new(patience.into(), 0))?;
    nix::sys::socket::connect(made.as_raw_fd(), &address)?;
    let line = UnixStream::from(made);
    line.set_nonblocking(true)?;
    Ok(line)
}

/// Calls a method and waits, no longer than the first of `limits` for the other side's first word, which
/// HTTP/2 has it say unasked, and no longer than the second for its answer.
pub fn call<A: Message + Default>(
    socket: UnixStream,
    limits: [Duration; 2],
    path: &str,
    question: &impl Message,
) -> Result<Result<A, Status>, Broken> {
    let now = Instant::now();
    let [first, until] = limits.map(|limit| now + limit);
    let line = Line { socket: Rc::new(socket), full: Rc::default(), heard: Rc::default() };
    let mut exchange = pin!(exchange(line.clone(), path, framed(question)));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        if let Poll::Ready(done) = exchange.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done.map(|answer| answer.and_then(decoded)).map_err(|_| Broken::Lost);
        }
        if !woken.0.swap(false, Ordering::Relaxed) {
            if line.heard.get() {
                line.wait(until)?;
            } else {
                let (end, late) = match first < until {
                    true => (first, Broken::Silent),
                    false => (until, Broken::Late),
                };
                let why = |broken| if broken == Broken::Late { late } else { broken };
                line.wait(end).map_err(why)?;
            }
        }
    }
}

/// Sends a message and collects what comes back; the connection is worked on meanwhile.
async fn exchange(
    line: Line,
    path: &str,
    message: Bytes,
) -> Result<Result<Bytes, Status>, h2::Error> {
    let (requests, connection) = h2::client::handshake(line).await?;
    let mut connection = pin!(connection);
    let mut asked = pin!(ask(requests, path, message));
    poll_fn(|context| {
        if let Poll::Ready(answer) = asked.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        let Poll::Ready(end) = connection.as_mut().poll(context) else { return Poll::Pending };
        // An answer may have come with the end.
        match (asked.as_mut().poll(context), end) {
            (Poll::Ready(answer), _) => Poll::Ready(answer),
            (Poll::Pending, Err(error)) => Poll::Ready(Err(error)),
            (Poll::Pending, Ok(())) => Poll::Ready(Err(h2::Reason::CANCEL.into())),
        }
    })
    .await
}

async fn ask(
    requests: h2::client::SendRequest<Bytes>,
    path: &str,
    message: Bytes,
) -> Result<Result<Bytes, Status>, h2::Error> {
    let request = Request::post(format!("http://localhost{path}"))
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(());
    let request = match request {
        Ok(request) => request,
        Err(error) => return Ok(Err(Status::internal(error.to_string()))),
    };
    let (response, mut body) = requests.ready().await?.send_request(request, false)?;
    // What the window has no room for yet h2 keeps.
    body.send_data(message, true)?;
    let (head, mut body) = response.await?.into_parts();
    if let Err(status) = judged(head.status, &head.headers) {
        return Ok(Err(status));
    }
    let mut answer = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        if answer.len() + part.len() > LONGEST {
            let text = format!("an answer of more than {LONGEST} octets");
            return Ok(Err(Status::out_of_range(text)));
        }
        answer.put(part);
    }
    let end = body.trailers().await?.unwrap_or_default();
    Ok(match Status::from_header_map(&end) {
        Some(status) if status.code() == tonic::Code::Ok => Ok(answer.freeze()),
        Some(status) => Err(status),
        None => Err(Status::unknown("an answer without a status")),
    })
}

/// What stands before an answer: an error may be all of it.
fn judged(code: StatusCode, headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => Err(status),
        _ if code != StatusCode::OK => Err(Status::unknown(format!("an answer of HTTP {code}"))),
        _ => Ok(()),
    }
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    // The configuration it is made from is bounded far below.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.put(message.encode_to_vec().as_slice());
    framed.freeze()
}

fn decoded<A: Message + Default>(mut answer: Bytes) -> Result<A, Status> {
    let odd = |text: &str| Status::internal(format!("an answer that cannot be read: {text}"));
    if answer.len() < PREFIX {
        return Err(odd("there is no message in it"));
    }
    let (compressed, length) = (answer.get_u8(), answer.get_u32());
    if compressed != 0 {
        return Err(odd("it is compressed, which was not asked for"));
    }
    if usize::try_from(length) != Ok(answer.len()) {
        return Err(odd(&format!("{} octets instead of {length}", answer.len())));
    }
    A::decode(answer).map_err(|error| odd(&error.to_string()))
}

/// A socket that does not block, and what is waited for on it.
#[derive(Debug, Clone)]
struct Line {
    socket: Rc<UnixStream>,
    /// It took no more at the last attempt.
    full: Rc<Cell<bool>>,
    /// Something came.
    heard: Rc<Cell<bool>>,
}

impl Line {
    /// Until it can be read, or written if that was refused.
    fn wait(&self, until: Instant) -> Result<(), Broken> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, self.full.take());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Broken::Late);
            }
            // Whole milliseconds, and not too early.
            let left = PollTimeout::try_from(left + Duration::from_millis(1));
            let mut sockets = [PollFd::new(self.socket.as_fd(), events)];
            match poll(&mut sockets, left.unwrap_or(PollTimeout::MAX)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(_) => return Err(Broken::Lost),
            }
        }
    }

    fn written(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        let written = settled(written);
        self.full.set(written.is_pending());
        written
    }
}

/// Signals are no errors, and neither is that there is nothing: who asked is told by [`Line::wait`].
fn settled(done: io::Result<usize>) -> Poll<io::Result<usize>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = again(|| (&*self.socket).read(buf.initialize_unfilled()));
        settled(read).map_ok(|length| {
            self.heard.set(self.heard.get() | (length > 0));
            buf.advance(length);
        })
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written(again(|| (&*self.socket).write(octets)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(again(|| (&*self.socket).write_vectored(parts)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

/// Something of the exchange can go on without the socket.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
