//! A test harness of our own: it runs few tests at a time, knows "not applicable" with a reason,
//! and ends with a table. Its lines look like those of the standard harness.

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow};

/// How a test ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and held.
    Passed,
    /// It cannot be played with this peer, and why.
    NotApplicable(&'static str),
}

/// One test: a row and a column of the table, and what to do.
pub struct Case {
    /// Row: what is tested.
    pub row: &'static str,
    /// Column: with whom.
    pub column: String,
    /// The test.
    pub run: Box<dyn Fn() -> Result<Outcome> + Send + Sync>,
}

impl Case {
    /// `column::row`, the name in filters and on the screen.
    pub fn name(&self) -> String {
        format!("{}::{}", self.column.to_lowercase(), self.row.replace([' ', ','], "_"))
    }
}

/// What all cases came to, in the order given.
pub type Report = Vec<(String, Result<Outcome>)>;

/// Runs the cases whose name contains one of `filters` (all without filters), `workers` at once.
pub fn run(cases: &[Case], filters: &[String], workers: usize) -> Report {
    let chosen: Vec<&Case> = cases
        .iter()
        .filter(|case| filters.is_empty() || filters.iter().any(|f| case.name().contains(f)))
        .collect();
    println!("\nrunning {} tests", chosen.len());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Result<Outcome>>>> =
        Mutex::new(chosen.iter().map(|_| None).collect());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((at, case)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    chosen.get(at).map(|case| (at, case))
                } {
                    let start = Instant::now();
                    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)()))
                        .unwrap_or_else(|_| Err(anyhow!("panicked")));
                    say(case, &outcome, start.elapsed().as_secs_f32());
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done[at] = Some(outcome);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let names = chosen.iter().map(|case| case.name());
    names
        .zip(done)
        .map(|(name, outcome)| (name, outcome.unwrap_or_else(|| Err(anyhow!("never ran")))))
        .collect()
}

fn say(case: &Case, outcome: &Result<Outcome>, seconds: f32) {
    let word = match outcome {
        Ok(Outcome::Passed) => "ok".to_owned(),
        Ok(Outcome::NotApplicable(reason)) => format!("n.a. ({reason})"),
        Err(_) => "FAILED".to_owned(),
    };
    println!("test {} ... {word} ({seconds:.1} s)", case.name());
    // A closed terminal is noticed by the next println.
    let _ = std::io::stdout().flush();
}

/// Prints the failures and the closing line; true when nothing failed.
pub fn close(report: &Report, start: Instant) -> bool {
    let failed: Vec<_> =
        report.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().err()?))).collect();
    if !failed.is_empty() {
        println!("\nfailures:");
        for (name, error) in &failed {
            println!("\n---- {name} ----\n{error:?}");
        }
    }
    let passed = report.iter().filter(|(_, o)| matches!(o, Ok(Outcome::Passed))).count();
    println!(
        "\ntest result: {}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; \
         finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        start.elapsed().as_secs_f32()
    );
    failed.is_empty()
}

/// The markdown table of a full report: a row per scenario, a column per peer, and below it the
/// reasons of what does not apply.
pub fn table(cases: &[Case], report: &Report) -> String {
    let mut rows: Vec<&str> = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for case in cases {
        if !rows.contains(&case.row) {
            rows.push(case.row);
        }
        if !columns.contains(&case.column.as_str()) {
            columns.push(&case.column);
        }
    }
    let mut text = format!("| scenario | {} |\n", columns.join(" | "));
    text += &format!("|---|{}\n", ":-:|".repeat(columns.len()));
    let mut notes: Vec<&str> = Vec::new();
    for row in rows {
        text += &format!("| {row} |");
        for column in &columns {
            let name = cases.iter().find(|c| c.row == row && c.column == *column).map(Case::name);
            let outcome = name
                .and_then(|name| report.iter().find(|(known, _)| *known == name))
                .map(|(_, outcome)| outcome);
            text += &match outcome {
                None => " |".to_owned(),
                Some(Ok(Outcome::Passed)) => " passed |".to_owned(),
                Some(Err(_)) => " **failed** |".to_owned(),
                Some(Ok(Outcome::NotApplicable(reason))) => {
                    let known = notes.iter().position(|note| note == reason);
                    let number = known.unwrap_or_else(|| {
                        notes.push(reason);
                        notes.len() - 1
                    });
                    format!(" n.a. ({}) |", number + 1)
                }
            };
        }
        text += "\n";
    }
    for (number, note) in notes.iter().enumerate() {
        text += &format!("\n({}) {note}.", number + 1);
    }
    text.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::{Case, Outcome, run, table};

    fn case(row: &'static str, column: &str, run: fn() -> anyhow::Result<Outcome>) -> Case {
        Case { row, column: column.into(), run: Box::new(run) }
    }

    #[test]
    fn the_table_tells_passed_failed_and_why_not() {
        let cases = [
            case("up", "BIRD", || Ok(Outcome::Passed)),
            case("up", "FRR", || bail!("no")),
            case("refresh", "BIRD", || panic!("a test that panics fails")),
            case("refresh", "FRR", || Ok(Outcome::NotApplicable("FRR is on holiday"))),
        ];
        let report = run(&cases, &[], 2);
        assert_eq!(
            table(&cases, &report),
            "| scenario | BIRD | FRR |\n|---|:-:|:-:|\n| up | passed | **failed** |\n\
             | refresh | **failed** | n.a. (1) |\n\n(1) FRR is on holiday.\n"
        );
    }

    #[test]
    fn filters_choose_by_part_of_the_name() {
        let cases = [
            case("session up", "BIRD", || Ok(Outcome::Passed)),
            case("session up", "FRR", || bail!("must not run")),
        ];
        let report = run(&cases, &["bird::session_up".into()], 1);
        assert_eq!(report.len(), 1);
    }
}
