//! `calicoctl node checksystem`: whether the kernel has what a node needs.
//!
//! The form is the original's, what is looked for is what Margay uses.

use std::path::Path;

use crate::{
    calicoctl::{print, refused::Refused},
    commands::node::{
        checksystem::{Check, kernel, parts},
        system::System,
    },
    error::plain,
};

/// Looks and says what it found; fails where something needed is missing. With a configuration of
/// a kernel, that alone is asked about parts.
///
/// # Errors
/// Something is missing, or the configuration cannot be read.
pub fn run(config: Option<&Path>) -> Result<(), Refused> {
    let mut system = System::new(Path::new("/"));
    if let Some(path) = config {
        let read = system.configured_by(path);
        system = read.map_err(|error| {
            Refused::new(format!("cannot read {}: {}", path.display(), plain(&error)))
        })?;
    }
    let (text, is_sound) = report(&system);
    print(&text)?;
    if is_sound {
        print("System meets minimum system requirements to run Calico!\n")
    } else {
        Err(Refused::new(
            "System doesn't meet one or more minimum systems requirements to run Calico",
        ))
    }
}

/// A line for each thing, and whether nothing needed is missing.
fn report(system: &System) -> (String, bool) {
    let version = kernel(system);
    let mut is_sound = !version.fails();
    let mut text = "Checking kernel version...\n".to_owned();
    text += &line(system.release(), &version);
    if version.fails() {
        text += &format!("{}\n", version.detail);
    }
    text += "Checking kernel modules...\n";
    for (module, check) in parts(system) {
        is_sound &= !check.fails();
        if check.result != "ok" {
            text += &format!("WARNING: Unable to detect the {module} module: {}\n", check.detail);
        }
        text += &line(module, &check);
    }
    (text, is_sound)
}

/// What a node can do without is no failure.
fn line(name: &str, check: &Check) -> String {
    let result = match check.result {
        "ok" => "OK",
        _ if check.fails() => "FAIL",
        _ => "SKIP",
    };
    format!("\t\t{name:<20}\t\t\t\t\t{result}\n")
}

#[cfg(test)]
mod tests;
