use super::{Attributes, Encoder, Messages, Netfilter as _, text_of, u32_of};

#[test]
fn what_is_written_is_read() {
    let mut e = Encoder::default();
    let at = e.begin(0x0a06, 5, 7, 1, 10);
    e.text(1, "margay");
    let list = e.open(4);
    e.u32(2, 0x0102_0304);
    e.close(list);
    e.end(at);
    let all: Vec<_> = Messages(e.octets()).collect();
    let [message] = &all[..] else { panic!("{all:?}") };
    assert_eq!((message.nftables(), message.flags, message.seq), (Some(6), 5, 7));
    assert_eq!(message.family(), Some(1));
    let attributes: Vec<_> = message.attributes().expect("a header").collect();
    assert_eq!(attributes[0].0, 1);
    assert_eq!(text_of(attributes[0].1), Some("margay"));
    let (number, inner) = Attributes(attributes[1].1).next().expect("nested");
    assert_eq!((number, u32_of(inner)), (2, Some(0x0102_0304)));
}
