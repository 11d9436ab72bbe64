//! What Margay must do with every peer: one function a scenario, played with each make.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testkit::{
    bgp::{Announcement, Communities, Family, Implementation},
    tap::kind,
    until,
    wait::holds,
};

use crate::{
    harness::{Case, Outcome},
    pair::{ENDS, OURS, Pair, SOON, Setup, Side, THEIRS, ends, of},
    reflection,
};

/// A scenario with one make of peer.
type Scenario = fn(Implementation) -> Result<Outcome>;

/// Rows of the table.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("session up, Margay calls", active),
    ("session up, the peer calls", passive),
    ("IPv4 unicast both ways, kernel route", ipv4),
    ("IPv6 unicast both ways, kernel route", ipv6),
    ("4-octet ASNs", four_octet_asns),
    ("standard, large, extended communities unchanged", communities),
    ("withdraw both ways", withdraw),
    ("route refresh, Margay asks", refresh_asked),
    ("route refresh, the peer asks", refresh_answered),
    ("TCP-MD5, same password", right_password),
    ("TCP-MD5, other password stays down", wrong_password),
    ("peer killed and back", killed_and_back),
    ("hold timer expires on a silent peer", hold_timer),
    ("reflects between two clients", reflection::margay_reflects),
    ("is a client of a reflector", reflection::margay_is_client),
];

/// The whole matrix.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for implementation in Implementation::ALL {
        for (row, scenario) in SCENARIOS {
            cases.push(Case {
                row,
                column: implementation.to_string(),
                run: Box::new(move || scenario(implementation)),
            });
        }
    }
    cases
}

