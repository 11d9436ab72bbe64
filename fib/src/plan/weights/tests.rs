use super::*;

fn hop(last: u8) -> Hop {
    Hop { gateway: Some([10, 0, 0, last].into()), oif: 1, onlink: false }
}

fn share(weight: u16, hops: &[(u8, u16)]) -> Share {
    Share { weight, hops: hops.iter().map(|(h, w)| (hop(*h), *w)).collect() }
}

fn merged(shares: &[Share]) -> Vec<(u8, u16)> {
    let last = |hop: Hop| match hop.gateway {
        Some(std::net::IpAddr::V4(a)) => a.octets()[3],
        _ => 0,
    };
    merge(shares).into_iter().map(|(h, w)| (last(h), w)).collect()
}

#[test]
fn equal_weights_are_one_each() {
    assert_eq!(merged(&[share(7, &[(1, 1)]), share(7, &[(2, 1)])]), [(1, 1), (2, 1)]);
}

#[test]
fn a_next_hop_that_two_lead_to_gets_the_sum() {
    let shares = [share(1, &[(1, 1)]), share(2, &[(1, 1)]), share(1, &[(2, 1)])];
    assert_eq!(merged(&shares), [(1, 3), (2, 1)]);
}

#[test]
fn a_share_is_split_over_what_it_resolves_to() {
    // One half to 1; the other half by thirds to 2 and 3.
    let shares = [share(1, &[(1, 1)]), share(1, &[(2, 2), (3, 1)])];
    assert_eq!(merged(&shares), [(1, 3), (2, 2), (3, 1)]);
}

#[test]
fn weights_stay_within_what_the_kernel_takes() {
    assert_eq!(merged(&[share(256, &[(1, 1)]), share(1, &[(2, 1)])]), [(1, 255), (2, 1)]);
    let primes = [251, 241, 239, 233, 229, 227, 223, 211];
    let shares: Vec<Share> =
        primes.iter().map(|p| share(*p, &[(1, *p), (2, 256 - *p), (3, 1)])).collect();
    for (_, weight) in merged(&shares) {
        assert!((1..=255).contains(&weight));
    }
}

#[test]
fn what_resolves_to_nothing_takes_no_part() {
    assert_eq!(merged(&[share(9, &[]), share(3, &[(2, 5)])]), [(2, 1)]);
    assert_eq!(merged(&[share(9, &[])]), []);
    assert_eq!(merged(&[]), []);
}
