use super::*;

#[tokio::test]
async fn a_taken_port_names_its_holder() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("bound");
    let failure = listen(address).expect_err("two listeners on one port");
    assert_eq!(failure.address, address);
    let text = failure.to_string();
    assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
    assert!(text.contains("Address already in use"), "{text}");
}

#[tokio::test]
async fn a_refused_connection_ends_with_reset() {
    let listener = listen("127.0.0.1:0".parse().expect("address")).expect("loopback");
    let address = listener.local_addr().expect("bound");
    let client = TcpStream::connect(address).await.expect("loopback");
    let (accepted, _) = listener.accept().await.expect("loopback");
    refuse(accepted);
    client.readable().await.expect("an event");
    let error = client.try_read(&mut [0; 1]).expect_err("reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_address_that_is_not_there_yet_is_listened_on() {
    for ip in ["192.0.2.1", "2001:db8::1"] {
        let address = SocketAddr::new(ip.parse().expect("address"), 0);
        let listener = listen(address).expect("open before the address is there");
        assert_eq!(listener.local_addr().expect("bound").ip(), address.ip());
    }
}

#[test]
fn an_address_that_is_no_hosts_is_told_from_those_that_are() {
    let all: Vec<SocketAddr> =
        ["0.0.0.0:179", "127.0.0.1:179", "192.0.2.1:179", "[::]:179", "[::1]:1", "[2001:db8::1]:1"]
            .map(|address| address.parse().expect("an address"))
            .into();
    assert_eq!(strangers(&all), [all[2], all[5]]);
}
