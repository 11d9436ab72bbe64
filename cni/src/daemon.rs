//! One call of the daemon over its Unix socket, with a deadline.

use std::{io, path::Path, time::Duration};

use margay_proto::{
    error::cni_code,
    v1::{
        AddWorkloadRequest, AddWorkloadResponse, CheckWorkloadRequest, CheckWorkloadResponse,
        CollectWorkloadsRequest, CollectWorkloadsResponse, DeleteWorkloadRequest,
        DeleteWorkloadResponse, ListWorkloadsRequest, ListWorkloadsResponse, WorkloadStatusRequest,
        WorkloadStatusResponse,
    },
};
use nix::time::{ClockId, clock_gettime};
use prost::Message;
use tonic::{Code as Grpc, Status};

use crate::{
    error::{Code, Error},
    wire::{self, Broken},
};

/// A daemon that does not even accept within this time is not going to, seconds.
const CONNECT: u8 = 2;
/// One that accepts and then says nothing for so long, though the first word is its, is stopped or hangs.
const SILENCE: Duration = Duration::from_secs(5);
/// How long before that it must have begun: whoever it keeps waiting longer has given up.
const MARGIN: Duration = Duration::from_secs(1);

/// The latest moment at which a daemon may begin what it is asked now, milliseconds of CLOCK_BOOTTIME;
/// 0, which is none, where that clock cannot be read.
pub fn begin_by() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    let latest = now.map(|now| now + SILENCE - MARGIN).unwrap_or_default();
    u64::try_from(latest.as_millis()).unwrap_or(u64::MAX)
}

/// A request of the service `margay.v1.Workloads`.
pub trait Question: Message {
    /// The path of its method.
    const PATH: &'static str;
    /// What is answered.
    type Answer: Message + Default;
}

impl Question for AddWorkloadRequest {
    const PATH: &'static str = "/margay.v1.Workloads/Add";
    type Answer = AddWorkloadResponse;
}

impl Question for DeleteWorkloadRequest {
    const PATH: &'static str = "/margay.v1.Workloads/Delete";
    type Answer = DeleteWorkloadResponse;
}

impl Question for CheckWorkloadRequest {
    const PATH: &'static str = "/margay.v1.Workloads/Check";
    type Answer = CheckWorkloadResponse;
}

impl Question for CollectWorkloadsRequest {
    const PATH: &'static str = "/margay.v1.Workloads/CollectGarbage";
    type Answer = CollectWorkloadsResponse;
}

impl Question for ListWorkloadsRequest {
    const PATH: &'static str = "/margay.v1.Workloads/List";
    type Answer = ListWorkloadsResponse;
}

impl Question for WorkloadStatusRequest {
    const PATH: &'static str = "/margay.v1.Workloads/Status";
    type Answer = WorkloadStatusResponse;
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The daemon is away, or cannot do it now.
    Away(Error),
    /// It will not do it.
    Refused(Error),
}

impl Failure {
    /// What the runtime is told.
    pub fn into_error(self) -> Error {
        match self {
            Self::Away(error) | Self::Refused(error) => error,
        }
    }
}

/// Connects, asks, and gives up after `limit`.
pub fn ask<Q: Question>(
    socket: &Path,
    limit: Duration,
    question: &Q,
) -> Result<Q::Answer, Failure> {
    let line = wire::connect(socket, CONNECT).map_err(|error| absent(socket, &error))?;
    let answer = wire::call(line, [SILENCE, limit], Q::PATH, question).map_err(|broken| {
        let why = match broken {
            Broken::Silent => {
                format!("margay-bgpd said nothing within {} s: it hangs", SILENCE.as_secs())
            }
            Broken::Late => format!("margay-bgpd did not answer within {} s", limit.as_secs()),
            Broken::Lost => "margay-bgpd went away before it had answered".to_owned(),
        };
        away(why, format!("socket: {}", socket.display()))
    })?;
    answer.map_err(|status| failure(&status))
}

/// Nobody to ask.
fn absent(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    let why = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no socket {socket}"),
        io::ErrorKind::ConnectionRefused => format!("nobody listens on {socket}"),
        io::ErrorKind::WouldBlock => format!("{socket} accepted nobody within {CONNECT} s"),
        _ => format!("{socket}: {error}"),
    };
    away("margay-bgpd is not running", why)
}

/// What an error of a call means.
fn failure(status: &Status) -> Failure {
    let (msg, details) = match status.message().split_once('\n') {
        Some((msg, details)) => (msg, details),
        None => (status.message(), ""),
    };
    let msg = if msg.is_empty() {
        format!("margay-bgpd answered {:?}", status.code())
    } else {
        msg.to_owned()
    };
    let number = cni_code(status);
    let error = Error { code: Code::Foreign(number), msg, details: details.to_owned() };
    // A daemon without this service is one of another version: it can be replaced.
    if number == Code::TryAgainLater.number() || status.code() == Grpc::Unimplemented {
        Failure::Away(error)
    } else {
        Failure::Refused(error)
    }
}

fn away(msg: impl Into<String>, details: String) -> Failure {
    Failure::Away(Error::new(Code::TryAgainLater, msg).with_details(details))
}
