//! Makes, removes and looks at workloads' links. What is to be done is [`steps`]'s to say.
//!
//! What concerns a container works on a thread of its own, which moves between the host's namespace
//! and the container's and ends with the call. All block, up to some milliseconds; with the kernel's
//! lock on links contended by others, longer.
//!
//! [`steps`]: crate::attach::steps

mod channel;
mod look;
mod message;
mod place;

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::attach::steps::{Ends, Need, Side, Step, finish, limit, needed, settings_again};
use crate::attach::{AttachError, Difference, HostLink, LinkSpec, Observed, Stage};
use channel::Channel;
use look::Seen;
use message::{Create, Delete, Limit};
use place::Places;

/// A link that is as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Index of the host end.
    pub host_index: u32,
    /// Index of the container end, in the container's namespace.
    pub container_index: u32,
    /// Hardware address of the container end.
    pub container_mac: [u8; 6],
    /// How it came.
    pub origin: Origin,
    /// How long each stage took, in order; one that was come back to is named again.
    pub took: Vec<(Stage, Duration)>,
}

/// Whether a link was made by this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By this call.
    Made,
    /// By an earlier one; it was found to be as asked for.
    Adopted,
}

/// What [`detach`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// The link, which is gone now, both ends of it.
    Removed,
    /// Nothing of this name.
    Absent,
}

/// Makes a workload's link: both ends, the container's addresses and routes, the host's settings.
///
/// Where it is there already as asked for, it is left alone, but for limits of traffic and the host's
/// settings of the kernel, which are made as asked; where something of its name is there that differs, that is an error. A kernel that cannot
/// limit traffic is warned of, and the link is made without. When it fails, no link is left; settings of
/// the container's namespace, and forwarding on the host, are not taken back.
///
/// The caller's thread says which namespace is the host's. Needs CAP_NET_ADMIN and CAP_SYS_ADMIN.
/// The host's route to the workload is not made here.
pub fn attach(netns: &Path, spec: &LinkSpec) -> Result<Attached, AttachError> {
    spec.check()?;
    apart(|| {
        let mut clock = Clock::new();
        let mut work = Work::open(netns)?;
        // Mostly nothing is there: the kernel says so soon enough if something is.
        if !work.create(spec)? {
            let seen = work.observe(&spec.host_name, &spec.container_name)?;
            clock.lap(Stage::Look);
            return match (&seen.host, &seen.container) {
                (Some(_), _) => work.adopt(spec, &seen, clock),
                (None, Some(_)) => {
                    let name = spec.container_name.clone();
                    Err(AttachError::ContainerNameTaken { name })
                }
                // Somebody had a link of one of the names for a moment.
                (None, None) => Err(AttachError::NameTaken { name: spec.host_name.clone() }),
            };
        }
        let made = work.complete(spec, &mut clock);
        if made.is_err() {
            work.take_back(&spec.host_name);
        }
        made
    })
}

/// Gives a link that [`attach`] made of the same specification without addresses and routes those
/// that it was made for. When it fails, the link stays, with some of them perhaps.
pub fn fulfil(netns: &Path, spec: &LinkSpec) -> Result<Attached, AttachError> {
    spec.check()?;
    apart(|| {
        let mut clock = Clock::new();
        let mut work = Work::open(netns)?;
        let seen = work.observe(&spec.host_name, &spec.container_name)?;
        clock.lap(Stage::Look);
        if seen.host.is_none() {
            return Err(work.gone());
        }
        let unlimited = spec.without_limits();
        if seen.differences(&unlimited).is_empty() {
            return work.adopt(spec, &seen, clock);
        }
        let bare = LinkSpec { addresses: Vec::new(), routes: Vec::new(), ..unlimited };
        if let Some(first) = seen.differences(&bare).into_iter().next() {
            return Err(AttachError::Differs { name: spec.host_name.clone(), first });
        }
        work.complete(spec, &mut clock)
    })
}

