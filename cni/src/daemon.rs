//! One call of the daemon over its Unix socket, with a deadline.

use std::{error::Error as _, future::Future, io, path::Path, time::Duration};

use margay_proto::{error::cni_code, v1::workloads_client::WorkloadsClient};
use tonic::{
    Code as Grpc, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::error::{Code, Error};

/// A daemon that does not even accept within this time is not going to.
const CONNECT: Duration = Duration::from_secs(2);

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
pub fn ask<T, F>(
    socket: &Path,
    limit: Duration,
    call: impl FnOnce(WorkloadsClient<Channel>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(
            |error| Failure::Refused(Error::new(Code::Io, format!("cannot start: {error}"))),
        )?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(limit, async {
            let channel = connect(socket).await?;
            call(WorkloadsClient::new(channel)).await.map_err(|status| failure(socket, &status))
        });
        match answer.await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(away(
                format!("margay-bgpd did not answer within {} s", limit.as_secs()),
                format!("socket: {}", socket.display()),
            )),
        }
    })
}

async fn connect(socket: &Path) -> Result<Channel, Failure> {
    let endpoint = socket
        .to_str()
        .and_then(|path| Endpoint::from_shared(format!("unix://{path}")).ok())
        .ok_or_else(|| {
            let msg = format!("socket: {} is no path of a socket", socket.display());
            Failure::Refused(Error::new(Code::InvalidConfig, msg))
        })?;
    endpoint.connect_timeout(CONNECT).connect().await.map_err(|error| {
        let causes = std::iter::successors(error.source(), |&error| error.source());
        let cause = causes.filter_map(|error| error.downcast_ref::<io::Error>()).next();
        let why = match cause.map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => format!("there is no socket {}", socket.display()),
            Some(io::ErrorKind::ConnectionRefused) => {
                format!("nobody listens on {}", socket.display())
            }
            _ => {
                let cause = cause.map_or_else(|| error.to_string(), io::Error::to_string);
                format!("{}: {cause}", socket.display())
            }
        };
        away("margay-bgpd is not running", why)
    })
}

/// What an error of a call means.
fn failure(socket: &Path, status: &Status) -> Failure {
    // Not an answer but an error of the transport: the daemon went away while it worked.
    if status.source().is_some() {
        return away(
            "margay-bgpd went away before it had answered",
            format!("socket: {}", socket.display()),
        );
    }
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
