//! The gRPC interface: messages, clients and servers generated from `proto/margay/v1/*.proto`.
//!
//! Owns the shape of the calls, the text names of their enumerations ([`names`]) and how an error
//! names the field it is about ([`error`]); for daemons (feature `serve`) the socket they answer on
//! ([`socket`]). Leaves to others: what a call does.

#![forbid(unsafe_code)]

pub mod error;
pub mod names;
#[cfg(feature = "serve")]
pub mod socket;

/// Package `margay.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    reason = "generated; documented in the proto files"
)]
pub mod v1 {
    tonic::include_proto!("margay.v1");
}

/// Every file of the interface as an encoded `FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/margay.v1.bin"));
