//! A call from beginning to end, verb by verb.

use std::{io, time::Duration};

use margay_proto::v1::AddWorkloadResponse;
use serde_json::Value;

use crate::{
    ask::{self, Call},
    config::{self, Config, Ipam, Role},
    daemon::{self, Failure},
    delegate::Plugin,
    env::{Environment, Target, Verb},
    error::{Code, Error},
    result::NetworkResult,
    spool, unlink,
    version::Version,
};

/// Longer than the deadline that the daemon is told, so that its own answer comes first.
const GRACE: Duration = Duration::from_secs(1);
const LIST_LIMIT: Duration = Duration::from_secs(5);
const DEL_LIMIT: Duration = Duration::from_secs(10);
const CHECK_LIMIT: Duration = Duration::from_secs(10);
const STATUS_LIMIT: Duration = Duration::from_secs(5);
const GC_LIMIT: Duration = Duration::from_secs(60);

/// The state of an attachment whose ADD was answered.
const LIVE: &str = "live";

/// What a call comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A result or an error as JSON, or nothing.
    pub stdout: String,
    /// Lines for stderr.
    pub log: Vec<String>,
    /// The exit code is 0.
    pub done: bool,
}

impl Outcome {
    /// The configuration could not be read.
    pub fn unread(error: &io::Error) -> Self {
        let error = Error::new(Code::Io, "reading the network configuration from stdin")
            .with_details(error.to_string());
        Self::failed(&error, Version::NEWEST, Vec::new())
    }

    fn failed(error: &Error, version: Version, mut log: Vec<String>) -> Self {
        log.push(format!("error: {error}"));
        Self { stdout: error.json(version) + "\n", log, done: false }
    }
}

/// Does what the environment asks for.
pub fn call(role: Role, variable: impl Fn(&str) -> Option<String>, stdin: &[u8]) -> Outcome {
    let mut log = Vec::new();
    let mut version = Version::NEWEST;
    match answer(role, variable, stdin, &mut version, &mut log) {
        Ok(stdout) => Outcome { stdout, log, done: true },
        Err(error) => Outcome::failed(&error, version, log),
    }
}

fn answer(
    role: Role,
    variable: impl Fn(&str) -> Option<String>,
    stdin: &[u8],
    version: &mut Version,
    log: &mut Vec<String>,
) -> Result<String, Error> {
    let environment = Environment::read(variable)?;
    let verb = environment.verb;
    if verb == Verb::Version {
        return versions(stdin);
    }
    let json = config::decode(stdin)?;
    *version = config::version(&json)?;
    let since = match verb {
        Verb::Check => Version::V040,
        Verb::Gc | Verb::Status => Version::V110,
        Verb::Add | Verb::Del | Verb::Version => Version::V010,
    };
    if *version < since {
        let verb = verb.text();
        return Err(Error::new(
            Code::IncompatibleVersion,
            format!("{verb} exists since CNI {since}, the configuration is of {version}"),
        ));
    }
    let config = Config::read(&json, &environment.args, verb, role)?;
    log.extend(config.remarks.iter().map(|remark| format!("warning: {remark}")));
    let session = Session { role, environment: &environment, json, config: &config };
    match verb {
        Verb::Add => session.add(log).map(|result| result.json(*version) + "\n"),
        Verb::Del => session.delete(log),
        Verb::Check => session.check(),
        Verb::Gc => session.collect(),
        Verb::Status => session.status(),
        Verb::Version => versions(stdin),
    }
}

/// The answer names the version that was asked in.
fn versions(stdin: &[u8]) -> Result<String, Error> {
    let asked = if stdin.trim_ascii().is_empty() {
        None
    } else {
        let json = config::decode(stdin)?;
        json.get("cniVersion").and_then(Value::as_str).map(str::to_owned)
    };
    let asked = asked.as_deref().unwrap_or(Version::NEWEST.text());
    let all: Vec<_> = Version::ALL.iter().map(|version| Value::from(version.text())).collect();
    let answer = serde_json::json!({ "cniVersion": asked, "supportedVersions": all });
    Ok(format!("{answer:#}\n"))
}

