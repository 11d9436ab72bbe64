//! The plugin as a runtime calls it, beside a daemon that only plays one. Needs no root.

mod away;
mod delegation;
mod errors;
mod fake;
mod verbs;
