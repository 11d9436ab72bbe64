//! The kernel side against a real kernel, each test in a network namespace of its own. They need
//! root; without it they say so and are skipped.

mod attach;
mod connections;
mod container;
mod drift;
mod install;
mod interfaces;
mod limits;
mod links;
mod net;
mod restart;
mod routers;
mod tracking;
mod workloads;
