//! Regular expressions as one deterministic automaton: no memory while matching, no locks, and a
//! bound on what a pattern can cost.

use regex_automata::{
    Anchored,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson,
    util::{primitives::StateID, start, syntax},
};

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not a regular expression.
    #[error("{pattern:?} is not a regular expression: {why}")]
    Syntax {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// The automaton would exceed [`MAX_AUTOMATON`].
    #[error("{pattern:?} makes too large an automaton (more than {} MiB)", MAX_AUTOMATON >> 20)]
    TooLarge {
        /// As written.
        pattern: String,
    },
    /// Each pattern alone would do, but not all of them in one.
    #[error("the patterns together make too large an automaton (more than {} MiB)", MAX_AUTOMATON >> 20)]
    TooLargeTogether,
}

impl PatternError {
    /// The pattern it is about, if it is about one.
    pub fn pattern(&self) -> Option<&str> {
        match self {
            Self::Syntax { pattern, .. } | Self::TooLarge { pattern } => Some(pattern),
            Self::TooLargeTogether => None,
        }
    }
}

/// Most memory an automaton may take, in octets.
const MAX_AUTOMATON: usize = 2 << 20;

/// Whether a pattern is a regular expression; cheap, so it does not say whether its automaton is too
/// large, which [`Automaton::new`] does.
pub(super) fn check(pattern: &str, translated: &str) -> Result<(), PatternError> {
    let built = thompson::Compiler::new().syntax(syntax()).configure(nfa()).build(translated);
    built.map(|_| ()).map_err(|error| describe(pattern, &error))
}

/// Some patterns, asked at once.
#[derive(Clone)]
pub(super) struct Automaton {
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
}

impl Automaton {
    /// `translate` is applied to each pattern before it is compiled; errors show the original.
    pub(super) fn new(
        patterns: &[&str],
        translate: impl Fn(&str) -> String,
    ) -> Result<Self, PatternError> {
        let translated: Vec<String> = patterns.iter().map(|p| translate(p)).collect();
        let together = match build(&translated) {
            Ok(automaton) => return Ok(automaton),
            Err(error) => error,
        };
        if let [pattern] = patterns {
            return Err(describe(pattern, together.as_ref()));
        }
        for (pattern, translated) in patterns.iter().zip(&translated) {
            if let Err(error) = build(std::slice::from_ref(translated)) {
                return Err(describe(pattern, error.as_ref()));
            }
        }
        Err(PatternError::TooLargeTogether)
    }

    /// Begins a text.
    pub(super) fn run(&self) -> Run<'_> {
        Run { dfa: &self.dfa, state: self.start, matched: false }
    }
}

/// A text on its way through the automaton, in pieces.
pub(super) struct Run<'a> {
    dfa: &'a dense::DFA<Vec<u32>>,
    state: StateID,
    matched: bool,
}

impl Run<'_> {
    /// The next piece of the text.
    pub(super) fn push(&mut self, octets: &[u8]) {
        if self.matched {
            return;
        }
        for &octet in octets {
            self.state = self.dfa.next_state(self.state, octet);
            // Matching and dead states are among the special ones; nothing leads out of a dead one.
            if self.dfa.is_special_state(self.state) {
                self.matched = self.dfa.is_match_state(self.state);
                if self.matched || self.dfa.is_dead_state(self.state) {
                    return;
                }
            }
        }
    }

    /// The text ends here: whether a pattern was found in it.
    pub(super) fn finish(self) -> bool {
        self.matched || self.dfa.is_match_state(self.dfa.next_eoi_state(self.state))
    }
}

/// Texts are ASCII, so patterns are too: `.` is one octet, `\d` the ten digits.
fn syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

fn nfa() -> thompson::Config {
    thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_AUTOMATON))
}

fn build(patterns: &[String]) -> Result<Automaton, Box<dyn std::error::Error>> {
    let dfa = dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .dfa_size_limit(Some(MAX_AUTOMATON))
                .determinize_size_limit(Some(MAX_AUTOMATON)),
        )
        .syntax(syntax())
        .thompson(nfa())
        .build_many(patterns)?;
    let start = dfa.start_state(&start::Config::new().anchored(Anchored::No))?;
    Ok(Automaton { dfa, start })
}

fn describe(pattern: &str, error: &(dyn std::error::Error + 'static)) -> PatternError {
    let pattern = pattern.to_owned();
    match syntax_error(error) {
        Some(why) => PatternError::Syntax { pattern, why },
        None => PatternError::TooLarge { pattern },
    }
}

/// The last line of the innermost error, where that one comes from the parser of patterns.
fn syntax_error(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    let why = text.lines().last()?.trim().strip_prefix("error: ")?;
    Some(why.to_owned())
}
