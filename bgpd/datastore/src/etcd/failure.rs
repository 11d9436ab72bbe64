//! What etcd's errors mean.

use std::error::Error;

use margay_model::Revision;
use tonic::{Code, ConnectError, Status as GrpcStatus};

use crate::{error::StoreError, limits};

/// What is said of a member that does not answer.
pub(super) const SILENCE: &str = "no answer in time";

/// A request that nobody served.
#[derive(Debug)]
pub(super) struct Failure {
    /// Who was asked last.
    pub(super) endpoint: String,
    /// What came of it.
    pub(super) status: GrpcStatus,
    /// Some member may have done it.
    pub(super) doubtful: bool,
    pub(super) meaning: Meaning,
}

/// What an error says about the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was not done; another member may do it.
    NotDone,
    /// It may have been done.
    Unknown,
    /// It was not done: the token is no longer good.
    TokenExpired,
    /// Nobody will do it.
    Final,
}

impl Failure {
    /// As the error of a commit.
    pub(super) fn of_commit(self) -> StoreError {
        let doubtful = self.doubtful;
        match self.of_read(Revision(0)) {
            StoreError::Unavailable { endpoint, cause } if doubtful => {
                StoreError::Unanswered { endpoint, cause }
            }
            other => other,
        }
    }

    /// As the error of a read as of revision `asked`.
    pub(super) fn of_read(self, asked: Revision) -> StoreError {
        let cause = self.cause();
        let endpoint = self.endpoint;
        let message = self.status.message();
        match self.status.code() {
            Code::OutOfRange => StoreError::Compacted { asked, oldest: Revision(0) },
            Code::ResourceExhausted if message.contains("space exceeded") => {
                StoreError::Full { place: endpoint, cause }
            }
            Code::InvalidArgument if message.contains("request is too large") => {
                let limit = limits::Limits::ETCD.octets;
                StoreError::TooLarge { what: "octets of a request to etcd", size: limit, limit }
            }
            Code::PermissionDenied | Code::Unauthenticated => {
                StoreError::Denied { endpoint, cause }
            }
            Code::InvalidArgument if is_about_users(message) => {
                StoreError::Denied { endpoint, cause }
            }
            Code::InvalidArgument | Code::Unimplemented => StoreError::Invalid { cause },
            _ => StoreError::Unavailable { endpoint, cause },
        }
    }

    pub(super) fn cause(&self) -> String {
        match self.status.source() {
            Some(source) => chain(source),
            None => self.status.message().to_owned(),
        }
    }
}

pub(super) fn meaning(status: &GrpcStatus) -> Meaning {
    let message = status.message();
    match status.code() {
        Code::Unavailable if is_connecting(status) => Meaning::NotDone,
        Code::Unavailable if message.contains("no leader") => Meaning::NotDone,
        Code::ResourceExhausted if message.contains("too many requests") => Meaning::NotDone,
        Code::Unauthenticated if message.contains("invalid auth token") => Meaning::TokenExpired,
        Code::InvalidArgument if message.contains("auth store is old") => Meaning::TokenExpired,
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Unknown
        | Code::Internal => Meaning::Unknown,
        _ => Meaning::Final,
    }
}

/// Whether etcd says that authentication is off: a user is then as good as none.
pub(super) fn knows_no_users(status: &GrpcStatus) -> bool {
    status.code() == Code::FailedPrecondition && status.message().contains("not enabled")
}

/// A failed authentication as the failure of the request it was for, which was not made.
pub(super) fn of_authentication(status: GrpcStatus) -> GrpcStatus {
    match meaning(&status) {
        Meaning::Unknown => GrpcStatus::unavailable(format!("no leader: {}", status.message())),
        _ => status,
    }
}

/// An error and what caused it, on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

fn is_about_users(message: &str) -> bool {
    message.contains("authentication failed") || message.contains("user name is empty")
}

/// Whether the connection could not be made, so the request never left.
fn is_connecting(status: &GrpcStatus) -> bool {
    let mut next = status.source();
    while let Some(cause) = next {
        if cause.is::<ConnectError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests;
