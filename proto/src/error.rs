//! Errors with a `field` detail: `google.rpc.BadRequest` in the details of the status.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// INVALID_ARGUMENT about one field of the request, named as in the proto file.
pub fn invalid_argument(field: &str, message: impl Into<String>) -> Status {
    let message = message.into();
    let details = ErrorDetails::with_bad_request_violation(field, message.clone());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// INVALID_ARGUMENT about several fields of the request: their paths, and what is wrong with each.
pub fn invalid_arguments(
    message: impl Into<String>,
    faults: impl IntoIterator<Item = (String, String)>,
) -> Status {
    let violations: Vec<_> =
        faults.into_iter().map(|(field, text)| FieldViolation::new(field, text)).collect();
    let details = ErrorDetails::with_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The field an error is about, if it says so.
pub fn field(status: &Status) -> Option<String> {
    let bad_request = status.get_details_bad_request()?;
    bad_request.field_violations.into_iter().next().map(|violation| violation.field)
}

#[cfg(test)]
mod tests;
