//! "Did you mean": the nearest of some names.

/// The candidate that differs least from `name`, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = name.chars().count().div_ceil(3).min(3);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours that make one from the other
/// (optimal string alignment); cases, `-` and `_` are the same.
fn distance(left: &str, right: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let (left, right) = (fold(left), fold(right));
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let mut last_left = None;
    for (i, &l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut last_right = None;
        for (j, &r) in right.iter().enumerate() {
            let mut cost = (at(&above, j) + usize::from(l != r))
                .min(at(&above, j + 1) + 1)
                .min(at(&row, j) + 1);
            if last_left == Some(r) && last_right == Some(l) {
                cost = cost.min(at(&before, j.saturating_sub(1)) + 1);
            }
            row.push(cost);
            last_right = Some(r);
        }
        before = std::mem::replace(&mut above, row);
        last_left = Some(l);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        let keys = ["hold-time", "min-hold-time", "port", "asn"];
        assert_eq!(nearest("hold-tme", keys), Some("hold-time"));
        assert_eq!(nearest("hold_time", keys), Some("hold-time"));
        assert_eq!(nearest("ohld-time", keys), Some("hold-time"));
        assert_eq!(nearest("prot", keys), Some("port"));
        assert_eq!(nearest("as", keys), Some("asn"));
    }

    #[test]
    fn a_different_word_finds_nothing() {
        assert_eq!(nearest("color", ["hold-time", "asn"]), None);
        assert_eq!(nearest("x", ["asn"]), None);
        assert_eq!(nearest("", ["asn"]), None);
    }

    #[test]
    fn swapped_neighbours_cost_one() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
