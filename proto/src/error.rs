//! Errors with a `field` detail: `google.rpc.BadRequest` in the details of the status.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// INVALID_ARGUMENT about one field of the request, named as in the proto file.
pub fn invalid_argument(field: &str, message: impl Into<String>) -> Status {
    let message = message.into();
    let details = ErrorDetails::with_bad_request_violation(field, message.clone());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The field an error is about, if it says so.
pub fn field(status: &Status) -> Option<String> {
    let bad_request = status.get_details_bad_request()?;
    bad_request.field_violations.into_iter().next().map(|violation| violation.field)
}

#[cfg(test)]
mod tests;
