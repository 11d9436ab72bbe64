use super::*;

#[test]
fn the_second_one_is_told_who_writes_the_table() {
    // Numbers nobody uses; other tests run in the same namespace.
    let table = std::process::id();
    let first = RouteLock::claim(table, 201).expect("free").expect("taken");
    let error = RouteLock::claim(table, 201).expect_err("it is taken").to_string();
    assert!(error.contains(&format!("pid {}:", std::process::id())), "{error}");
    assert!(error.contains(&format!("protocol 201 in table {table}")), "{error}");
    RouteLock::claim(table, 202).expect("another protocol").expect("is free");
    drop(first);
    RouteLock::claim(table, 201).expect("it is free again").expect("taken");
}

#[test]
fn nothing_is_taken_where_nothing_is_written() {
    let config = FibConfig { enabled: false, ..FibConfig::default() };
    assert!(RouteLock::take(&config).expect("no question").is_none());
}

#[test]
fn a_lock_covers_its_own_table_and_protocol_only() {
    let config = FibConfig { table: std::process::id(), protocol: 203, ..FibConfig::default() };
    let lock = RouteLock::claim(config.table, 203).expect("free").expect("taken");
    assert!(lock.covers(&config));
    assert!(!lock.covers(&FibConfig { protocol: 204, ..config.clone() }));
    assert!(!lock.covers(&FibConfig { enabled: false, ..config }));
}

#[test]
fn an_inode_is_found_by_its_name() {
    let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                 0000000000000000: 00000002 00000000 00000000 0002 01 4711 @margay-fib/254/186\n\
                 0000000000000000: 00000002 00000000 00000000 0002 01 4712\n";
    assert_eq!(inode(table, "margay-fib/254/186"), Some("4711"));
    assert_eq!(inode(table, "margay-fib/254/18"), None);
}