/// Removes a workload's link by the name of its host end.
///
/// Addresses, routes and neighbours over it go with it. A link of this name that is no veth is left
/// alone and is an error. The caller's thread says which namespace is the host's.
pub fn detach(host_name: &str) -> Result<Detached, AttachError> {
    remove(host_name, |_| true)
}

/// Removes a link as [`detach`] does, if it has this alias, or none: one whose making was cut short by
/// our end has none yet. Another's counts as absent.
pub fn detach_own(host_name: &str, alias: &str) -> Result<Detached, AttachError> {
    remove(host_name, |link| link.alias.is_empty() || link.alias == alias)
}

/// Removes a link as [`detach`] does, if it has this alias. What else has its name counts as absent.
pub fn detach_marked(host_name: &str, alias: &str) -> Result<Detached, AttachError> {
    let mut host = Channel::open()?;
    let seen = look::link(&mut host, host_name)?;
    match seen.filter(|seen| seen.is_veth && seen.link.alias == alias) {
        Some(seen) => take_away(&mut host, &seen.link),
        None => Ok(Detached::Absent),
    }
}

fn remove(host_name: &str, meant: impl Fn(&HostLink) -> bool) -> Result<Detached, AttachError> {
    let mut host = Channel::open()?;
    match look::host_link(&mut host, host_name)?.filter(meant) {
        Some(link) => take_away(&mut host, &link),
        None => Ok(Detached::Absent),
    }
}

fn take_away(host: &mut Channel, link: &HostLink) -> Result<Detached, AttachError> {
    // By index: another link may have taken the name meanwhile.
    match host.write(Stage::Remove, &[Delete { index: link.index, name: &link.name }]) {
        Err(AttachError::Kernel { err, .. }) if err.raw_os_error() == Some(libc::ENODEV) => {
            Ok(Detached::Absent)
        }
        removed => removed.map(|()| Detached::Removed),
    }
}

/// What there is of a link; see [`Observed::differences`].
pub fn inspect(
    netns: &Path,
    host_name: &str,
    container_name: &str,
) -> Result<Observed, AttachError> {
    apart(|| Work::open(netns)?.observe(host_name, container_name))
}

/// Where a link is not as asked for. A limit that the kernel cannot keep is no difference.
pub fn compare(netns: &Path, spec: &LinkSpec) -> Result<Vec<Difference>, AttachError> {
    apart(|| {
        let mut work = Work::open(netns)?;
        let seen = work.observe(&spec.host_name, &spec.container_name)?;
        let mut differences = seen.differences(spec);
        let unlimited = spec.without_limits();
        if let Some(host) = &seen.host {
            if differences != seen.differences(&unlimited) && !work.can_limit(host)? {
                differences = seen.differences(&unlimited);
            }
            work.places.go(Side::Host)?;
            differences.extend(needed(spec).into_iter().filter_map(|setting| {
                let found = work.places.instead(&setting)?;
                Some(Difference::of_setting(setting, found))
            }));
        }
        Ok(differences)
    })
}

/// The host's veth links whose name starts with `prefix`, by name. The caller's thread says which
/// namespace is the host's.
pub fn list(prefix: &str) -> Result<Vec<HostLink>, AttachError> {
    look::host_links(&mut Channel::open()?, prefix)
}

/// Sockets in both namespaces, and the thread that is in one of them.
#[derive(Debug)]
struct Work {
    places: Places,
    host: Channel,
    container: Channel,
}

impl Work {
    /// On a thread of our own only, for it moves.
    fn open(netns: &Path) -> Result<Self, AttachError> {
        let mut places = Places::open(netns)?;
        let host = Channel::open()?;
        places.go(Side::Container)?;
        let container = Channel::open()?;
        Ok(Self { places, host, container })
    }

    fn observe(&mut self, host: &str, container: &str) -> Result<Observed, AttachError> {
        Ok(Observed {
            host: look::host_side(&mut self.host, host)?,
            container: look::container_side(&mut self.container, container)?,
        })
    }

