//! A "daemon" that knows nothing: it answers the handshake and copies every UPDATE to every other
//! session. What bgpload measures against it is the harness's own floor.

use std::sync::Arc;

use crate::{
    Args,
    connection::{Connection, Ended, State},
    sys,
    wire::{KEEPALIVE, OPEN, UPDATE, keepalive, open},
};

const LISTENER: u64 = u64::MAX;

/// Runs until it is killed.
pub fn run(args: &Args) -> i32 {
    let mut epoll = sys::Epoll::new();
    let listener = sys::listen(args.dut, args.port);
    epoll.add(&listener, LISTENER, false);
    let mut sessions: Vec<Connection> = Vec::new();
    let mut buffer = Vec::new();
    loop {
        for ready in epoll.wait(1000) {
            if ready.id == LISTENER {
                while let Some(socket) = sys::accept(&listener) {
                    sys::setopt(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
                    epoll.add(&socket, sessions.len() as u64, true);
                    let mut session = Connection::new(0, 0, None, None);
                    session.begin(socket);
                    session.state = State::OpenSent;
                    sessions.push(session);
                }
                continue;
            }
            let id = ready.id as usize;
            let mut result = Ok(());
            if ready.writable {
                result = sessions[id].flush(&epoll, ready.id);
            }
            if result.is_ok() && (ready.readable || ready.error) {
                result = read(args, &epoll, &mut sessions, id, &mut buffer);
            }
            if result.is_err() {
                sessions[id].socket = None;
                sessions[id].state = State::Gone;
            }
        }
    }
}

fn read(
    args: &Args,
    epoll: &sys::Epoll,
    sessions: &mut [Connection],
    id: usize,
    buffer: &mut Vec<u8>,
) -> Result<(), Ended> {
    let mut copies = Vec::new();
    sessions[id].read(buffer, |session, kind, body, _| {
        match kind {
            OPEN => {
                let answer = [open(args.dut_as, args.dut, 600, args.family), keepalive()].concat();
                session.push(epoll, id as u64, Arc::new(answer));
            }
            KEEPALIVE => session.state = State::Up,
            UPDATE => {
                let length = (body.len() + crate::wire::HEADER) as u16;
                copies.extend_from_slice(&[0xff; 16]);
                copies.extend_from_slice(&length.to_be_bytes());
                copies.push(UPDATE);
                copies.extend_from_slice(body);
            }
            _ => {}
        }
        Ok(())
    })?;
    if !copies.is_empty() {
        let copies = Arc::new(copies);
        for (other, session) in sessions.iter_mut().enumerate() {
            if other != id && session.state == State::Up {
                session.push(epoll, other as u64, Arc::clone(&copies));
            }
        }
    }
    Ok(())
}
