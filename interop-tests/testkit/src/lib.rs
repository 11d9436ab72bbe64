//! interop-tests/testkit
