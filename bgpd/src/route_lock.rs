//! One daemon for each kernel table and route protocol of a network namespace.
//!
//! A daemon knows its routes by these two numbers, so a second one with the same would sweep the
//! first one's. The lock is a name in the abstract socket namespace: that belongs to the network
//! namespace, as routes do, and the kernel takes it back with the process, however that ends.

use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::MetadataExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use anyhow::{Context, Result, bail};
use margay_fib::FibConfig;
use tracing::warn;

/// Bit of CAP_NET_ADMIN in a capability mask.
const NET_ADMIN: u32 = 12;

/// Held for as long as routes are written.
#[derive(Debug)]
pub(crate) struct RouteLock {
    table: u32,
    protocol: u8,
    _socket: UnixDatagram,
}

/// A process that holds a name.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: String,
    uid: u32,
}

impl RouteLock {
    /// Takes what a configuration writes; nothing where it writes nothing.
    ///
    /// # Errors
    /// Another daemon has it (says which).
    pub(crate) fn take(config: &FibConfig) -> Result<Option<Self>> {
        if !config.enabled || !may_write() {
            return Ok(None);
        }
        Self::claim(config.table, config.protocol)
    }

    /// Whether it is the one for this configuration.
    pub(crate) fn covers(&self, config: &FibConfig) -> bool {
        config.enabled && (self.table, self.protocol) == (config.table, config.protocol)
    }

    fn claim(table: u32, protocol: u8) -> Result<Option<Self>> {
        let name = format!("margay-fib/{table}/{protocol}");
        let address = SocketAddr::from_abstract_name(&name)
            .with_context(|| format!("cannot make the socket name {name:?}"))?;
        let error = match UnixDatagram::bind_addr(&address) {
            Ok(socket) => return Ok(Some(Self { table, protocol, _socket: socket })),
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error).with_context(|| format!("cannot take the socket name {name:?}"));
        }
        let holder = holder(&name);
        // Anybody may take such a name. Who could not write routes does not keep us from it.
        if let Some(Holder { pid, uid }) = &holder
            && ![0, nix::unistd::geteuid().as_raw()].contains(uid)
        {
            warn!(
                pid,
                uid,
                name,
                "a process of another user holds the name that tells daemons apart; going on without it"
            );
            return Ok(None);
        }
        let pid = holder.map(|holder| format!(", pid {}", holder.pid)).unwrap_or_default();
        bail!(
            "routes of protocol {protocol} in table {table} are written by another margay-bgpd in \
             this network namespace{pid}: each would delete the other's; set another fib.protocol \
             (or fib.table, or fib.enabled = false)"
        )
    }
}

/// Whether the kernel would let us write routes; what cannot be read does not forbid it.
fn may_write() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return true };
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask >> NET_ADMIN & 1 != 0)
}

/// The process that holds an abstract name, where it can be seen.
fn holder(name: &str) -> Option<Holder> {
    let table = fs::read_to_string("/proc/self/net/unix").ok()?;
    let inode = inode(&table, name)?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().into_string().ok()?;
        pid.parse::<u32>().ok()?;
        let files = fs::read_dir(process.path().join("fd")).ok()?;
        let mut links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        links.find(|link| link.as_os_str() == socket.as_str())?;
        Some(Holder { pid, uid: process.metadata().ok()?.uid() })
    })
}

/// The inode of a name in the kernel's list of unix sockets.
fn inode<'a>(table: &'a str, name: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let inode = fields.nth(6)?;
        (fields.next()?.strip_prefix('@')? == name).then_some(inode)
    })
}

#[cfg(test)]
mod tests;
