use super::*;

fn of(rate: u64, burst: Option<u64>) -> Bandwidth {
    Bandwidth { rate, burst, peak: None }
}

#[test]
fn bits_become_octets_and_the_burst_is_calicos_where_nobody_says() {
    let bucket = of(80_000_000, None).bucket(1500);
    assert_eq!((bucket.rate, bucket.burst), (10_000_000, 512 << 20));
    assert_eq!(bucket.queue, (256 << 10) + 250_000);
    assert_eq!(of(80_000_000, Some(8_000_000)).bucket(1500).burst, 1_000_000);
}

#[test]
fn a_bucket_holds_a_packet_at_least_and_what_the_kernel_counts_at_most() {
    let small =
        Bandwidth { peak: Some(Peak { rate: 2000, burst: Some(1) }), ..of(1000, Some(1000)) };
    let bucket = small.bucket(1500);
    assert_eq!((bucket.burst, bucket.peak), (1522, Some((250, 1522))));
    assert_eq!(of(1_000_000_000_000_000, Some(u64::MAX)).bucket(1500).burst, u32::MAX);
    assert_eq!(of(u64::MAX, None).bucket(1500).queue, u32::MAX);
}

#[test]
fn a_peak_that_is_no_faster_than_the_rate_and_a_rate_of_nothing_cannot_be() {
    let with = |rate, peak| {
        let peak = Some(Peak { rate: peak, burst: None });
        Bandwidth { peak, ..of(rate, None) }.check().is_ok()
    };
    assert!(with(1000, 1010) && !with(1000, 1007) && !with(1000, 1000));
    assert!(of(7, None).check().is_err() && of(8, None).check().is_ok());
}

#[test]
fn what_the_kernel_tells_is_compared_as_exactly_as_it_tells_it() {
    let bucket = of(80_000_000, Some(8_000_000)).bucket(1500);
    // 1 MB at 10 MB/s: 100 ms.
    let found =
        Filling { rate: 10_000_000, burst: 1_562_500, queue: bucket.queue, ..Filling::default() };
    assert!(bucket.is(&found));
    assert!(bucket.is(&Filling { burst: 1_562_498, ..found }));
    for other in [
        Filling { rate: 10_000_001, ..found },
        Filling { burst: 1_600_000, ..found },
        Filling { peak: 20_000_000, ..found },
        Filling { queue: 1, ..found },
    ] {
        assert!(!bucket.is(&other), "{other}");
    }
    // 512 MiB at 125 octets/s take longer than 32 bits of ticks tell.
    let slow = of(1000, None).bucket(1500);
    let found = Filling { rate: 125, burst: 7, queue: slow.queue, ..Filling::default() };
    assert!(slow.is(&found));
    assert_eq!(bucket.to_string(), "10000000 octets/s, 1000000 at once");
}
