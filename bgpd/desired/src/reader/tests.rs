use crate::{Fault, Severity, parse};

fn faults(text: &str) -> Vec<Fault> {
    parse(text, "t.toml", &|_| Err(std::io::ErrorKind::NotFound.into())).expect_err(text)
}

fn only(text: &str) -> Fault {
    let mut faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn a_fault_is_displayed_on_one_line() {
    let fault = only("[bgp]\nasn = 1\nholdtime = 9\n");
    assert_eq!(fault.to_string(), "t.toml:3: bgp.holdtime: unknown key, did you mean hold-time?");
    assert_eq!((fault.severity, fault.line, fault.column), (Severity::Error, 3, 1));
}

#[test]
fn columns_count_characters_not_octets() {
    let fault = only("node = { name = \"éè\", state-dir = \"\" }");
    assert_eq!((fault.line, fault.column), (1, 35));
    let rendered = fault.render();
    let mark = rendered.lines().last().expect("the mark");
    assert_eq!(mark.chars().position(|c| c == '^'), Some("1 | ".len() + 34));
}

#[test]
fn the_mark_stands_under_the_piece_behind_tabs_and_before_a_carriage_return() {
    let fault = only("[fib]\r\n\ttable = 0\r\n");
    assert_eq!(
        fault.render(),
        "error: t.toml:2: fib.table: found 0, allowed: a number from 1 to 4294967295\n  |\n\
         2 | \ttable = 0\n  | \t        ^\n"
    );
}

#[test]
fn a_fault_over_several_lines_marks_its_first() {
    let fault = only("[bgp]\nasn = 1\nlisten = { a = [\n  1,\n] }\n");
    assert_eq!(fault.line, 3);
    assert_eq!(fault.snippet.len, "{ a = [".len());
}

#[test]
fn faults_come_in_the_order_of_the_text() {
    let lines: Vec<usize> =
        faults("[fib]\ntable = 0\n[node]\nname = 1\n[policy.x]\n[bgp]\nasn = 0\n")
            .iter()
            .map(|fault| fault.line)
            .collect();
    assert_eq!(lines, [2, 4, 5, 7]);
}

#[test]
fn odd_keys_are_quoted_in_a_path() {
    let fault = only("[policy.prefix-set.\"a b.c\"]\nprefixes = [1]\n");
    assert_eq!(fault.path, "policy.prefix-set.\"a b.c\".prefixes[0]");
}

#[test]
fn numbers_in_other_bases_are_numbers() {
    let text = "[fib]\ntable = 0x64\nmetric = 1_000\n";
    let parsed = parse(text, "t.toml", &|_| Err(std::io::ErrorKind::NotFound.into()));
    let fib = parsed.expect("good").desired.fib;
    assert_eq!((fib.table, fib.metric), (100, 1000));
    assert!(
        only("[fib]\ntable = 99999999999999999999999999999999999999999\n").text.contains("found")
    );
}

#[test]
fn a_line_with_a_password_is_not_shown_whatever_is_wrong_with_it() {
    for line in [
        "password = hunter2",
        "password=\"hunter2",
        "\"password\" = 'hunter2",
        "x = { password = \"hunter2\", y = }",
        "password-file = \"p\"\npassword = \"hunter2\" # hunter2",
    ] {
        let text = format!("[bgp]\nasn = 1\n[[bgp.peer]]\naddress = \"10.0.0.1\"\n{line}\n");
        for fault in faults(&text) {
            assert!(!fault.render().contains("hunter2"), "{}", fault.render());
        }
    }
}

#[test]
fn an_empty_text_is_a_whole_configuration() {
    let parsed = parse("", "t.toml", &|_| Err(std::io::ErrorKind::NotFound.into()));
    assert_eq!(parsed.expect("good").desired, crate::Desired::default());
}
