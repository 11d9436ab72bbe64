//! What became of a command's resources, in this tool's words.

/// What is done with resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// They must not be there.
    Create {
        /// What is there is passed over.
        skip: bool,
    },
    /// Created, or replaced.
    Apply,
    /// They must be there.
    Replace,
    /// They go.
    Delete,
    /// Only read.
    Validate,
    /// Some fields change.
    Patch,
}

impl Action {
    /// `create`, and what was done: `created`.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Create { .. } => ("create", "created"),
            Self::Apply => ("apply", "applied"),
            Self::Replace => ("replace", "replaced"),
            Self::Delete => ("delete", "deleted"),
            Self::Validate => ("validate", "validated"),
            Self::Patch => ("patch", "patched"),
        }
    }

    /// As in `operation Create is not supported on …`.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Create { .. } => "Create",
            Self::Apply => "Apply",
            Self::Replace | Self::Patch => "Update",
            Self::Delete => "Delete",
            Self::Validate => "Validate",
        }
    }
}

/// Counts what was done, and keeps what was not.
#[derive(Debug)]
pub struct Tally {
    action: Action,
    /// The kind of all of them, if they have one kind.
    kind: Option<&'static str>,
    total: usize,
    done: usize,
    errors: Vec<String>,
}

/// What goes to standard output, and what to standard error; whole lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// Standard output.
    pub out: String,
    /// Standard error. Not empty: the command failed.
    pub err: String,
}

impl Tally {
    /// Of resources of these kinds.
    pub fn new(action: Action, kinds: &[&'static str]) -> Self {
        let single = kinds.first().filter(|first| kinds.iter().all(|kind| kind == *first));
        Self { action, kind: single.copied(), total: kinds.len(), done: 0, errors: Vec::new() }
    }

    /// One was done, or passed over as asked.
    pub fn done(&mut self) {
        self.done += 1;
    }

    /// One was not done.
    pub fn failed(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    /// What there is to say.
    pub fn report(self) -> Report {
        let (present, past) = self.action.words();
        let kind = self.kind.map(|kind| format!(" '{kind}'")).unwrap_or_default();
        let (done, total) = (self.done, self.total);
        let errors = format!("[{}]", self.errors.join(" "));
        let mut report = Report { out: String::new(), err: String::new() };
        if self.action == Action::Delete {
            if done > 0 || self.errors.is_empty() {
                report.out = format!("Successfully deleted {done}{kind} resource(s)\n");
            }
            for error in &self.errors {
                report.err += &format!("Failed to delete{kind} resource: {error}\n");
            }
        } else if self.errors.is_empty() {
            report.out = match self.action {
                Action::Patch => format!("Successfully patched {done}{kind} resource\n"),
                _ => format!("Successfully {past} {done}{kind} resource(s)\n"),
            };
        } else if done > 0 {
            report.out = format!(
                "Partial success: {past} the first {done} out of {total}{kind} resources:\n"
            );
            report.err = format!("hit error: {errors}\n");
        } else if total == 1 {
            report.err = format!("failed to {present}{kind} resource: {errors}\n");
        } else {
            report.err = format!("failed to {present} any{kind} resources: {errors}\n");
        }
        report
    }
}

#[cfg(test)]
mod tests;
