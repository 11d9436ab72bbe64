//! Why resources were not read or written.

use margay_datastore::StoreError;
use margay_model::{Faults, Key};
use margay_proto::error::{faulty, invalid_argument, invalid_arguments};
use tonic::{Code, Status};

/// Why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResourceError {
    /// What is wrong with a resource of the request.
    #[error("{0}")]
    Faults(Faults),
    /// An element of the request is not one object.
    #[error("an element of the request is not one resource")]
    NotOne,
    /// An object of Kubernetes that stands for no resource.
    #[error("the object stands for no resource: its tier or subject is missing")]
    Nothing,
    /// Elements of the request that cannot be read, each with its place from 0.
    #[error("{}", .0.iter().map(|(_, why)| why.to_string()).collect::<Vec<_>>().join("\n"))]
    Unread(Vec<(usize, ResourceError)>),
    /// What shows only beside other resources, or beside what is stored: all of it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Broken>),
    /// There is none.
    #[error("resource does not exist: {0}")]
    NotFound(Key),
    /// There is one.
    #[error("resource already exists: {0}")]
    AlreadyExists(Key),
    /// It is not what the request says it is.
    #[error("update conflict: {0} was changed by somebody else")]
    Changed(Key),
    /// Others write the same all the time.
    #[error("update conflict: others keep changing the same resources; try again")]
    Contended,
    /// A rule of the cluster forbids it.
    #[error("{key}: {cause}")]
    Forbidden {
        /// Which resource.
        key: Key,
        /// Why, and what to do.
        cause: String,
    },
    /// What is stored is no resource of this model.
    #[error("{key} in the datastore cannot be read: {faults}")]
    Unreadable {
        /// Which resource.
        key: Key,
        /// What is wrong with it.
        faults: Faults,
    },
    /// A request of several transactions that was not made, and cannot be taken back whole: others
    /// have built on what it wrote.
    #[error("{cause}; what was written before is taken back but for {}", .keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Partly {
        /// What stays.
        keys: Vec<Key>,
        /// Why it went no further.
        cause: Box<ResourceError>,
    },
    /// What was there cannot be there again.
    #[error("it cannot be as it was: {0}")]
    Missing(String),
    /// A request of several transactions that was not made; what it wrote is not taken back yet.
    #[error("{0}; what was written before is taken back once the datastore answers")]
    Later(Box<ResourceError>),
    /// A request of several transactions of which nothing is left, though one of them may have been made.
    #[error("{0}; nothing of the request is left")]
    TakenBack(Box<ResourceError>),
    /// Another daemon takes the request back.
    #[error(
        "the request is taken back: the lease of this node had ended before it was written whole"
    )]
    TakenOver,
    /// The daemon ends; whether the change was made is not known.
    #[error("the daemon is stopping; the change may have been made")]
    Stopping,
    /// Settings of IPAM that contradict each other.
    #[error("{0}")]
    Settings(String),
    /// A pool that cannot be split so.
    #[error("{0}")]
    Split(String),
    /// The datastore.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a resource beside others, or beside what is stored.
#[derive(Debug, thiserror::Error)]
#[error("{key} {fault}")]
pub(crate) struct Broken {
    /// Which resource of the request, from 0.
    at: usize,
    /// Its name.
    key: Key,
    /// Which field of it: `spec.cidr`; empty for the whole.
    path: &'static str,
    /// What is wrong with it, and what is allowed.
    fault: String,
    /// What it is called where nothing else is wrong.
    code: Code,
}

impl Broken {
    /// A rule that does not hold for a field of a resource; for the whole where no field is named.
    pub(super) fn rule(key: &Key, path: &'static str, fault: impl Into<String>) -> Self {
        Self { at: 0, key: key.clone(), path, fault: fault.into(), code: Code::InvalidArgument }
    }

