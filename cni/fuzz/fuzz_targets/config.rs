//! CNI_ARGS in the first line, a configuration below: read or refused, in every verb.

#![no_main]

use libfuzzer_sys::fuzz_target;
use margay_cni::{
    ask::{self, Call},
    config::{self, Config, Role},
    env::{self, Target, Verb},
    json::At,
    result::NetworkResult,
    version::Version,
};

fuzz_target!(|input: &[u8]| {
    let (args, stdin) = match input.iter().position(|octet| *octet == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (&[][..], input),
    };
    let Ok(args) = std::str::from_utf8(args) else { return };
    let Ok(mut json) = config::decode(stdin) else { return };
    for role in [Role::Network, Role::Ipam] {
        for verb in [Verb::Add, Verb::Del, Verb::Check, Verb::Gc, Verb::Status] {
            match Config::read(&json, args, verb, role) {
                Ok(config) => every_request(role, &config),
                Err(error) => {
                    assert!(!error.msg.is_empty());
                    let name = json.get("name").and_then(|name| name.as_str());
                    let named = name.is_some_and(env::is_identifier);
                    assert!(!named || verb != Verb::Del, "a DEL was refused: {error}");
                }
            }
        }
    }
    if let Ok(result) = NetworkResult::read(&At::root(&json)) {
        every_version(&result);
    }
    config::without_pod_cidr(&mut json);
    let once = json.clone();
    config::without_pod_cidr(&mut json);
    assert_eq!(json, once);
});

fn every_request(role: Role, config: &Config) {
    let target = Target {
        container_id: "c0ffee".to_owned(),
        ifname: "eth0".to_owned(),
        netns: Some("/run/netns/blue".into()),
    };
    let call = Call { role, target: &target, config };
    assert_eq!(call.add(config.previous.as_ref()).attachment, Some(call.attachment()));
    assert_eq!(call.delete().attachment, Some(call.attachment()));
    if let Ok(check) = call.check() {
        assert_eq!(check.attachment, Some(call.attachment()));
    }
    assert_eq!(ask::collect(config).valid.len(), config.valid.len());
    assert_eq!(ask::status(config).network, config.network);
}

/// What is written is read back, and says the same.
fn every_version(result: &NetworkResult) {
    for version in Version::ALL {
        let written = result.json(version);
        let json = config::decode(written.as_bytes()).expect("what is written is JSON");
        assert_eq!(config::version(&json), Ok(version));
        let back = NetworkResult::read(&At::root(&json)).expect("what is written is a result");
        assert_eq!(back.json(version), written);
        if version == Version::NEWEST {
            assert_eq!(&back, result);
        }
    }
}