    /// Makes both ends; false where something has one of the names. What follows a success must be
    /// [completed](Self::complete) or [taken back](Self::take_back).
    fn create(&mut self, spec: &LinkSpec) -> Result<bool, AttachError> {
        let create = Create { spec, netns: self.places.container() };
        match self.host.write(Stage::Create, &[create]) {
            Err(AttachError::Kernel { err, .. }) if err.raw_os_error() == Some(libc::EEXIST) => {
                Ok(false)
            }
            made => made.map(|()| true),
        }
    }

    /// Everything after the creation.
    fn complete(&mut self, spec: &LinkSpec, clock: &mut Clock) -> Result<Attached, AttachError> {
        let host = look::link(&mut self.host, &spec.host_name)?;
        let host = host.ok_or_else(|| self.gone())?.link;
        // Nobody changes what nobody has seen yet: the other end has what was asked for.
        let (container_index, container_mac) = match spec.container_mac {
            Some(mac) if host.peer_index != 0 => (host.peer_index, mac),
            _ => {
                let container = look::link(&mut self.container, &spec.container_name)?;
                let Seen { link: container, .. } = container.ok_or_else(|| self.gone())?;
                (container.index, container.mac)
            }
        };
        clock.lap(Stage::Create);
        let (host_index, host_mac) = (host.index, host.mac);
        let ends = Ends { host_index, host_mac, container_index, container_mac };
        for step in finish(spec, &ends) {
            let side = self.take(spec, step)?;
            clock.lap(side.stage());
        }
        // Other programs change the hardware address of what they see coming.
        let host = look::link(&mut self.host, &spec.host_name)?;
        let host = host.ok_or_else(|| self.gone())?.link;
        if let Some(first) = Difference::between_macs(&spec.host_name, spec.host_mac, host.mac) {
            return Err(AttachError::Differs { name: spec.host_name.clone(), first });
        }
        self.places.still_there()?;
        clock.lap(Stage::Look);
        Ok(Attached {
            host_index: ends.host_index,
            container_index: ends.container_index,
            container_mac: ends.container_mac,
            origin: Origin::Made,
            took: std::mem::take(&mut clock.laps),
        })
    }

    /// One step, and on which side.
    fn take(&mut self, spec: &LinkSpec, step: Step) -> Result<Side, AttachError> {
        match step {
            Step::KeepRouters => {
                self.places.go(Side::Host)?;
                if self.places.is_to_begin_forwarding() {
                    let links = look::kin(&mut self.host)?;
                    self.places.keep_routers(&links)?;
                }
                Ok(Side::Host)
            }
            Step::Sysctls(side, settings) => {
                self.places.go(side)?;
                for (setting, need) in settings {
                    match (self.places.set(&setting), need) {
                        (Ok(()), _) => {}
                        (Err(err), Need::Must) => {
                            let (key, value) = (setting.key, setting.value);
                            return Err(AttachError::Sysctl { key, value, err });
                        }
                        // A kernel without IPv6 has none of its settings.
                        (Err(err), Need::Try) if err.kind() == io::ErrorKind::NotFound => {}
                        (Err(err), Need::Try) => {
                            let (key, value) = (setting.key, setting.value);
                            tracing::warn!(key, value, %err, "cannot write a kernel setting");
                        }
                    }
                }
                Ok(side)
            }
            Step::Limit(side, index, bucket) => {
                let name = match side {
                    Side::Host => &spec.host_name,
                    Side::Container => &spec.container_name,
                };
                let limit = Limit { index, name, bucket: Some(bucket) };
                match self.channel(side).write(side.stage(), &[limit]) {
                    Err(AttachError::Kernel { err, .. }) if is_unknown(&err) => tracing::warn!(
                        link = name,
                        %bucket,
                        "traffic is not limited: the kernel has no token buckets (sch_tbf)"
                    ),
                    limited => limited?,
                }
                Ok(side)
            }
            Step::Writes(side, writes) => {
                self.channel(side).write(side.stage(), &writes)?;
                Ok(side)
            }
        }
    }

