//! OPEN: what we send, what we accept, what both agree on.
