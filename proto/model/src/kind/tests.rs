use std::collections::BTreeSet;

use super::*;

#[test]
fn every_kind_is_found_by_each_of_its_names() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        assert_eq!(Kind::from_plural(kind.plural()), Some(*kind));
        for word in kind.words() {
            assert_eq!(Kind::from_word(&word.to_uppercase()), Some(*kind), "{word}");
        }
        assert!(kind.words().contains(&kind.plural()), "{kind}");
    }
    assert_eq!(FACTS.len(), Kind::ALL.len());
}

#[test]
fn no_two_kinds_share_a_word() {
    let words: Vec<_> = Kind::ALL.iter().flat_map(|kind| kind.words()).collect();
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
}
