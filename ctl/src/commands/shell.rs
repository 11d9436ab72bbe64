//! Completions and manual pages, made from the definition of the command line.

use std::{fs, io, path::Path};

use clap::CommandFactory;

use crate::{
    calicoctl,
    cli::Cli,
    error::{Failure, plain},
};

/// Prints the completions for a shell.
pub fn completions(shell: clap_complete::Shell, calicoctl: bool) -> Result<(), Failure> {
    let mut script = Vec::new();
    let (mut command, name) = definition(calicoctl);
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script)
}

/// Prints the manual page, or writes one page for each command into a directory.
pub fn man(dir: Option<&Path>, calicoctl: bool) -> Result<(), Failure> {
    let (command, name) = definition(calicoctl);
    let Some(dir) = dir else {
        let mut page = Vec::new();
        pages(command, name, &mut page)?;
        return print(&page);
    };
    fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir)).map_err(|error| {
        Failure::failed(format!("cannot write to {}: {}", dir.display(), plain(&error)))
    })
}

/// The command line under one of the program's names.
fn definition(calicoctl: bool) -> (clap::Command, &'static str) {
    if calicoctl { (calicoctl::command(), calicoctl::NAME) } else { (Cli::command(), "margay") }
}

/// The page of the program, then the options of each command in sections of their own.
fn pages(mut command: clap::Command, name: &str, page: &mut Vec<u8>) -> io::Result<()> {
    command.build();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    commands(&command, name, page)?;
    man.render_extra_section(page)?;
    man.render_version_section(page)
}

fn commands(parent: &clap::Command, path: &str, page: &mut Vec<u8>) -> io::Result<()> {
    use io::Write as _;
    for command in parent.get_subcommands().filter(|command| !command.is_hide_set()) {
        let path = format!("{path} {}", command.get_name());
        writeln!(page, ".SH {}", path.to_uppercase())?;
        if let Some(about) = command.get_about() {
            writeln!(page, "{}", roff(&about.to_string()))?;
        }
        // What every command has stands once, at the top.
        let common = |arg: &clap::Arg| {
            arg.is_global_set() || matches!(arg.get_id().as_str(), "help" | "version")
        };
        for arg in command.get_arguments().filter(|arg| !common(arg)) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            writeln!(page, ".TP\n{}\n{}", roff(&arg.to_string()), roff(&help))?;
        }
        commands(command, &path, page)?;
    }
    Ok(())
}

/// Text with what roff would read as a request or an escape made harmless.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn print(octets: &[u8]) -> Result<(), Failure> {
    use io::Write as _;
    let mut stdout = io::stdout().lock();
    stdout.write_all(octets)?;
    Ok(stdout.flush()?)
}
