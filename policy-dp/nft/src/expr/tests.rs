use super::{Expr, Rule, Verdict, short};

#[test]
fn rules_have_one_digest_only_if_they_say_the_same() {
    let accept = || vec![Expr::Counter, Expr::Verdict(Verdict::Accept)];
    let rule = Rule::new(accept(), Some("why"));
    assert_eq!(rule.digest(), Rule::new(accept(), Some("why")).digest());
    assert_ne!(rule.digest(), Rule::new(accept(), None).digest());
    assert_ne!(rule.digest(), Rule::new(accept(), Some("because")).digest());
    let drop = vec![Expr::Counter, Expr::Verdict(Verdict::Drop)];
    assert_ne!(rule.digest(), Rule::new(drop, Some("why")).digest());
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(short("abc", 2), "ab");
    assert_eq!(short("aé", 2), "a");
    assert_eq!(short("aé", 3), "aé");
}
