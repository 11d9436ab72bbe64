//! Orders to play the same steps in: a result that should not depend on the order must not.

/// Every order of `steps` while there are few, else as many as `limit`: the given one, reversed,
/// rotated, and then shuffled from a fixed seed, so that a failure can be repeated.
pub fn orders<T: Clone>(steps: &[T], limit: usize) -> Vec<Vec<T>> {
    let all = (1..=steps.len()).try_fold(1usize, |product, n| product.checked_mul(n));
    if all.is_some_and(|all| all <= limit) {
        return permutations(steps);
    }
    let mut orders = vec![steps.to_vec(), steps.iter().rev().cloned().collect()];
    let mut rotated = steps.to_vec();
    rotated.rotate_left(steps.len() / 2);
    orders.push(rotated);
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    while orders.len() < limit {
        let mut shuffled = steps.to_vec();
        for last in (1..shuffled.len()).rev() {
            // xorshift64: any fixed sequence will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
            shuffled.swap(last, usize::try_from(state % bound).unwrap_or(0));
        }
        orders.push(shuffled);
    }
    orders.truncate(limit);
    orders
}

fn permutations<T: Clone>(steps: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = steps.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for tail in permutations(rest) {
        for at in 0..=tail.len() {
            let mut order = tail.clone();
            order.insert(at, first.clone());
            all.push(order);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::orders;

    #[test]
    fn few_steps_are_played_in_every_order() {
        let all: BTreeSet<_> = orders(&[1, 2, 3, 4], 24).into_iter().collect();
        assert_eq!(all.len(), 24);
    }

    #[test]
    fn many_steps_are_played_in_some_orders_that_lose_nothing() {
        let steps: Vec<u32> = (0..20).collect();
        let some = orders(&steps, 10);
        assert_eq!(some.len(), 10);
        for mut order in some {
            order.sort_unstable();
            assert_eq!(order, steps);
        }
    }
}
