//! A cluster of real etcd processes, each on a host of its own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    Daemon, Host, Lab,
    certificates::{Authority, Identity},
    wait::until,
};

/// How long a cluster may take to answer.
const SOON: Duration = Duration::from_secs(30);

/// Its members, a host for their client, and the switch between them.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    client: Host,
    switch: Host,
    tls: bool,
}

#[derive(Debug)]
struct Member {
    host: Host,
    address: String,
    daemon: Option<Daemon>,
}

impl Cluster {
    /// Starts three members without TLS.
    ///
    /// # Errors
    /// When a process does not start or the cluster does not answer.
    pub fn start(lab: &mut Lab) -> Result<Self> {
        Self::start_with(lab, 3, false)
    }

    /// Starts one member without TLS, for who needs an etcd but none of its faults.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_one(lab: &mut Lab) -> Result<Self> {
        Self::start_with(lab, 1, false)
    }

    /// Starts three members that take clients with a certificate only.
    ///
    /// # Errors
    /// As [`Cluster::start`], and when openssl cannot make the certificates.
    pub fn start_with_tls(lab: &mut Lab) -> Result<(Self, Identity)> {
        let cluster = Self::start_with(lab, 3, true)?;
        let folder = lab.dir();
        let client = Identity {
            ca: folder.join("ca.pem"),
            certificate: folder.join("client.pem"),
            key: folder.join("client.key"),
        };
        Ok((cluster, client))
    }

    fn start_with(lab: &mut Lab, count: usize, tls: bool) -> Result<Self> {
        let switch = lab.switch("switch")?;
        let client = lab.host("client")?;
        lab.plug(&switch, &client, "eth0", &["10.99.0.100/24"])?;
        let mut members = Vec::new();
        for number in 1..=count {
            let host = lab.host(&format!("etcd{number}"))?;
            let address = format!("10.99.0.{number}");
            lab.plug(&switch, &host, "eth0", &[&format!("{address}/24")])?;
            members.push(Member { host, address, daemon: None });
        }
        if tls {
            make_certificates(lab, &members)?;
        }
        let mut cluster = Self { members, client, switch, tls };
        for number in 0..count {
            cluster.start_member(number)?;
        }
        until("a cluster that answers", SOON, || Ok(cluster.healthy() == count))?;
        Ok(cluster)
    }

    /// The addresses of the members for their clients.
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.members.iter().map(|member| format!("{scheme}://{}:2379", member.address)).collect()
    }

    /// The `[datastore]` table of who uses it.
    pub fn datastore(&self) -> String {
        let endpoints: Vec<_> = self.endpoints().iter().map(|e| format!("\"{e}\"")).collect();
        format!("[datastore]\ntype = \"etcd\"\nendpoints = [{}]\n", endpoints.join(", "))
    }

    /// The configuration of a daemon that uses it and leaves the kernel alone.
    pub fn config(&self) -> String {
        format!("{}\n[fib]\nenabled = false\n", self.datastore())
    }

    /// Where more hosts can be plugged in, with addresses of 10.99.0.0/24 from .101 on.
    pub fn switch(&self) -> &Host {
        &self.switch
    }

    /// Where a client has to run.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// Another host for a client, `name` at 10.99.0.`number`.
    ///
    /// # Errors
    /// When the name or the address is taken.
    pub fn host(&self, lab: &mut Lab, name: &str, number: u8) -> Result<Host> {
        let host = lab.host(name)?;
        lab.plug(&self.switch, &host, "eth0", &[&format!("10.99.0.{number}/24")])?;
        Ok(host)
    }

    /// Lets what members send through at this rate, as `tc` writes it, from now on.
    ///
    /// # Errors
    /// When `tc` refuses it.
    pub fn slow(&self, rate: &str) -> Result<()> {
        for member in &self.members {
            let bucket = ["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", rate];
            member.host.run("tc", &[&bucket[..], &["burst", "256k", "latency", "1s"]].concat())?;
        }
        Ok(())
    }

    /// kill -9 of a member (0 to 2).
    ///
    /// # Errors
    /// When there is no such process.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        let member = self.member(number)?;
        member.daemon.take().context("that member does not run")?.kill()
    }

    /// Starts a member that was killed; it goes on from its files.
    ///
    /// # Errors
    /// When the process does not start.
    pub fn start_member(&mut self, number: usize) -> Result<()> {
        let peers: Vec<String> = (1..)
            .zip(&self.members)
            .map(|(n, member)| format!("m{n}=http://{}:2380", member.address))
            .collect();
        let tls = self.tls;
        let member = self.member(number)?;
        let (address, folder) = (member.address.clone(), member.host.dir().to_owned());
        let scheme = if tls { "https" } else { "http" };
        let mut command = Command::new("etcd");
        command
            .arg(format!("--name=m{}", number + 1))
            .arg(format!("--data-dir={}", folder.join("data").display()))
            .arg(format!("--listen-peer-urls=http://{address}:2380"))
            .arg(format!("--initial-advertise-peer-urls=http://{address}:2380"))
            .arg(format!("--listen-client-urls={scheme}://{address}:2379"))
            .arg(format!("--advertise-client-urls={scheme}://{address}:2379"))
            .arg(format!("--listen-metrics-urls=http://{address}:2381"))
            .arg(format!("--initial-cluster={}", peers.join(",")))
            .arg("--initial-cluster-state=new")
            .arg("--heartbeat-interval=100")
            .arg("--election-timeout=1000");
        if tls {
            let lab = folder.parent().context("the folder of a host lies in that of its lab")?;
            command
                .arg(format!("--cert-file={}", folder.join("server.pem").display()))
                .arg(format!("--key-file={}", folder.join("server.key").display()))
                .arg(format!("--trusted-ca-file={}", lab.join("ca.pem").display()))
                .arg("--client-cert-auth");
        }
        let log = folder.join("etcd.log");
        member.daemon = Some(Daemon::spawn(&member.host, &mut command, &log)?);
        Ok(())
    }

    /// Cuts a member off from everybody, or lets it back.
    ///
    /// # Errors
    /// When the interface cannot be changed.
    pub fn cut(&mut self, number: usize, cut: Wire) -> Result<()> {
        let state = match cut {
            Wire::Cut => "down",
            Wire::Whole => "up",
        };
        self.member(number)?.host.ip(&["link", "set", "eth0", state]).map(drop)
    }

    /// How many members are well by their own account.
    pub fn healthy(&self) -> usize {
        self.members.iter().filter(|member| self.is_healthy(member)).count()
    }

    /// The member that leads, if one says so.
    pub fn leader(&self) -> Option<usize> {
        self.members.iter().position(|member| {
            self.ask(member, "GET", "2381", "/metrics", "")
                .is_ok_and(|text| text.contains("etcd_server_is_leader 1"))
        })
    }

    /// A request to the JSON interface of the first member, without TLS.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub fn call(&self, path: &str, body: &str) -> Result<String> {
        let member = self.members.first().context("there is a member")?;
        self.ask(member, "POST", "2379", path, body)
    }

    /// How many watches clients have at the first member.
    ///
    /// # Errors
    /// When it does not say.
    pub fn watchers(&self) -> Result<u64> {
        let member = self.members.first().context("there is a member")?;
        let text = self.ask(member, "GET", "2381", "/metrics", "")?;
        let name = "etcd_debugging_mvcc_watcher_total ";
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.parse().ok()).context("the number of watches")
    }

    fn is_healthy(&self, member: &Member) -> bool {
        let answer = self.ask(member, "GET", "2381", "/health", "");
        answer.is_ok_and(|text| text.contains("\"true\""))
    }

    fn ask(&self, to: &Member, verb: &str, port: &str, path: &str, body: &str) -> Result<String> {
        let address: SocketAddr = format!("{}:{port}", to.address).parse()?;
        self.client.enter(|| {
            let patience = Duration::from_secs(2);
            let mut stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let length = body.len();
            write!(
                stream,
                "{verb} {path} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if !answer.lines().next().is_some_and(|line| line.contains(" 200 ")) {
                bail!("{path}: {answer}");
            }
            Ok(answer)
        })
    }

    fn member(&mut self, number: usize) -> Result<&mut Member> {
        self.members.get_mut(number).with_context(|| format!("there is no member {number}"))
    }
}

/// Whether a member's wire is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing goes through.
    Cut,
    /// As it was.
    Whole,
}

fn make_certificates(lab: &Lab, members: &[Member]) -> Result<()> {
    let authority = Authority::new(lab.dir())?;
    for member in members {
        authority.issue("server", &member.address, member.host.dir())?;
    }
    authority.issue("client", "10.99.0.100", lab.dir()).map(drop)
}
