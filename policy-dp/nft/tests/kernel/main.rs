//! Our table in a real kernel, each test in a network namespace of its own. They need root; without
//! it they say so and are skipped.

mod churn;
mod foreign;
mod led;
mod moves;
mod net;
mod packets;
mod pods;
mod refusal;
mod sample;
mod sync;