    /// Of the resource at this place in the request.
    pub(super) fn at(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// It is not there, and was to be.
    pub(super) fn missing(key: &Key) -> Self {
        Self { code: Code::NotFound, ..Self::rule(key, "", "does not exist") }
    }

    /// It is there, and was not to be.
    pub(super) fn there(key: &Key) -> Self {
        Self { code: Code::AlreadyExists, ..Self::rule(key, "", "already exists") }
    }

    /// It is not what the request says it is.
    pub(super) fn changed(key: &Key) -> Self {
        Self { code: Code::Aborted, ..Self::rule(key, "", "was changed by somebody else") }
    }
}

impl ResourceError {
    /// All that is wrong with the resources of a request. What is alone has a name of its own.
    pub(super) fn all(mut broken: Vec<Broken>) -> Self {
        broken.sort_by_key(|fault| fault.at);
        match broken.as_slice() {
            [Broken { key, code: Code::NotFound, .. }] => Self::NotFound(key.clone()),
            [Broken { key, code: Code::AlreadyExists, .. }] => Self::AlreadyExists(key.clone()),
            [Broken { key, code: Code::Aborted, .. }] => Self::Changed(key.clone()),
            _ => Self::Invalid(broken),
        }
    }

    /// Of a resource that stands so far behind in the request.
    pub(super) fn behind(mut self, more: usize) -> Self {
        if let Self::Invalid(faults) = &mut self {
            faults.iter_mut().for_each(|fault| fault.at += more);
        }
        self
    }

    /// Whether a transaction may have been made.
    pub(super) fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_outcome_unknown())
    }

    /// Something a rule forbids.
    pub(crate) fn forbidden(key: &Key, cause: impl Into<String>) -> Self {
        Self::Forbidden { key: key.clone(), cause: cause.into() }
    }
}

impl From<ResourceError> for Status {
    fn from(error: ResourceError) -> Self {
        let text = error.to_string();
        match error {
            ResourceError::Faults(faults) => {
                let faults = faults.iter().map(|f| (f.path.to_string(), f.problem.to_string()));
                invalid_arguments(text, faults)
            }
            ResourceError::NotOne | ResourceError::Nothing => invalid_argument("objects", text),
            ResourceError::Unread(unread) => {
                let faults = unread.iter().flat_map(|(at, why)| match why {
                    ResourceError::Faults(faults) => faults
                        .iter()
                        .map(|f| (field(*at, &f.path.to_string()), f.problem.to_string()))
                        .collect(),
                    other => vec![(field(*at, ""), other.to_string())],
                });
                invalid_arguments(text, faults)
            }
            ResourceError::Invalid(faults) => {
                let mut codes = faults.iter().map(|fault| fault.code);
                let first = codes.next().unwrap_or(Code::InvalidArgument);
                let code =
                    if codes.all(|code| code == first) { first } else { Code::InvalidArgument };
                let told = |fault: &Broken| (field(fault.at, fault.path), fault.to_string());
                faulty(code, text, faults.iter().map(told))
            }
            ResourceError::Settings(_) => invalid_argument("settings", text),
            ResourceError::Split(_) => invalid_argument("parts", text),
            ResourceError::NotFound(_) => Status::not_found(text),
            ResourceError::AlreadyExists(_) => Status::already_exists(text),
            ResourceError::Changed(_) | ResourceError::Contended | ResourceError::TakenOver => {
                Status::aborted(text)
            }
            ResourceError::Forbidden { .. } | ResourceError::Missing(_) => {
                Status::failed_precondition(text)
            }
            ResourceError::Unreadable { .. } => Status::data_loss(text),
            ResourceError::Stopping => Status::unavailable(text),
            ResourceError::Partly { cause, .. }
            | ResourceError::Later(cause)
            | ResourceError::TakenBack(cause) => Status::new(Self::from(*cause).code(), text),
            ResourceError::Store(error) => store(&error),
        }
    }
}

/// A field of an object of the request; the whole where the path is empty.
fn field(at: usize, path: &str) -> String {
    if path.is_empty() { format!("objects[{at}]") } else { format!("objects[{at}].{path}") }
}

/// An error of the datastore as an answer.
pub(crate) fn store(error: &StoreError) -> Status {
    let text = error.to_string();
    match error {
        StoreError::Compacted { .. } => Status::aborted(text),
        StoreError::TooLarge { .. } | StoreError::Invalid { .. } => Status::invalid_argument(text),
        StoreError::Corrupt { .. } => Status::data_loss(text),
        StoreError::Unavailable { .. }
        | StoreError::Unanswered { .. }
        | StoreError::Full { .. }
        | StoreError::Denied { .. } => Status::unavailable(text),
    }
}
