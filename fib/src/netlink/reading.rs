//! Whole readings of the kernel's state.

use crate::api::FibError;
use crate::netlink::decode::fact;
use crate::netlink::dump::{Dump, Step, Subject};
use crate::plan::fact::{Fact, KernelAddress, KernelLink, KernelObject, Presence};
use crate::plan::readings::{ReadRoutes, Reading};
use crate::plan::state::State;

/// An inconsistent dump is made again this often; then it is taken as it is, for notifications of
/// what changed meanwhile are waiting.
const ATTEMPTS: usize = 4;

/// Reads links, addresses, objects and routes. Between datagrams `meanwhile` may answer questions.
pub fn everything(
    dump: &mut Dump,
    state: &mut State,
    objects: bool,
    mut meanwhile: impl FnMut(&State),
) -> Result<Reading, FibError> {
    let (links, addresses) = interfaces(dump)?;
    let objects = if objects { Some(self::objects(dump)?) } else { None };
    let mut routes = ReadRoutes::default();
    for subject in [Subject::Routes4, Subject::Routes6] {
        // Forms are interned as they come, so a repeated dump cannot simply start over; what it
        // would find changed is waiting as notifications.
        let asked = dump.ask(subject);
        let mut next = asked.map(|()| Step::More);
        loop {
            match next {
                Ok(Step::More) => {}
                Ok(Step::Complete | Step::Inconsistent) => break,
                // A kernel without IPv6 has no such routes.
                Err(err) if subject == Subject::Routes6 && no_family(&err) => break,
                Err(err) => {
                    state.end_audit(routes);
                    return Err(FibError::Read { what: subject.name(), err });
                }
            }
            next = dump.step(|m| {
                if let Some(Fact::Route(route, ..)) = fact(m) {
                    state.collect(&mut routes, route);
                }
            });
            meanwhile(state);
        }
    }
    Ok(Reading { links: Some(links), addresses: Some(addresses), objects, routes: Some(routes) })
}

/// All links and addresses.
pub fn interfaces(dump: &mut Dump) -> Result<(Vec<KernelLink>, Vec<KernelAddress>), FibError> {
    let mut links = Vec::new();
    repeat(dump, Subject::Links, &mut links, |links, fact| {
        if let Fact::Link(link, Presence::Here) = fact {
            links.push(link);
        }
    })?;
    let mut addresses = Vec::new();
    repeat(dump, Subject::Addresses, &mut addresses, |addresses, fact| {
        if let Fact::Address(address, Presence::Here) = fact {
            addresses.push(address);
        }
    })?;
    Ok((links, addresses))
}

/// All next-hop objects.
pub fn objects(dump: &mut Dump) -> Result<Vec<KernelObject>, FibError> {
    let mut objects = Vec::new();
    repeat(dump, Subject::Objects, &mut objects, |objects, fact| {
        if let Fact::Object(object, Presence::Here, _) = fact {
            objects.push(object);
        }
    })?;
    Ok(objects)
}

fn repeat<T>(
    dump: &mut Dump,
    subject: Subject,
    found: &mut Vec<T>,
    mut take: impl FnMut(&mut Vec<T>, Fact),
) -> Result<(), FibError> {
    let failed = |err| FibError::Read { what: subject.name(), err };
    for _ in 0..ATTEMPTS {
        found.clear();
        dump.ask(subject).map_err(failed)?;
        let end = loop {
            let step = dump.step(|m| {
                if let Some(fact) = fact(m) {
                    take(found, fact);
                }
            });
            match step.map_err(failed)? {
                Step::More => {}
                end => break end,
            }
        };
        if end == Step::Complete {
            break;
        }
    }
    Ok(())
}

fn no_family(err: &std::io::Error) -> bool {
    matches!(
        err.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL | libc::ENOENT)
    )
}
