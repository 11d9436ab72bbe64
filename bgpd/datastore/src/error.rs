//! Why the datastore did not do as asked.

use margay_model::Revision;

/// Why a request failed. A lost compare is no error but an [`Outcome`](crate::Outcome).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or cannot work now. Nothing was changed; asking again later may help.
    #[error("the datastore at {endpoint} is not available: {cause}")]
    Unavailable {
        /// The address or file asked last.
        endpoint: String,
        /// What was in the way.
        cause: String,
    },
    /// No answer came to a commit: it was done, or not, or is done yet. Look before asking again.
    #[error("the datastore at {endpoint} did not answer ({cause}); the change may have been made")]
    Unanswered {
        /// The address or file asked last.
        endpoint: String,
        /// What was in the way.
        cause: String,
    },
    /// History does not hold that revision: list again and watch from there.
    #[error("revision {} is not in the datastore's history: list again", asked.0)]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision that can be asked for, where it is known (else 0).
        oldest: Revision,
    },
    /// A bound of [`limits`](crate::limits) is passed.
    #[error("{what}: {size} is more than {limit}")]
    TooLarge {
        /// What is bounded.
        what: &'static str,
        /// What was asked for.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// The request makes no sense to any datastore.
    #[error("{cause}")]
    Invalid {
        /// What is wrong with it.
        cause: String,
    },
    /// What is stored cannot be what was written. Nothing is repaired behind the user's back.
    #[error("the datastore at {place} is damaged: {cause}")]
    Corrupt {
        /// The file or key.
        place: String,
        /// What was found.
        cause: String,
    },
    /// There is no room for the change; it was not made.
    #[error("the datastore at {place} is full: {cause}")]
    Full {
        /// The file or address.
        place: String,
        /// What was said.
        cause: String,
    },
    /// The datastore does not let us.
    #[error("the datastore at {endpoint} refuses: {cause}")]
    Denied {
        /// The address asked.
        endpoint: String,
        /// What it said.
        cause: String,
    },
}

impl StoreError {
    /// Whether the same request may succeed later without anybody changing anything in it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unanswered { .. } | Self::Full { .. })
    }

    /// Whether a change may have been made although an error came back.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Unanswered { .. })
    }

    pub(crate) fn invalid(cause: impl Into<String>) -> Self {
        Self::Invalid { cause: cause.into() }
    }
}
