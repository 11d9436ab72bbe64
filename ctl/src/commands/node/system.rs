//! What this host's kernel is and has, read from its files.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;

/// Octets of a kernel configuration, unpacked: real ones have a fifth of it.
const MAX_CONFIG: u64 = 4 << 20;

/// The files of a host below one root, which is `/` but in tests.
#[derive(Debug)]
pub struct System {
    root: PathBuf,
    release: String,
    /// Its build configuration, where it can be read.
    config: Option<String>,
    /// Nothing but the configuration counts.
    config_only: bool,
}

/// Whether a part of the kernel is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is; how we know.
    There(&'static str),
    /// It is not; how we know.
    Missing(&'static str),
    /// Nothing says.
    Unknown,
}

impl System {
    /// The host whose files are below `root`.
    pub fn new(root: &Path) -> Self {
        let mut system = Self {
            root: root.to_owned(),
            release: String::new(),
            config: None,
            config_only: false,
        };
        system.release = system.read("proc/sys/kernel/osrelease").unwrap_or_default();
        system.config = system.configuration();
        system
    }

    /// The same, but what its kernel has is only what a configuration, plain or packed, says.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn configured_by(self, config: &Path) -> io::Result<Self> {
        let text = unpacked(config).or_else(|_| fs::read_to_string(config))?;
        Ok(Self { config: Some(text), config_only: true, ..self })
    }

    /// `6.1.0-18-amd64`.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Major and minor version.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.release.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// What stands in a file, without white space around it.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Whether the kernel was built with an option, and if as a module, whether that is there.
    pub fn part(&self, option: &str, module: &str) -> Presence {
        if self.config_only {
            return match self.option(option) {
                Some("y") => Presence::There("built in"),
                Some("m") => Presence::There("as a module"),
                _ => Presence::Missing("not in the kernel's configuration"),
            };
        }
        if self.has(&format!("sys/module/{}", module.replace('-', "_"))) {
            return Presence::There("loaded");
        }
        match self.option(option) {
            Some("y") => Presence::There("built in"),
            Some("m") if self.listed("modules.dep", module) => Presence::There("as a module"),
            Some("m") => Presence::Missing("a module that is not installed"),
            Some(_) => Presence::Missing("not in the kernel's configuration"),
            None if self.listed("modules.builtin", module) => Presence::There("built in"),
            None if self.listed("modules.dep", module) => Presence::There("as a module"),
            None => Presence::Unknown,
        }
    }

    /// The value of an option of the build; `n` where it is not set, nothing where the
    /// configuration cannot be read.
    fn option(&self, option: &str) -> Option<&str> {
        let config = self.config.as_ref()?;
        let set = config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
        Some(set.unwrap_or("n"))
    }

    fn listed(&self, file: &str, module: &str) -> bool {
        let lists = self.read(&format!("lib/modules/{}/{file}", self.release)).unwrap_or_default();
        let name = |line: &str| {
            let path = line.split(':').next().unwrap_or(line);
            let file = path.rsplit('/').next().unwrap_or(path);
            // Modules may be compressed: `vxlan.ko.xz`.
            file.split(".ko").next().unwrap_or(file).replace('-', "_")
        };
        lists.lines().any(|line| name(line) == module.replace('-', "_"))
    }

    fn configuration(&self) -> Option<String> {
        let plain = [
            format!("boot/config-{}", self.release),
            format!("lib/modules/{}/config", self.release),
        ];
        let packed = unpacked(&self.root.join("proc/config.gz")).ok();
        packed.or_else(|| plain.iter().find_map(|path| self.read(path)))
    }
}

fn unpacked(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path)?).take(MAX_CONFIG).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
pub mod tests;
