//! What the programs of `cargo xtask bench` with a table of marks have in common: options, one part after
//! the other, the result in a file and, where asked, in the document.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, Command, FromArgMatches};

use crate::{
    docs::Section,
    marks::{self, Row},
};

/// A part of a benchmark: its name, and what measures it at a scale.
pub type Part = (&'static str, fn(f64) -> Result<Vec<Row>>);

/// A benchmark.
#[derive(Debug)]
pub struct Bench {
    /// Its name on the command line, and of the file with its result.
    pub name: &'static str,
    /// For `--help`.
    pub about: &'static str,
    /// What it measures, by name; the argument multiplies sizes.
    pub parts: &'static [Part],
    /// Lines about what else takes part.
    pub others: fn() -> Vec<String>,
    /// Where the document has its table.
    pub section: Section,
}

#[derive(Debug, Args)]
struct Options {
    /// Parts, with commas between; all without
    #[arg(long, value_delimiter = ',')]
    part: Vec<String>,
    /// Multiplies the sizes, to try the benchmark itself
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The build that runs: its results have a folder of their own
    #[arg(long, default_value = "release")]
    profile: String,
    /// Write the section of docs/performance.md
    #[arg(long)]
    write_docs: bool,
}

impl Bench {
    /// Does what the command line says.
    pub fn main(&self) -> ExitCode {
        let Self { name, about, .. } = self;
        let parts: Vec<&str> = self.parts.iter().map(|(part, _)| *part).collect();
        let after =
            format!("Parts: {}.\n\nResult: target/bench/PROFILE/{name}.md.", parts.join(", "));
        let command = Command::new("bench").bin_name(format!("cargo xtask bench {name}"));
        let command = Options::augment_args(command.about(*about)).after_help(after);
        let given = Options::from_arg_matches(&command.get_matches());
        let options = given.unwrap_or_else(|error| error.exit());
        match self.run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("error: {e:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn run(&self, options: &Options) -> Result<()> {
        let name = self.name;
        let parts = self.chosen(&options.part)?;
        if !testkit::have_root(&format!("bench {name}")) {
            bail!("the benchmark makes network namespaces: run it as root");
        }
        let mut rows = Vec::new();
        for (part, measure) in parts {
            println!("{part}");
            let some = measure(options.scale).context(*part)?;
            some.iter().for_each(|row| println!("  {}", row.brief()));
            rows.extend(some);
        }
        let text = marks::table(&rows, &options.profile, &(self.others)());
        print!("\n{text}");
        let folder = marks::folder(&options.profile, options.scale)?;
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let file = folder.join(format!("{name}.md"));
        fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
        println!("\nwritten: {}", file.display());
        if options.write_docs {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
            let old = fs::read_to_string(&file)?;
            fs::write(&file, self.section.with_table(&old, &text))?;
            println!("written: {}", file.display());
        }
        Ok(())
    }

    /// The parts of these names, all of them without any.
    fn chosen(&self, names: &[String]) -> Result<Vec<&Part>> {
        if names.is_empty() {
            return Ok(self.parts.iter().collect());
        }
        let find = |name: &String| self.parts.iter().find(|(part, _)| part == name);
        names
            .iter()
            .map(|name| find(name).with_context(|| format!("{name:?} is no part")))
            .collect()
    }
}
