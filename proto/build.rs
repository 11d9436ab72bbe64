//! Compiles the protos without protoc.

fn main() {}
