//! One step of a run: said before, timed, its tests counted, its failure remembered.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// What a number of steps came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, and steps that failed without a test of their own to blame.
    pub failed: usize,
    /// Tests that were ignored or said that they could not run here.
    pub skipped: usize,
    steps: Vec<(String, f32, bool)>,
}

impl Tally {
    /// Runs one step to its end; its output passes through and is read for test results.
    pub fn step(&mut self, title: &str, command: &mut Command) {
        let start = announce(title);
        let before = self.failed;
        let ok = match self.watch(command) {
            Ok(ok) => ok,
            Err(e) => {
                eprintln!("error: {e:#}");
                false
            }
        };
        if !ok && self.failed == before {
            self.failed += 1;
        }
        self.note(title, start, ok && self.failed == before);
    }

    /// A step that is a function of this program.
    pub fn work(&mut self, title: &str, work: impl FnOnce() -> Result<()>) {
        let start = announce(title);
        let result = work();
        if let Err(e) = &result {
            eprintln!("error: {e:#}");
            self.failed += 1;
        }
        self.note(title, start, result.is_ok());
    }

    /// The times of all steps, then the closing line.
    pub fn close(self) -> bool {
        println!();
        for (title, seconds, ok) in &self.steps {
            println!("{:>8.1} s  {}  {title}", seconds, if *ok { "ok    " } else { "FAILED" });
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        self.failed == 0
    }

    fn note(&mut self, title: &str, start: Instant, ok: bool) {
        let seconds = start.elapsed().as_secs_f32();
        println!("--- {title}: {} in {seconds:.1} s", if ok { "ok" } else { "FAILED" });
        self.steps.push((title.to_owned(), seconds, ok));
    }

    fn watch(&mut self, command: &mut Command) -> Result<bool> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let reader = thread::spawn(move || err.map(|err| pass_through(err, std::io::stderr())));
        let mut lines = out.map(|out| pass_through(out, std::io::stdout())).unwrap_or_default();
        lines.extend(reader.join().ok().flatten().unwrap_or_default());
        for line in &lines {
            self.count(line);
        }
        Ok(child.wait()?.success())
    }

    /// Reads one line of a test harness.
    fn count(&mut self, line: &str) {
        if line.starts_with("SKIPPED") {
            self.skipped += 1;
            return;
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (number, what) = (words.next(), words.next());
            let Some(number) = number.and_then(|n| n.parse::<usize>().ok()) else { continue };
            match what {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Runs a command whose failure ends everything.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(title: &str, command: &mut Command) -> Result<()> {
    let start = announce(title);
    let status = command.status().with_context(|| format!("starting {title}"))?;
    if !status.success() {
        bail!("{title}: {status}");
    }
    println!("--- {title}: ok in {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

/// A call of the cargo that runs us, as a user would call it: without what `cargo run` tells us of
/// our own package. Build scripts watch those variables (ring's does), and each change of caller
/// would build half of the workspace again.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let ours =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

fn announce(title: &str) -> Instant {
    println!("\n==> {title}");
    // A closed terminal is noticed by the next println.
    let _ = std::io::stdout().flush();
    Instant::now()
}

/// Copies a stream as it comes and returns the lines that matter to the tally.
fn pass_through(from: impl Read, mut to: impl Write) -> Vec<String> {
    let mut reader = BufReader::new(from);
    let mut kept = Vec::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // What cannot be shown must still be read, or the child would block.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        let text = String::from_utf8_lossy(&line);
        if text.starts_with("test result: ") || text.starts_with("SKIPPED") {
            kept.push(text.trim_end().to_owned());
        }
        line.clear();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn the_closing_lines_of_test_harnesses_are_added_up() {
        let mut tally = Tally::default();
        tally.count("test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out");
        tally.count("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured");
        tally.count("SKIPPED (needs root): kernel");
        tally.count("running 3 tests");
        assert_eq!((tally.passed, tally.failed, tally.skipped), (15, 1, 3));
    }

    #[test]
    fn a_step_that_fails_without_tests_counts_as_one_failure() {
        let mut tally = Tally::default();
        tally.step("false", &mut std::process::Command::new("false"));
        tally.step("true", &mut std::process::Command::new("true"));
        assert_eq!(tally.failed, 1);
        assert!(!tally.close());
    }
}
