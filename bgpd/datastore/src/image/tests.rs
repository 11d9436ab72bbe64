use super::*;

fn block(number: u8) -> Key {
    Key::Block(format!("10.0.{number}.0/26").parse().unwrap())
}

fn put(image: &mut Image, number: u8, octets: usize) {
    let put = Some((Bytes::from(vec![0; octets]), Vec::new()));
    let staged = Stage::new(image).write(vec![(block(number), put)]);
    image.apply(staged);
}

#[test]
fn history_is_bounded_by_changes_and_by_octets() {
    let mut image = Image::new(Bounds { changes: 10, octets: 100_000 });
    for round in 0..100 {
        put(&mut image, round % 3, 10);
    }
    assert_eq!((image.history.len(), image.oldest), (10, Revision(90)));
    for _ in 0..100 {
        put(&mut image, 0, 30_000);
    }
    assert!(image.history_octets <= 100_000, "{}", image.history_octets);
    assert!(!image.history.is_empty());
    image.compact(Revision(1_000_000));
    assert_eq!((image.history_octets, image.oldest), (0, image.revision));
}

#[test]
fn what_is_staged_is_seen_by_what_is_staged_after_it_and_by_nobody_else() {
    let mut image = Image::new(Bounds::default());
    put(&mut image, 1, 1);
    let mut stage = Stage::new(&image);
    let value = Bytes::from_static(b"x");
    let first = stage.txn(Txn::create(block(2), value.clone(), vec![])).unwrap();
    let conflict = stage.txn(Txn::create(block(2), value.clone(), vec![])).unwrap_err();
    assert_eq!(conflict.current.map(|current| current.revision), Some(Revision(2)));
    let second = stage.txn(Txn::update(block(2), Revision(2), value, vec![])).unwrap();
    assert_eq!((first.committed.revision.0, second.committed.revision.0), (2, 3));
    assert!(image.get(&block(2)).is_none());
    image.apply(first);
    image.apply(second);
    assert_eq!(image.get(&block(2)).map(|record| record.value.revision), Some(Revision(3)));
}

#[test]
fn a_listing_of_the_past_is_what_was_listed_then() {
    let mut image = Image::new(Bounds::default());
    let mut then = Vec::new();
    for round in 0..40u8 {
        put(&mut image, round % 7, usize::from(round));
        if round % 5 == 0 {
            let gone = Stage::new(&image).write(vec![(block(round % 3), None)]);
            image.apply(gone);
        }
        then.push(image.list(&Area::All, &Page::default()).unwrap());
    }
    for listing in then {
        let mut page = Page { at: Some(listing.revision), after: None, limit: 2 };
        let mut entries = Vec::new();
        loop {
            let part = image.list(&Area::All, &page).unwrap();
            entries.extend(part.entries);
            let Some(cursor) = part.more else { break };
            page.after = Some(cursor);
        }
        assert_eq!(entries, listing.entries);
    }
}
