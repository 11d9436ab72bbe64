use super::*;

#[test]
fn equal_values_share_a_number_until_the_last_holder_lets_go() {
    let mut names = Interner::default();
    let a = names.hold("a");
    let b = names.hold("b");
    assert_eq!(names.hold("a"), a);
    assert_ne!(a, b);
    assert_eq!(names.release(a), None);
    assert_eq!(names.at(a), Some(&"a"));
    assert_eq!(names.release(a), Some("a"));
    assert_eq!(names.at(a), None);
    assert_eq!(names.find(&"a"), None);
    assert_eq!(names.hold("c"), a, "a free number is used again");
    assert_eq!(names.iter().collect::<Vec<_>>(), [(a, &"c"), (b, &"b")]);
}

#[test]
fn numbers_below_the_first_are_nobodys() {
    let mut names = Interner::default();
    assert_eq!(names.hold("a"), FIRST);
    assert_eq!(names.at(0), None);
    assert_eq!(names.at(1), None);
    assert_eq!(names.release(1), None);
}
