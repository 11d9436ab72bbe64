//! A slow look at everything, a datagram at a time, in case something was missed without a trace.

use std::time::{Duration, Instant};

use crate::netlink::decode::fact;
use crate::netlink::dump::{Dump, Step, Subject};
use crate::plan::fact::Fact;
use crate::plan::readings::{Occasion, ReadRoutes, Reading};
use crate::plan::state::State;

/// Between two datagrams of a dump.
const PACE: Duration = Duration::from_millis(2);

/// An audit, waiting or under way.
#[derive(Debug)]
pub struct Audit {
    every: Duration,
    at: Instant,
    under_way: Option<(Subject, ReadRoutes)>,
}

/// What a step came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// An audit is complete: its findings are with the state.
    pub found: bool,
    /// When the next step is due.
    pub next: Option<Instant>,
}

impl Audit {
    /// The first one comes after one period.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every, at: now + every, under_way: None }
    }

    /// Does what is due.
    pub fn step(&mut self, state: &mut State, dump: &mut Dump, now: Instant) -> Outcome {
        if now < self.at {
            return Outcome { found: false, next: Some(self.at) };
        }
        let (subject, mut routes) = match self.under_way.take() {
            Some(under_way) => under_way,
            None => {
                state.begin_audit();
                match dump.ask(Subject::Routes4) {
                    Ok(()) => (Subject::Routes4, ReadRoutes::default()),
                    Err(err) => return self.fail(state, ReadRoutes::default(), &err, now),
                }
            }
        };
        let step = dump.step(|m| {
            if let Some(Fact::Route(route, ..)) = fact(m) {
                state.collect(&mut routes, route);
            }
        });
        match (step, subject) {
            (Err(err), _) => return self.fail(state, routes, &err, now),
            // What it says is not to be trusted; there is time until the next one.
            (Ok(Step::Inconsistent), _) => {
                state.end_audit(routes);
                self.at = now + self.every;
                return Outcome { found: false, next: Some(self.at) };
            }
            (Ok(Step::More), subject) => self.under_way = Some((subject, routes)),
            (Ok(Step::Complete), Subject::Routes4) => match dump.ask(Subject::Routes6) {
                Ok(()) => self.under_way = Some((Subject::Routes6, routes)),
                Err(err) => return self.fail(state, routes, &err, now),
            },
            (Ok(Step::Complete), _) => {
                let reading = Reading { routes: Some(routes), ..Reading::default() };
                state.read(reading, Occasion::Audit, now);
                self.at = now + self.every;
                return Outcome { found: true, next: Some(self.at) };
            }
        }
        self.at = now + PACE;
        Outcome { found: false, next: Some(self.at) }
    }

    /// Something else needs the dump socket, or knows better.
    pub fn give_up(&mut self, state: &mut State) {
        if let Some((_, routes)) = self.under_way.take() {
            state.end_audit(routes);
            self.at = Instant::now() + self.every;
        }
    }

    fn fail(
        &mut self,
        state: &mut State,
        routes: ReadRoutes,
        err: &std::io::Error,
        now: Instant,
    ) -> Outcome {
        tracing::debug!(%err, "audit given up");
        state.end_audit(routes);
        self.at = now + self.every;
        Outcome { found: false, next: Some(self.at) }
    }
}
