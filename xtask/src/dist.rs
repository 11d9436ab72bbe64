//! `dist`: what a packager takes: binaries, the manual page, completions.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    step::{self, cargo},
    suite, target_dir,
};

const BINARIES: &[&str] = &["margay-bgpd", "margay-policy-dp", "margay", "margay-cni"];
const PAPERS: &[&str] = &["LICENSE", "README.md", "CHANGELOG.md"];

/// Builds release binaries and packs them.
///
/// # Errors
/// When something does not build or cannot be written.
pub fn tarball() -> Result<ExitCode> {
    step::run(
        "release build",
        cargo(&["build", "--release"]).args(
            ["margay-bgpd", "margay-policy-dp", "margay"].map(|name| format!("--package={name}")),
        ),
    )?;
    suite::build_cni("release")?;
    let target = target_dir()?;
    let name = format!("margay-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let folder = target.join("dist").join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("bin"))?;
    for binary in BINARIES {
        copy(&target.join("release").join(binary), &folder.join("bin").join(binary))?;
    }
    for paper in PAPERS {
        copy(Path::new(paper), &folder.join(paper))?;
    }
    let margay = folder.join("bin/margay");
    let papers = [
        (vec!["man"], "share/man/man1/margay.1"),
        (vec!["completions", "bash"], "share/bash-completion/completions/margay"),
        (vec!["completions", "zsh"], "share/zsh/site-functions/_margay"),
        (vec!["completions", "fish"], "share/fish/vendor_completions.d/margay.fish"),
    ];
    for (arguments, path) in papers {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        let output = Command::new(&margay).args(&arguments).output()?;
        if !output.status.success() {
            bail!("margay {}: {}", arguments.join(" "), output.status);
        }
        fs::write(&path, output.stdout)?;
    }
    let archive = target.join("dist").join(format!("{name}.tar.gz"));
    let status = Command::new("tar")
        .arg("-C")
        .arg(target.join("dist"))
        .args(["--owner=0", "--group=0", "--sort=name", "-czf"])
        .arg(&archive)
        .arg(&name)
        .status()
        .context("running tar")?;
    if !status.success() {
        bail!("tar: {status}");
    }
    println!("{}", archive.display());
    Ok(ExitCode::SUCCESS)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}
