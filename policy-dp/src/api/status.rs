//! How enforcement stands: what is not in force or not as it says, with why.

use margay_proto::v1::{PolicyFault, PolicyFaults, PolicyStatusResponse};
use tokio::sync::watch;

use crate::{
    enforcer::Enforcer,
    status::{Standing, Status},
};

/// Who knows how it stands with the kernel and with the stream.
#[derive(Debug, Clone)]
pub(crate) struct Stands {
    /// With the kernel.
    pub(crate) kernel: watch::Receiver<Status>,
    /// With the stream.
    pub(crate) stream: watch::Receiver<Standing>,
}

/// Answers `Status`.
pub(super) fn status(enforcer: Option<&Enforcer>, stands: &Stands) -> PolicyStatusResponse {
    let (kernel, stream) = (stands.kernel.borrow(), stands.stream.borrow());
    let unheard = match (stream.connected, stream.cause.as_str()) {
        (true, _) => "",
        (false, "") => "it is being asked",
        (false, cause) => cause,
    };
    let mut answer = PolicyStatusResponse {
        node: enforcer.map(Enforcer::node).unwrap_or_default().to_owned(),
        enforcing: kernel.enforcing,
        unheard: unheard.to_owned(),
        trouble: kernel.trouble.clone().unwrap_or_default(),
        guarded: kernel.guarded,
        ..PolicyStatusResponse::default()
    };
    let Some(enforcer) = enforcer.filter(|enforcer| enforcer.in_sync()) else { return answer };
    let counts = enforcer.counts();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    (answer.endpoints, answer.in_force) = (number(counts.endpoints), number(counts.in_force));
    answer.waiting = faults(enforcer.waiting().map(|(id, why)| (id.to_string(), why)));
    let alone = |text: &str| (String::new(), text.to_owned());
    answer.refused = faults(enforcer.refusals().map(alone));
    let rules = enforcer.faults().map(|(owner, fault)| (owner.to_string(), fault.to_string()));
    answer.rules = faults(rules);
    answer.broken = faults(enforcer.broken().map(|text| alone(&text)));
    answer.ignored = faults(enforcer.ignored().iter().map(|text| alone(text)));
    answer
}

fn faults(all: impl Iterator<Item = (String, String)>) -> Option<PolicyFaults> {
    let mut some = PolicyFaults::default();
    for (subject, text) in all {
        some.total += 1;
        if some.first.len() < MOST {
            some.first.push(PolicyFault { subject, text });
        }
    }
    Some(some)
}

/// Of each kind that are told.
const MOST: usize = 100;
