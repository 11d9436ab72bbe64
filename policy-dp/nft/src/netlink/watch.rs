//! What others do to the ruleset.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use margay_netlink::Wait;

use crate::{
    decode::{Generation, table_named},
    encode::{FAMILY_INET, NEWGEN},
    name::Name,
    netlink::{Session, socket::Socket},
    wire::{Messages, Netfilter as _},
};

/// Hears every change of the ruleset that the session did not make.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    table: Name,
    /// Since the last announcement of a generation: something of our table was named.
    touched: bool,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Somebody else made a new generation of the ruleset.
    Change {
        /// Its number.
        generation: u32,
        /// Our table is another: read it and plan anew.
        ours: bool,
        /// The program that did it.
        process: String,
    },
    /// More happened than could be heard: read the table and plan anew.
    Lost,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Watch {
    /// Begins to listen. Read the table after that, so that nothing stays unheard in between.
    ///
    /// # Errors
    /// When there is no socket to be had, or no right to listen.
    pub fn open(session: &Session) -> io::Result<Self> {
        let socket = Socket::open()?;
        socket.listen(session.port())?;
        Ok(Self { socket, table: session.table().clone(), touched: false })
    }

    /// With a small receive buffer, to see it overflow.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn receive_buffer(&self, octets: i32) -> io::Result<()> {
        self.socket.receive_buffer(octets)
    }

    /// What was heard since, in order; none if nothing was. With [`Wait::Block`] sleeps until there
    /// is something.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn next(&mut self, wait: Wait) -> io::Result<Vec<Heard>> {
        loop {
            let heard = match self.socket.receive(wait) {
                Ok(messages) => digest(messages, &self.table, &mut self.touched),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(Vec::new()),
                Err(err) if err.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.touched = false;
                    vec![Heard::Lost]
                }
                Err(err) => return Err(err),
            };
            // Else it was only a part of somebody's transaction.
            if !heard.is_empty() {
                return Ok(heard);
            }
        }
    }
}

/// What a datagram tells.
fn digest(messages: Messages<'_>, table: &Name, touched: &mut bool) -> Vec<Heard> {
    let mut heard = Vec::new();
    for m in messages {
        let Some(message) = m.nftables() else { continue };
        let Some(attributes) = m.attributes() else { continue };
        if message != NEWGEN {
            let inet = m.family() == Some(FAMILY_INET);
            *touched |= inet && table_named(attributes).is_some_and(|named| named == *table);
            continue;
        }
        let ours = std::mem::take(touched);
        heard.push(match Generation::read(attributes) {
            Some(Generation { id, process }) => Heard::Change { generation: id, ours, process },
            None => Heard::Lost,
        });
    }
    heard
}
