//! A workload's link: a veth pair with one end in the container's network namespace.
//!
//! Here are the values: what a link should be ([`LinkSpec`]), the steps that make it
//! ([`steps`]), what is there ([`Observed`]) and where the two differ ([`Difference`]). Nothing here
//! touches the kernel; [`attach`](crate::attach()), [`detach`](crate::detach),
//! [`inspect`](crate::inspect) and [`list`](crate::list) do.
//!
//! Which address a workload gets, what the link is called, and what is remembered of it across
//! restarts is for others to say.

mod error;
mod limit;
mod mtu;
mod observed;
mod spec;
pub mod steps;

pub use error::{AttachError, Stage};
pub use limit::{BURST, Bandwidth, Bucket, Filling, Peak};
pub use mtu::{Overlay, pod_mtu};
pub use observed::{ContainerSide, Difference, HostLink, Observed};
pub use spec::{GATEWAY_V4, GATEWAY_V6, HOST_MAC, LinkSpec, SpecError, Sysctl};
