//! Errors with a `field` detail: `google.rpc.BadRequest` in the details of the status. And the code
//! of the CNI specification that an error of `Workloads` carries.

use tonic::{Code, Status, metadata::MetadataValue};
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
    faulty(Code::InvalidArgument, message, faults)
}

/// An error about several fields of the request: their paths, and what is wrong with each.
pub fn faulty(
    code: Code,
    message: impl Into<String>,
    faults: impl IntoIterator<Item = (String, String)>,
) -> Status {
    let violations: Vec<_> =
        faults.into_iter().map(|(field, text)| FieldViolation::new(field, text)).collect();
    let details = ErrorDetails::with_bad_request(violations);
    Status::with_error_details(code, message, details)
}

/// The fields an error is about, and what is wrong with each.
pub fn violations(status: &Status) -> Vec<(String, String)> {
    let violations = status.get_details_bad_request().map(|found| found.field_violations);
    let violations = violations.unwrap_or_default().into_iter();
    violations.map(|violation| (violation.field, violation.description)).collect()
}

/// The field an error is about, if it says so.
pub fn field(status: &Status) -> Option<String> {
    let bad_request = status.get_details_bad_request()?;
    bad_request.field_violations.into_iter().next().map(|violation| violation.field)
}

/// The metadata that carries the code of the CNI specification.
const CNI_CODE: &str = "margay-cni-code";

/// The error with this code of the CNI specification.
pub fn with_cni_code(mut status: Status, code: u32) -> Status {
    status.metadata_mut().insert(CNI_CODE, MetadataValue::from(code));
    status
}

/// The code of the CNI specification that an error carries; without one, as of a daemon that is
/// away, of a call that was not served or of an older daemon: 11 (try again later) where a
/// repetition may help, else 7 (invalid configuration).
pub fn cni_code(status: &Status) -> u32 {
    let carried = status.metadata().get(CNI_CODE);
    let carried = carried.and_then(|text| text.to_str().ok()?.parse().ok());
    carried.unwrap_or(match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented => 7,
        _ => 11,
    })
}

#[cfg(test)]
mod tests;