    fn channel(&mut self, side: Side) -> &mut Channel {
        match side {
            Side::Host => &mut self.host,
            Side::Container => &mut self.container,
        }
    }

    /// A link that is there already.
    fn adopt(
        &mut self,
        spec: &LinkSpec,
        seen: &Observed,
        mut clock: Clock,
    ) -> Result<Attached, AttachError> {
        if let Some(first) = seen.differences(&spec.without_limits()).into_iter().next() {
            return Err(AttachError::Differs { name: spec.host_name.clone(), first });
        }
        let missing = || AttachError::ContainerNameTaken { name: spec.container_name.clone() };
        let host = seen.host.as_ref().ok_or_else(missing)?;
        let container = seen.container.as_ref().ok_or_else(missing)?;
        if !seen.differences(spec).is_empty() {
            for (side, index) in [(Side::Host, host.index), (Side::Container, container.index)] {
                if let Some(step) = limit(spec, side, index) {
                    let side = self.take(spec, step)?;
                    clock.lap(side.stage());
                }
            }
        }
        for step in settings_again(spec) {
            let side = self.take(spec, step)?;
            clock.lap(side.stage());
        }
        Ok(Attached {
            host_index: host.index,
            container_index: container.index,
            container_mac: container.mac,
            origin: Origin::Adopted,
            took: clock.laps,
        })
    }

    /// Whether the kernel has buckets: it is asked for one without size, which it refuses one way or
    /// the other.
    fn can_limit(&mut self, host: &HostLink) -> Result<bool, AttachError> {
        let question = Limit { index: host.index, name: &host.name, bucket: None };
        match self.host.write(Stage::Look, &[question]) {
            Err(AttachError::Kernel { err, .. }) => Ok(!is_unknown(&err)),
            asked => asked.map(|()| true),
        }
    }

    /// An end that was made and is not there: its namespace went, or somebody deleted it.
    fn gone(&self) -> AttachError {
        match self.places.still_there() {
            Err(gone) => gone,
            Ok(()) => AttachError::System {
                what: "somebody deleted the link",
                err: io::Error::from_raw_os_error(libc::ENODEV),
            },
        }
    }

    /// Removes what was made.
    fn take_back(&mut self, name: &str) {
        match self.host.write(Stage::Remove, &[Delete { index: 0, name }]) {
            Ok(()) => {}
            Err(AttachError::Kernel { err, .. }) if err.raw_os_error() == Some(libc::ENODEV) => {}
            Err(err) => tracing::error!(name, %err, "cannot take back a workload's link"),
        }
    }
}

/// Whether a kernel refused because it does not know such a thing, or was built without traffic control.
fn is_unknown(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP))
}

/// Runs on a thread that nobody else gets afterwards, and waits for it.
fn apart<T: Send>(work: impl FnOnce() -> Result<T, AttachError> + Send) -> Result<T, AttachError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("attach".to_owned()).spawn_scoped(scope, work);
        let system = |what, err| AttachError::System { what, err };
        let thread = thread.map_err(|err| system("cannot start a thread", err))?;
        let panicked = |_| system("attaching", io::Error::other("the thread panicked"));
        thread.join().map_err(panicked)?
    })
}

/// Measures stages.
#[derive(Debug)]
struct Clock {
    since: Instant,
    laps: Vec<(Stage, Duration)>,
}

impl Clock {
    fn new() -> Self {
        Self { since: Instant::now(), laps: Vec::new() }
    }

    /// What was done since the last was this.
    fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        let took = now.saturating_duration_since(std::mem::replace(&mut self.since, now));
        match self.laps.last_mut() {
            Some((last, sum)) if *last == stage => *sum += took,
            _ => self.laps.push((stage, took)),
        }
    }
}
