use super::*;

fn pool(name: &str, cidr: &str, size: u8) -> Pool {
    Pool::new(name, cidr.parse().unwrap(), size).unwrap()
}

#[test]
fn a_block_size_must_exist_and_fit_the_pool() {
    assert!(Pool::new("a", "10.0.0.0/16".parse().unwrap(), 19).is_err());
    assert!(Pool::new("a", "10.0.0.0/27".parse().unwrap(), 26).is_err());
    assert!(Pool::new("a", "fd00::/64".parse().unwrap(), 115).is_err());
    assert!(Pool::new("a", "fd00::/64".parse().unwrap(), 122).is_ok());
}

#[test]
fn pools_that_overlap_are_told() {
    let pools = Pools::new([pool("a", "10.0.0.0/16", 26), pool("b", "10.0.4.0/24", 26)]);
    let faults = pools.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].to_string(), "pool b (10.0.4.0/24) overlaps pool a (10.0.0.0/16)");
    assert!(
        Pools::new([pool("a", "10.0.0.0/16", 26), pool("b", "10.1.0.0/16", 26)])
            .faults()
            .is_empty()
    );
}

#[test]
fn a_pool_is_found_by_name_and_by_cidr() {
    let pools = Pools::new([pool("a", "10.0.0.0/16", 26)]);
    assert_eq!(pools.find("a"), pools.find("10.0.0.0/16"));
    assert_eq!(pools.find("10.0.0.0/17"), None);
}

#[test]
fn the_grid_of_a_pool_ends_with_it() {
    let pool = pool("a", "fd00::/64", 122);
    assert_eq!(pool.block_at(1), Some("fd00::40/122".parse().unwrap()));
    assert_eq!(pool.block_at(pool.blocks()), None);
    assert_eq!(
        pool.block_at(pool.blocks() - 1),
        Some("fd00::ffff:ffff:ffff:ffc0/122".parse().unwrap())
    );
    let all = self::pool("all", "0.0.0.0/0", 32);
    assert_eq!(all.block_at(u128::from(u32::MAX)), Some("255.255.255.255/32".parse().unwrap()));
}

#[test]
fn reservations_that_together_cover_a_block_cover_it() {
    let nets = ["10.0.0.0/27", "10.0.0.32/27", "10.0.1.7/32"];
    let reserved = Reservations::new(nets.map(|net| net.parse().unwrap()));
    assert!(reserved.covers("10.0.0.0/26".parse().unwrap()));
    assert!(!reserved.covers("10.0.1.0/26".parse().unwrap()));
    assert_eq!(reserved.within("10.0.0.0/23".parse().unwrap()), 65);
    assert_eq!(reserved.within("10.0.0.3/32".parse().unwrap()), 1);
}

#[test]
fn settings_that_contradict_themselves_are_refused() {
    let good = Settings::default();
    assert_eq!(good.validate(), Ok(()));
    let none = Settings { auto_allocate_blocks: false, ..good };
    assert_eq!(none.validate(), Err(SettingsError::NothingToOwn));
    let limit = Settings { max_blocks_per_host: 3, ..good };
    assert_eq!(limit.validate(), Err(SettingsError::LimitWithoutAffinity(3)));
    assert_eq!(Settings { strict_affinity: true, ..limit }.validate(), Ok(()));
    let long = Settings { cooldown: Duration::from_secs(1201), ..good };
    assert_eq!(long.validate(), Err(SettingsError::Cooldown(1201)));
}
