//! Why something was not done, and what the runtime makes of it.

/// What kind of failure, by what a runtime does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The request itself is wrong, whatever the daemon does. Names the field.
    Invalid(&'static str),
    /// Pools, settings or the cluster do not allow it.
    Forbidden,
    /// The network namespace cannot be entered.
    Namespace,
    /// The same request may succeed later.
    Later,
    /// No address is left.
    Exhausted,
    /// The address asked for is taken.
    AddressTaken,
    /// The interface name is taken.
    NameTaken,
    /// The kernel refused.
    Kernel,
    /// Something is not as it should be.
    Different,
}

impl Cause {
    /// The code of the CNI specification; 100 and above are ours (`workloads.proto` lists them).
    pub fn cni_code(self) -> u32 {
        match self {
            Self::Invalid(_) | Self::Forbidden => 7,
            Self::Namespace => 4,
            Self::Later | Self::Exhausted => 11,
            Self::Kernel => 100,
            Self::AddressTaken => 101,
            Self::NameTaken => 102,
            Self::Different => 103,
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Of what kind.
    pub cause: Cause,
    /// In words; lines that begin with `help: ` say what can be done.
    pub text: String,
}

impl Failure {
    /// A failure in words.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }

    /// A request that is wrong in a field, named as in `workloads.proto`.
    pub fn invalid(field: &'static str, text: impl Into<String>) -> Self {
        Self::new(Cause::Invalid(field), text)
    }
}
