use super::{Field, Shape, Span, after, before, disjoint};
use crate::expr::Octets;

fn net(a: u8, b: u8, bits: u32) -> Span {
    Span::prefix(&[10, a, b, 77], bits)
}

#[test]
fn a_prefix_is_the_range_of_its_addresses() {
    let span = net(1, 130, 23);
    assert_eq!(&span.from[..], [10, 1, 130, 0]);
    assert_eq!(&span.to[..], [10, 1, 131, 255]);
    assert_eq!(net(1, 2, 32), Span::one(&[10, 1, 2, 77]));
    let all = net(1, 2, 0);
    assert_eq!((&all.from[..], &all.to[..]), (&[0; 4][..], &[255; 4][..]));
}

#[test]
fn ranges_that_touch_or_overlap_become_one() {
    let merged = disjoint([net(1, 1, 24), net(1, 0, 24), net(1, 1, 32), net(3, 0, 24)]);
    assert_eq!(merged, [net(1, 0, 23), net(3, 0, 24)]);
    let all = disjoint([net(1, 1, 0), net(200, 1, 24)]);
    assert_eq!(all, [net(1, 1, 0)]);
}

#[test]
fn keys_are_counted_across_octets() {
    let key = Octets::from_slice(&[10, 0, 255]);
    assert_eq!(after(&key).as_deref(), Some(&[10, 1, 0][..]));
    assert_eq!(before(&Octets::from_slice(&[10, 1, 0])).as_deref(), Some(&key[..]));
    assert_eq!(after(&Octets::from_slice(&[255, 255])), None);
    assert_eq!(before(&Octets::from_slice(&[0, 0])), None);
}

#[test]
fn fields_of_a_key_begin_at_multiples_of_four() {
    let span = Span::one(&[10, 0, 0, 1]).then(&Span::one(&[6])).then(&Span::one(&[0, 80]));
    assert_eq!(&span.from[..], [10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0]);
    let shape = Shape::set(&[Field::Ipv4, Field::Protocol, Field::Port]);
    assert_eq!(shape.octets(), span.from.len());
    assert_eq!(Shape::set(&[Field::Port]).octets(), 2);
}