struct Session<'a> {
    role: Role,
    environment: &'a Environment,
    json: Value,
    config: &'a Config,
}

impl Session<'_> {
    fn target(&self) -> &Target {
        &self.environment.target
    }

    fn call(&self) -> Call<'_> {
        Call { role: self.role, target: self.target(), config: self.config }
    }

    /// The foreign IPAM plugin, if there is to be one.
    fn foreign(&self) -> Option<Result<Plugin, Error>> {
        match &self.config.ipam {
            Ipam::Foreign(foreign) => Some(Plugin::find(&foreign.plugin, self.environment)),
            Ipam::Ours(_) => None,
        }
    }

    fn add(&self, log: &mut Vec<String>) -> Result<NetworkResult, Error> {
        if let Some(netns) = &self.target().netns
            && !self.environment.may_be_own_netns
            && self.role == Role::Network
            && unlink::is_own_netns(netns)
        {
            return Err(Error::new(
                Code::InvalidEnvironment,
                format!("CNI_NETNS: {} is the network namespace of the host", netns.display()),
            ));
        }
        let Some(plugin) = self.foreign() else { return self.attach(None) };
        let plugin = plugin?;
        // A repetition: the plugin has given its address already, and would refuse or give another.
        if let Some(given) = self.standing()? {
            return self.attach(Some(&given));
        }
        if self.needs_interface() {
            return self.add_over_link(&plugin, log);
        }
        // What refuses has given nothing: its DEL would free what an earlier ADD got.
        let given = plugin.add(&self.json)?;
        let result = self.attach(Some(&given));
        if result.is_err()
            && let Err(error) = plugin.call(Verb::Del, &self.json)
        {
            // The runtime calls DEL after a failed ADD anyway.
            log.push(format!("warning: giving the address back: {error}"));
        }
        result
    }

    /// Whether the foreign IPAM plugin works over the container's interface.
    fn needs_interface(&self) -> bool {
        matches!(&self.config.ipam, Ipam::Foreign(foreign) if foreign.needs_interface)
    }

    /// First the link, then its address, then the rest.
    fn add_over_link(
        &self,
        plugin: &Plugin,
        log: &mut Vec<String>,
    ) -> Result<NetworkResult, Error> {
        let link = self.ask_for(None)?;
        // It is there as a whole: somebody was quicker, or its annotations name its addresses.
        if !link.ips.is_empty() {
            return self.result(&link, None);
        }
        let result = plugin.add(&self.json).and_then(|given| self.attach(Some(&given)));
        if result.is_err() {
            // What an earlier ADD got has no link any more either. Giving back comes first, over it.
            if let Err(error) = plugin.call(Verb::Del, &self.json) {
                log.push(format!("warning: giving the address back: {error}"));
            }
            if let Err(error) = self.detach(log) {
                log.push(format!("warning: taking the link back: {error}"));
            }
        }
        result
    }

    /// The addresses of the attachment, if it is there.
    fn standing(&self) -> Result<Option<NetworkResult>, Error> {
        let attachment = self.call().attachment();
        let request = ask::list(self.config);
        let answer = daemon::ask(&self.config.socket, LIST_LIMIT, &request);
        let all = answer.map_err(Failure::into_error)?.workloads;
        let ours = all.into_iter().find(|one| one.attachment.as_ref() == Some(&attachment));
        ours.filter(|one| one.state == LIVE).map(|one| ask::addresses(&one)).transpose()
    }

    fn attach(&self, given: Option<&NetworkResult>) -> Result<NetworkResult, Error> {
        self.result(&self.ask_for(given)?, given)
    }

    fn ask_for(&self, given: Option<&NetworkResult>) -> Result<AddWorkloadResponse, Error> {
        let mut request = self.call().add(given);
        request.begin_by_millis = daemon::begin_by();
        let limit = Duration::from_millis(request.deadline_millis.into()) + GRACE;
        daemon::ask(&self.config.socket, limit, &request).map_err(Failure::into_error)
    }

    /// What the daemon's answer means behind what other plugins did.
    fn result(
        &self,
        answer: &AddWorkloadResponse,
        given: Option<&NetworkResult>,
    ) -> Result<NetworkResult, Error> {
        let mut result = ask::result(answer)?;
        if let Some(given) = given {
            result.dns = given.dns.clone();
        }
        Ok(match &self.config.previous {
            // A main plugin puts the address into its result by itself.
            Some(previous) if self.role == Role::Network => result.after(previous.clone()),
            _ => result,
        })
    }

    fn delete(&self, log: &mut Vec<String>) -> Result<String, Error> {
        // An address of another plugin is given back whatever becomes of the link: over it, or once
        // nobody can be reached by it any more.
        let give_back = || {
            let mut without = self.json.clone();
            config::without_pod_cidr(&mut without);
            self.foreign().map_or(Ok(()), |plugin| plugin?.call(Verb::Del, &without))
        };
        let (detached, given_back) = if self.needs_interface() {
            let given_back = give_back();
            (self.detach(log), given_back)
        } else {
            (self.detach(log), give_back())
        };
        detached?;
        given_back?;
        Ok(String::new())
    }

    /// Our part of a DEL, with the daemon or without.
    fn detach(&self, log: &mut Vec<String>) -> Result<(), Error> {
        let request = self.call().delete();
        match daemon::ask(&self.config.socket, DEL_LIMIT, &request) {
            Ok(_) => Ok(()),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Away(error)) => {
                log.push(format!("warning: {error}; the release is left for the daemon"));
                self.delete_alone(request)
            }
        }
    }

    /// DEL with the daemon away.
    fn delete_alone(&self, request: margay_proto::v1::DeleteWorkloadRequest) -> Result<(), Error> {
        let Target { ifname, netns, .. } = self.target();
        // First the spool: should the link stay, the daemon still comes to know.
        spool::leave(&self.config.spool_dir, request).map_err(|error| {
            let folder = self.config.spool_dir.display();
            Error::new(Code::Io, format!("spool_dir: cannot leave the release in {folder}"))
                .with_details(error.to_string())
        })?;
        match netns {
            Some(netns) if self.role == Role::Network && !unlink::is_own_netns(netns) => {
                unlink::interface(netns, ifname).map_err(|error| {
                    let netns = netns.display();
                    Error::new(Code::Io, format!("cannot remove {ifname} from {netns}"))
                        .with_details(error.to_string())
                })
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<String, Error> {
        if let Some(plugin) = self.foreign() {
            plugin?.call(Verb::Check, &self.json)?;
        }
        let request = self.call().check()?;
        daemon::ask(&self.config.socket, CHECK_LIMIT, &request).map_err(Failure::into_error)?;
        Ok(String::new())
    }

    fn collect(&self) -> Result<String, Error> {
        let request = ask::collect(self.config);
        let ours = daemon::ask(&self.config.socket, GC_LIMIT, &request);
        // One that cannot does not keep the other from it.
        let foreign = self.foreign().map(|plugin| plugin?.call(Verb::Gc, &self.json));
        ours.map_err(Failure::into_error)?;
        foreign.transpose()?;
        Ok(String::new())
    }

    fn status(&self) -> Result<String, Error> {
        if let Some(plugin) = self.foreign() {
            plugin?.call(Verb::Status, &self.json)?;
        }
        let request = ask::status(self.config);
        match daemon::ask(&self.config.socket, STATUS_LIMIT, &request) {
            Ok(_) => Ok(String::new()),
            Err(Failure::Away(error)) => Err(Error { code: Code::NotAvailable, ..error }),
            Err(Failure::Refused(error)) => Err(error),
        }
    }
}
