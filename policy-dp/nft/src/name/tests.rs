use super::Name;

#[test]
fn a_plain_text_is_its_own_name() {
    assert_eq!(Name::of("from-cali0123456789a").as_str(), "from-cali0123456789a");
}

#[test]
fn texts_that_are_no_names_get_different_names_the_kernel_takes() {
    let long = "x".repeat(300);
    let longer = "x".repeat(301);
    let names: Vec<Name> =
        ["", "1up", "a b", "a_b", "a;b", &long, &longer].into_iter().map(Name::of).collect();
    for (i, name) in names.iter().enumerate() {
        assert!(name.as_str().len() <= 128, "{name}");
        assert!(name.as_str().starts_with(|c: char| c.is_ascii_alphabetic()), "{name}");
        assert!(!names[..i].contains(name), "{name}");
    }
}
