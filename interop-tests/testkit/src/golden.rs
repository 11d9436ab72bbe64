//! Golden files: what a test must print, kept beside it and reviewed like code.

use std::{env, fs, path::Path};

/// Compares `actual` with the file at `path`. With `UPDATE_GOLDEN=1` in the environment the file
/// is rewritten instead.
///
/// # Panics
/// When they differ, with the first line that does.
#[track_caller]
pub fn assert_golden(path: impl AsRef<Path>, actual: &str) {
    let path = path.as_ref();
    if env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        fs::write(path, actual).unwrap_or_else(|e| panic!("writing {}: {e}", path.display()));
        return;
    }
    let expected = fs::read_to_string(path)
        .unwrap_or_else(|e| panic!("{}: {e}; UPDATE_GOLDEN=1 makes it", path.display()));
    if let Some(difference) = first_difference(&expected, actual) {
        panic!("{}: {difference}\nUPDATE_GOLDEN=1 rewrites it", path.display());
    }
}

/// The first line in which two texts differ, in words; `None` when they are equal.
pub fn first_difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (mut left, mut right) = (expected.lines(), actual.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (a, b) if a == b && a.is_some() => {}
            (None, None) => break,
            (a, b) => {
                let show =
                    |line: Option<&str>| line.map_or("(end)".to_owned(), |l| format!("{l:?}"));
                return Some(format!("line {number}: expected {}, got {}", show(a), show(b)));
            }
        }
    }
    Some("they differ in line ends only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn the_first_differing_line_is_named() {
        let said = first_difference("a\nb\nc\n", "a\nx\ny\n").expect("they differ");
        assert_eq!(said, "line 2: expected \"b\", got \"x\"");
    }

    #[test]
    fn a_missing_end_is_seen() {
        let said = first_difference("a\nb\n", "a\n").expect("they differ");
        assert_eq!(said, "line 2: expected \"b\", got (end)");
        assert!(first_difference("a\n", "a").is_some());
    }
}
