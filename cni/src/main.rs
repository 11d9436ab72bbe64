//! `margay-cni`, also as `margay`, `calico`, `margay-ipam` and `calico-ipam`.

#![forbid(unsafe_code)]

use std::{
    env,
    ffi::OsStr,
    io::{self, Read, Write},
    process::ExitCode,
};

use margay_cni::{config::Role, run};

/// No configuration is longer than this.
const LONGEST: u64 = 16 << 20;

const HELP: &str = "\
margay-cni: the CNI plugin of Margay; container runtimes call it

It speaks CNI 0.1.0 to 1.1.0: the environment says what to do (CNI_COMMAND), stdin has the network
configuration. By hand:

  echo '{\"cniVersion\": \"1.1.0\"}' | CNI_COMMAND=VERSION margay-cni

Under the names margay-ipam and calico-ipam it is an IPAM plugin: addresses, no interfaces.

  --version  its version
  --help     this
";

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let program = arguments.next().unwrap_or_default();
    match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some("--version" | "-V") => {
            return show(&format!("margay-cni {}\n", env!("CARGO_PKG_VERSION")));
        }
        Some("--help" | "-h") => return show(HELP),
        _ => {}
    }
    let mut stdin = Vec::new();
    let read = io::stdin().lock().take(LONGEST).read_to_end(&mut stdin);
    let outcome = match read {
        Ok(_) => {
            run::call(Role::of(&program.to_string_lossy()), |name| env::var(name).ok(), &stdin)
        }
        Err(error) => run::Outcome::unread(&error),
    };
    for line in &outcome.log {
        // With stderr gone there is nobody to tell.
        let _ = writeln!(io::stderr(), "margay-cni: {line}");
    }
    let shown = show(&outcome.stdout);
    if outcome.done { shown } else { ExitCode::FAILURE }
}

fn show(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
