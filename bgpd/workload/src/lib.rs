//! Attachments of containers to the network, as values: what is journalled, what is done next, what
//! is taken back.
//!
//! Owns the states of an attachment, the order of the steps of ADD and DEL and their undo, the names
//! of links, the meaning of a pod's annotations, the WorkloadEndpoint of an attachment. Promises
//! that every state it can be left in is taken up again: what was answered stays, the rest goes.
//! Leaves to others the kernel, the addresses, the datastore and the file of the journal: the shell
//! does each [`Step`] and says how it went.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod annotation;
pub mod attachment;
pub mod desk;
pub mod endpoint;
pub mod failure;
pub mod name;
pub mod qos;

pub use attachment::{
    AttachmentId, Entry, Mac, Mode, Moment, Pod, Source, Spec, State, Uptime, Wish,
};
pub use desk::{CallId, Desk, Done, Input, Now, Output, PATIENCE, Reply, Scene, Step};
pub use failure::{Cause, Failure};
pub use qos::Qos;
