//! The environment of a call: `CNI_COMMAND` and its companions, checked verb by verb.

use std::{env, path::PathBuf};

use crate::error::{Code, Error};

/// What the runtime asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Attach a container to the network.
    Add,
    /// Detach it.
    Del,
    /// Whether it is attached as ADD left it.
    Check,
    /// Remove what belongs to no attachment that the runtime knows.
    Gc,
    /// Whether ADD would work.
    Status,
    /// Which versions are spoken.
    Version,
}

impl Verb {
    /// As it stands in `CNI_COMMAND`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    const ALL: [Self; 6] =
        [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];
}

/// Which container and interface a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`: the interface in the container.
    pub ifname: String,
    /// `CNI_NETNS`; a DEL may come without.
    pub netns: Option<PathBuf>,
}

/// The environment of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// What it is about; empty for GC, STATUS and VERSION.
    pub target: Target,
    /// `CNI_ARGS` as it is.
    pub args: String,
    /// `CNI_PATH`: where other plugins are.
    pub path: Vec<PathBuf>,
    /// `CNI_NETNS_OVERRIDE`: the container may be in our own network namespace.
    pub may_be_own_netns: bool,
}

/// Longest interface name of the kernel (IFNAMSIZ without the final zero).
const IFNAME_MAX: usize = 15;

impl Environment {
    /// From variables by name.
    ///
    /// # Errors
    /// A variable that the verb needs is missing, or one is invalid.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let Some(command) = variable("CNI_COMMAND") else {
            return Err(invalid("CNI_COMMAND is not set").with_details(
                "this is a CNI plugin: a container runtime calls it; --help tells more",
            ));
        };
        let Some(verb) = Verb::ALL.into_iter().find(|verb| verb.text() == command) else {
            return Err(invalid(format!("CNI_COMMAND: unknown command {command:?}"))
                .with_details("ADD, DEL, CHECK, GC, STATUS and VERSION are known"));
        };
        let target = match verb {
            Verb::Add | Verb::Del | Verb::Check => target(verb, &variable)?,
            Verb::Gc | Verb::Status | Verb::Version => Target::default(),
        };
        let path = variable("CNI_PATH").unwrap_or_default();
        let truths = ["1", "true", "yes"];
        Ok(Self {
            verb,
            target,
            args: variable("CNI_ARGS").unwrap_or_default(),
            path: env::split_paths(&path).filter(|path| path.is_absolute()).collect(),
            may_be_own_netns: variable("CNI_NETNS_OVERRIDE")
                .is_some_and(|value| truths.contains(&value.to_ascii_lowercase().as_str())),
        })
    }
}

fn target(verb: Verb, variable: &impl Fn(&str) -> Option<String>) -> Result<Target, Error> {
    let container_id = variable("CNI_CONTAINERID");
    let ifname = variable("CNI_IFNAME");
    let netns = variable("CNI_NETNS");
    let needed = [
        ("CNI_CONTAINERID", container_id.is_none()),
        ("CNI_NETNS", netns.is_none() && verb != Verb::Del),
        ("CNI_IFNAME", ifname.is_none()),
    ];
    let missing: Vec<_> =
        needed.iter().filter(|(_, missing)| *missing).map(|(name, _)| *name).collect();
    let (Some(container_id), Some(ifname), true) = (container_id, ifname, missing.is_empty())
    else {
        return Err(invalid(format!("{} not set: {} needs it", missing.join(", "), verb.text())));
    };
    if !is_identifier(&container_id) {
        return Err(invalid(format!("CNI_CONTAINERID: invalid characters in {container_id:?}"))
            .with_details("it begins with a letter or digit and has letters, digits, _ . -"));
    }
    if let Some(fault) = ifname_fault(&ifname) {
        return Err(invalid(format!("CNI_IFNAME: {ifname:?} {fault}")));
    }
    let netns = netns.map(PathBuf::from);
    if let Some(netns) = netns.as_ref().filter(|path| !path.is_absolute() && verb != Verb::Del) {
        return Err(invalid(format!("CNI_NETNS: {netns:?} is no absolute path")));
    }
    Ok(Target { container_id, ifname, netns })
}

fn invalid(msg: impl Into<String>) -> Error {
    Error::new(Code::InvalidEnvironment, msg)
}

/// What container ids and network names look like (specification 1.1.0, "Parameters" and "Network
/// configuration format").
pub fn is_identifier(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || b"_.-".contains(&letter))
}

/// Why the kernel would refuse an interface name (`dev_valid_name`).
fn ifname_fault(name: &str) -> Option<&'static str> {
    if name.len() > IFNAME_MAX {
        return Some("is longer than 15 characters");
    }
    if name == "." || name == ".." {
        return Some("is no interface name");
    }
    // The kernel puts a number where a percent sign is.
    let refused = |letter: char| "/:%".contains(letter) || letter.is_whitespace();
    name.contains(refused).then_some("has a slash, a colon, a percent sign or a space")
}

#[cfg(test)]
mod tests;
