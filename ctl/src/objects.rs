//! v3 objects on the command line: their columns, and templates over them.

pub mod columns;
pub mod go_template;
pub mod template;