fn passed(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

fn active(peer: Implementation) -> Result<Outcome> {
    let setup = Setup { passive: Some(Side::Peers), ..Setup::default() };
    passed(Pair::play(peer, &setup, |pair| {
        pair.up()?;
        for (_, _, them) in ENDS {
            let incoming = &pair.margay.json(&["peers", them])?["transport"]["incoming"];
            ensure!(*incoming == false, "the peer called although it is passive: {incoming}");
        }
        Ok(())
    }))
}

fn passive(peer: Implementation) -> Result<Outcome> {
    let setup = Setup { passive: Some(Side::Ours), ..Setup::default() };
    passed(Pair::play(peer, &setup, |pair| {
        pair.up()?;
        for (_, _, them) in ENDS {
            let incoming = &pair.margay.json(&["peers", them])?["transport"]["incoming"];
            ensure!(*incoming == true, "Margay called although it is passive: {incoming}");
        }
        Ok(())
    }))
}

fn ipv4(peer: Implementation) -> Result<Outcome> {
    unicast(peer, Family::Ipv4)
}

fn ipv6(peer: Implementation) -> Result<Outcome> {
    unicast(peer, Family::Ipv6)
}

fn unicast(peer: Implementation, family: Family) -> Result<Outcome> {
    passed(Pair::play(peer, &Setup::default(), |pair| {
        pair.up()?;
        let route = pair.learned(family)?;
        let (us, them) = ends(family);
        ensure!(route["next_hop"] == them, "next hop of {route}");
        ensure!(route["as_path"] == serde_json::json!([65002]), "AS path of {route}");
        ensure!(route["family"] == family.unicast(), "family of {route}");
        let told = pair.told(family)?;
        ensure!(told.as_path == [65001], "the peer has {told:?}");
        if let Some(next_hop) = &told.next_hop {
            ensure!(next_hop == us, "the peer has {told:?}");
        }
        pair.kernel(family, true)?;
        let row = pair.margay.peer(them)?;
        let counts = &row["families"][family.unicast()];
        // FRR sends our own route back; it is received, and refused for the loop.
        let received = counts["received"].as_u64();
        ensure!(received >= Some(1) && received <= Some(2), "counts of {them}: {counts}");
        ensure!(counts["accepted"] == 1 && counts["advertised"] == 1, "counts: {counts}");
        pair.still_up()
    }))
}

fn four_octet_asns(peer: Implementation) -> Result<Outcome> {
    let (us, them) = (4_200_000_001, 4_200_000_002);
    let setup = Setup { our_asn: us, peer_asn: them, ..Setup::default() };
    passed(Pair::play(peer, &setup, |pair| {
        pair.up()?;
        let route = pair.learned(Family::Ipv4)?;
        ensure!(route["as_path"] == serde_json::json!([them]), "AS path of {route}");
        let told = pair.told(Family::Ipv4)?;
        ensure!(told.as_path == [us], "the peer has {told:?}");
        Ok(())
    }))
}

fn communities(peer: Implementation) -> Result<Outcome> {
    // GoBGP's command line cannot write a route origin.
    let second = if peer == Implementation::GoBgp { "rt:65002:9" } else { "ro:65002:9" };
    let communities = Communities::new(
        &["65001:1", "65002:65535", "0:77"],
        &["4200000001:1:2", "65001:4294967295:0"],
        &["rt:65001:3", second],
    );
    let setup = Setup { communities: communities.clone(), ..Setup::default() };
    passed(Pair::play(peer, &setup, |pair| {
        pair.up()?;
        for family in [Family::Ipv4, Family::Ipv6] {
            let route = pair.learned(family)?;
            let got = Communities {
                standard: texts(&route["communities"]),
                large: texts(&route["large_communities"]),
                extended: texts(&route["ext_communities"]),
            };
            ensure!(got == communities, "at Margay: {got:?}, wanted {communities:?}");
            let told = pair.told(family)?.communities;
            ensure!(told == communities, "at the peer: {told:?}, wanted {communities:?}");
        }
        Ok(())
    }))
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn withdraw(peer: Implementation) -> Result<Outcome> {
    passed(Pair::play(peer, &Setup::default(), |pair| {
        pair.up()?;
        for family in [Family::Ipv4, Family::Ipv6] {
            let (ours, theirs) = (of(OURS, family), of(THEIRS, family));
            pair.learned(family)?;
            pair.told(family)?;
            pair.kernel(family, true)?;
            pair.peer.withdraw(theirs)?;
            until("withdrawn at Margay", SOON, || Ok(pair.margay.routes(&[theirs])?.is_empty()))?;
            pair.kernel(family, false)?;
            pair.margay.text(&["routes", "withdraw", ours])?;
            let us = ends(family).0;
            until("withdrawn at the peer", SOON, || {
                Ok(pair.peer.received(us)?.iter().all(|route| route.prefix != ours))
            })?;
            pair.peer.announce(&Announcement::plain(theirs))?;
            pair.learned(family)?;
            pair.kernel(family, true)?;
            pair.margay.text(&["routes", "add", ours])?;
            pair.told(family)?;
        }
        pair.still_up()
    }))
}

fn refresh_asked(peer: Implementation) -> Result<Outcome> {
    // The last two show against BIRD too.
    let excuse = match peer {
        Implementation::Frr => {
            Some("FRR 8.4.4 took the request, but was not seen to send its routes again")
        }
        Implementation::OpenBgpd => Some("OpenBGPD 7.7 gets it and says \"AID not negotiated\""),
        Implementation::ExaBgp => Some("ExaBGP 4.2.21 drops the session on ROUTE-REFRESH"),
        _ => None,
    };
    Pair::play(peer, &Setup::default(), |pair| {
        pair.up()?;
        for (family, us, them) in ENDS {
            pair.learned(family)?;
            let before = pair.tap.updates(them);
            pair.margay.text(&["peers", "reset", them, "--soft", "in"])?;
            until("Margay's ROUTE-REFRESH", SOON, || {
                Ok(pair.tap.count(us, kind::ROUTE_REFRESH) > 0)
            })?;
            if excuse.is_none() {
                until("the peer's routes again", SOON, || Ok(pair.tap.updates(them) > before))?;
            }
            if peer == Implementation::ExaBgp {
                // Its routes go with the session, and come back with it.
                continue;
            }
            pair.learned(family)?;
            pair.kernel(family, true)?;
        }
        if peer == Implementation::ExaBgp { pair.up() } else { pair.still_up() }
    })?;
    Ok(excuse.map_or(Outcome::Passed, Outcome::NotApplicable))
}

fn refresh_answered(peer: Implementation) -> Result<Outcome> {
    if peer == Implementation::GoBgp {
        return Ok(Outcome::NotApplicable("GoBGP answers ROUTE-REFRESH but never sends one"));
    }
    passed(Pair::play(peer, &Setup::default(), |pair| {
        pair.up()?;
        for (family, us, them) in ENDS {
            pair.told(family)?;
            let before = pair.tap.updates(us);
            pair.peer.refresh(us)?;
            until("the peer's ROUTE-REFRESH", SOON, || {
                Ok(pair.tap.count(them, kind::ROUTE_REFRESH) > 0)
            })?;
            until("Margay's routes again", SOON, || Ok(pair.tap.updates(us) > before))?;
            pair.told(family)?;
        }
        pair.still_up()
    }))
}

fn password(ours: &str, peers: &str) -> Setup {
    Setup { our_password: Some(ours.into()), peer_password: Some(peers.into()), ..Setup::default() }
}

fn right_password(peer: Implementation) -> Result<Outcome> {
    passed(Pair::play(peer, &password("correct-horse", "correct-horse"), |pair| {
        pair.up()?;
        for family in [Family::Ipv4, Family::Ipv6] {
            pair.learned(family)?;
            pair.told(family)?;
        }
        for (_, _, them) in ENDS {
            let how = &pair.margay.json(&["peers", them])?["transport"]["authentication"];
            ensure!(*how == "md5", "authentication: {how}");
        }
        Ok(())
    }))
}

fn wrong_password(peer: Implementation) -> Result<Outcome> {
    passed(Pair::play(peer, &password("correct-horse", "battery-staple"), |pair| {
        holds("no session with another password", Duration::from_secs(6), || {
            for (_, us, them) in ENDS {
                if pair.margay.established(them)? || pair.peer.established(us)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        // Nothing of BGP may pass either way.
        for (_, us, them) in ENDS {
            let opens = pair.tap.count(us, kind::OPEN) + pair.tap.count(them, kind::OPEN);
            ensure!(opens == 0, "{opens} OPEN messages passed");
        }
        Ok(())
    }))
}

fn killed_and_back(peer: Implementation) -> Result<Outcome> {
    let setup = Setup { hold_time: 9, ..Setup::default() };
    passed(Pair::play(peer, &setup, |pair| {
        pair.up()?;
        for family in [Family::Ipv4, Family::Ipv6] {
            pair.learned(family)?;
            pair.kernel(family, true)?;
        }
        // Both may have called at once at the start: a collision counts, too.
        let flaps =
            |them: &str| -> Result<Option<u64>> { Ok(pair.margay.peer(them)?["flaps"].as_u64()) };
        let mut before = Vec::new();
        for (_, _, them) in ENDS {
            before.push(flaps(them)?.context("no flaps are told")?);
        }
        pair.peer.kill()?;
        for ((family, _, them), before) in ENDS.into_iter().zip(before) {
            until("session down", SOON, || Ok(!pair.margay.established(them)?))?;
            let now = flaps(them)?;
            ensure!(now == Some(before + 1), "flaps: {before} before, {now:?} now");
            until("routes gone", SOON, || {
                Ok(pair.margay.routes(&[of(THEIRS, family)])?.is_empty())
            })?;
            pair.kernel(family, false)?;
        }
        pair.peer.start()?;
        pair.up()?;
        for (family, _, _) in ENDS {
            pair.learned(family)?;
            pair.told(family)?;
            pair.kernel(family, true)?;
        }
        Ok(())
    }))
}

fn hold_timer(peer: Implementation) -> Result<Outcome> {
    let setup = Setup { hold_time: 6, ..Setup::default() };
    passed(Pair::play(peer, &setup, |pair| {
        pair.up()?;
        pair.learned(Family::Ipv4)?;
        pair.kernel(Family::Ipv4, true)?;
        let agreed = &pair.margay.json(&["peers", ENDS[0].2])?["timers"]["hold_time_seconds"];
        ensure!(*agreed == 6, "agreed hold time: {agreed}");
        pair.peer.pause()?;
        let result = silent(pair);
        pair.peer.resume()?;
        result?;
        pair.up()?;
        pair.learned(Family::Ipv4)?;
        pair.kernel(Family::Ipv4, true)
    }))
}

/// The peer has stopped: within the hold time the session ends with NOTIFICATION 4/0.
fn silent(pair: &mut Pair) -> Result<()> {
    for (family, us, them) in ENDS {
        until("hold timer expires", Duration::from_secs(12), || {
            let error = &pair.margay.peer(them)?["last_error"];
            Ok(error["direction"] == "sent" && error["code"] == 4)
        })?;
        let sent = pair.tap.notifications(us);
        if !sent.contains(&(4, 0)) {
            bail!("NOTIFICATIONs of {us} on the wire: {sent:?}");
        }
        until("routes gone", SOON, || Ok(pair.margay.routes(&[of(THEIRS, family)])?.is_empty()))?;
        pair.kernel(family, false)?;
    }
    Ok(())
}
