use clap::{CommandFactory, Parser};

use super::*;

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_prefix_is_masked_and_an_address_is_not_a_prefix() {
    let parse = |text: &str| text.parse::<Destination>();
    assert_eq!(parse("10.1.2.3/8"), Ok(Destination::Prefix("10.0.0.0/8".parse().expect("valid"))));
    assert_eq!(parse("10.1.2.3"), Ok(Destination::Address("10.1.2.3".parse().expect("valid"))));
    assert_eq!(parse("::/0"), Ok(Destination::Prefix("::/0".parse().expect("valid"))));
    for text in ["", "tor1", "10.0.0.0/", "10.0.0/8", "10.0.0.0/33", "::/129", "::1%eth0"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_deletion_names_what_it_is_to_delete() {
    for line in ["margay delete ippool a b", "margay delete -f x.yaml --skip-not-exists"] {
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
    for line in ["margay delete", "margay delete ippool", "margay delete ippool a -f x.yaml"] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}
