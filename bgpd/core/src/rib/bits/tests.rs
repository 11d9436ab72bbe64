use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn it_behaves_like_a_set(ops in proptest::collection::vec((0u32..300, any::<bool>()), 0..200)) {
        let mut bits = BitSet::default();
        let mut model = BTreeSet::new();
        for (index, add) in ops {
            if add {
                prop_assert_eq!(bits.set(index), model.insert(index));
            } else {
                prop_assert_eq!(bits.clear(index), model.remove(&index));
            }
            prop_assert_eq!(bits.test(index), add);
            prop_assert_eq!(bits.len(), model.len());
        }
        prop_assert!(bits.iter().eq(model.iter().copied()));
        for from in 0..310 {
            prop_assert_eq!(bits.next(from), model.range(from..).next().copied());
        }
    }
}
