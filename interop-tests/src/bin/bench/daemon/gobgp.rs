//! GoBGP.

use std::{fmt::Write as _, process::Command};

use anyhow::Result;
use testkit::Host;

use super::{DUT, DUT_AS, Role, Running, Setup, TAG, write};

pub fn start(host: &Host, setup: &Setup) -> Result<Running> {
    let config = write(host, "gobgpd.toml", &text(setup))?;
    let mut command = Command::new("gobgpd");
    command.arg("-f").arg(&config).args(["-l", "warn", "--pprof-disable"]);
    command.args(["--api-hosts", "127.0.0.1:50051"]);
    Running::one(host, &mut command)
}

fn text(setup: &Setup) -> String {
    let mut text = format!(
        "[global.config]\nas = {DUT_AS}\nrouter-id = \"{DUT}\"\nlocal-address-list = [\"{DUT}\"]\n"
    );
    let family = if setup.v6 { "ipv6-unicast" } else { "ipv4-unicast" };
    for n in &setup.neighbors {
        let _ = write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n\
             [neighbors.transport.config]\npassive-mode = true\nlocal-address = \"{DUT}\"\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n",
            n.address, n.asn
        );
        match n.role {
            Role::ReflectorClient => {
                let _ = write!(
                    text,
                    "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                     route-reflector-cluster-id = \"{DUT}\"\n"
                );
            }
            Role::ServerClient(class) => {
                let _ = write!(
                    text,
                    "[neighbors.route-server.config]\nroute-server-client = true\n\
                     [neighbors.apply-policy.config]\nexport-policy-list = [\"class{class}\"]\n\
                     default-export-policy = \"accept-route\"\n"
                );
            }
            // It takes no part where a policy is reloaded, and so where there is a keeper.
            Role::Plain | Role::Keeper => {}
        }
    }
    for class in setup.classes() {
        let tag = TAG + class - 1;
        let _ = write!(
            text,
            "[[defined-sets.bgp-defined-sets.community-sets]]\ncommunity-set-name = \"tag{class}\"\n\
             community-list = [\"{DUT_AS}:{tag}\"]\n\
             [[policy-definitions]]\nname = \"class{class}\"\n\
             [[policy-definitions.statements]]\n\
             [policy-definitions.statements.conditions.bgp-conditions.match-community-set]\n\
             community-set = \"tag{class}\"\n\
             [policy-definitions.statements.actions]\nroute-disposition = \"reject-route\"\n{}",
            statement(class)
        );
    }
    text
}

fn statement(community: u32) -> String {
    format!(
        "[[policy-definitions.statements]]\n[policy-definitions.statements.actions]\n\
         route-disposition = \"accept-route\"\n\
         [policy-definitions.statements.actions.bgp-actions.set-community]\noptions = \"add\"\n\
         [policy-definitions.statements.actions.bgp-actions.set-community.set-community-method]\n\
         communities-list = [\"{DUT_AS}:{community}\"]\n"
    )
}
