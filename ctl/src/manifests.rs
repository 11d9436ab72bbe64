//! Files with resources: which ones, and what stands in them.

use std::{
    fs,
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

use margay_model::{Document, Fault, Mode, decode};

use crate::{cli::Files, error::Failure};

/// Largest file taken: beyond, it is not a manifest.
const MAX_FILE: u64 = 64 << 20;

/// An object and the file it stands in.
pub struct Found {
    /// As faults name it.
    pub file: String,
    /// The object.
    pub document: Document,
}

/// A fault of a file, for people.
pub type Told<'a> = &'a dyn Fn(&str, &Fault) -> String;

/// As `margay` tells a fault.
pub fn plainly(file: &str, fault: &Fault) -> String {
    format!("{file}: {fault}")
}

/// Every object of the files, in their order. All faults of all files are told at once, and then
/// nothing was read; what is only odd is told on stderr.
pub fn read(files: &Files, told: Told<'_>) -> Result<Vec<Found>, Failure> {
    if files.file.is_empty() {
        return Err(
            Failure::usage("no file given").with_help("-f FILE, or -f - for standard input")
        );
    }
    let mode = if files.lenient { Mode::Lenient } else { Mode::Strict };
    let mut paths = Vec::new();
    for path in &files.file {
        collect(path, files.recursive, true, &mut paths)?;
    }
    let (mut found, mut faults, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let file =
            if is_stdin(&path) { "standard input".into() } else { path.display().to_string() };
        match decode(&octets(&path)?, mode) {
            Ok(manifest) => {
                if manifest.documents.is_empty() && !files.skip_empty {
                    faults.push(format!("{file}: holds no resource"));
                }
                warnings.extend(manifest.warnings.iter().map(|fault| format!("{file}: {fault}")));
                let documents = manifest.documents.into_iter();
                found.extend(documents.map(|document| Found { file: file.clone(), document }));
            }
            Err(found) => faults.extend(found.iter().map(|fault| told(&file, fault))),
        }
    }
    if !faults.is_empty() {
        return Err(Failure::usage(faults.join("\n")));
    }
    warnings.iter().for_each(|warning| warn(warning));
    Ok(found)
}

/// Tells what is odd but no fault.
pub fn warn(text: &str) {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "warning: {text}");
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn octets(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut octets = Vec::new();
    let read = if is_stdin(path) {
        io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut octets)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut octets))
    };
    let size = read.map_err(|error| Failure::reading(path, &error))?;
    if u64::try_from(size).unwrap_or(u64::MAX) > MAX_FILE {
        let limit = MAX_FILE >> 20;
        return Err(Failure::usage(format!("{}: larger than {limit} MiB", path.display())));
    }
    Ok(octets)
}

/// The file, or the manifests of a directory in the order of their names.
fn collect(
    path: &Path,
    recursive: bool,
    is_named: bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::reading(path, &error);
    if !path.is_dir() {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if is_named || matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    // A link that leads back would never end.
    if !is_named && (!recursive || path.is_symlink()) {
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(failed)?.collect();
    let mut paths: Vec<_> = entries.map_err(failed)?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    paths.iter().try_for_each(|path| collect(path, recursive, false, files))
}
