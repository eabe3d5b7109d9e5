//! Lays what a consumer holds beside what it should, after each thing that was played, and writes the report.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::duty::{Duty, Finding, Outcome, Report};
use super::held::Held;
use super::model::Model;

/// A consumer may keep what it has read a little later than it asks for more.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(100);

/// Duties that only what is held can tell of.
const NEED_STATE: [Duty; 8] =
    [Duty::Repeat, Duty::Order, Duty::Merge, Duty::Split, Duty::Moved, Duty::TakeBack, Duty::Correct, Duty::Erase];

/// Duties of which half is what is done beyond keeping records.
const NEED_ACTIONS: [Duty; 6] = [Duty::Repeat, Duty::Merge, Duty::Split, Duty::TakeBack, Duty::Correct, Duty::Erase];

/// Why a rehearsal does not go on.
pub(super) enum Ended {
    /// The consumer takes no more.
    Dead,
    /// What it holds cannot be read, or the rehearsal itself has a fault.
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Ended::Broken(error)
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Judge {
    pub(super) report: Report,
    /// Events that a restore took back.
    pub(super) undone: BTreeSet<String>,
    /// What was wrong at the last look, by record and aspect: told once.
    known: BTreeSet<(String, &'static str)>,
}

impl Judge {
    /// The report, once the story is over, or the consumer is; `not_tried`: what this way of rehearsing cannot try, and why.
    ///
    /// # Errors
    /// What broke it off.
    pub(super) fn finish(self, ended: Result<(), Ended>, not_tried: &[(Duty, &str)]) -> anyhow::Result<Report> {
        let mut report = self.report;
        for (duty, why) in not_tried {
            report.add(*duty, Outcome::NotLookedAt((*why).to_owned()));
        }
        match ended {
            Ok(()) => {}
            Err(Ended::Broken(error)) => return Err(error),
            Err(Ended::Dead) => {
                for duty in Duty::ALL.iter().filter(|duty| !report.knows(**duty)).copied().collect::<Vec<_>>() {
                    report.add(duty, Outcome::NotLookedAt("the consumer took no more".to_owned()));
                }
            }
        }
        Ok(report)
    }

    /// Compares after something was played for `duty`.
    ///
    /// # Errors
    /// What the consumer holds cannot be read.
    pub(super) async fn look(
        &mut self,
        duty: Duty,
        sent: &str,
        held: Option<&Held>,
        expected: &Model,
    ) -> anyhow::Result<()> {
        let Some(held) = held else {
            let outcome = if NEED_STATE.contains(&duty) {
                Outcome::NotLookedAt("what it holds is not known: give --state or --state-command".to_owned())
            } else {
                Outcome::Passed("what it holds, for want of --state or --state-command".to_owned())
            };
            self.report.add(duty, outcome);
            return Ok(());
        };
        let begun = Instant::now();
        loop {
            let state = held.read().await?;
            let differences = expected.differences(&state, &self.undone);
            let is_new = |record: &str, aspect: &'static str| !self.known.contains(&(record.to_owned(), aspect));
            let fresh: Vec<_> =
                differences.iter().filter(|found| is_new(&found.record, found.aspect)).cloned().collect();
            if fresh.is_empty() || begun.elapsed() > SETTLE {
                self.known = differences.into_iter().map(|found| (found.record, found.aspect)).collect();
                for difference in &fresh {
                    let expected = format!("{} {}", difference.record, difference.expected);
                    let finding = Finding { sent: sent.to_owned(), expected, found: difference.found.clone() };
                    self.report.fail(duty, finding);
                }
                let has_actions = state["actions"].is_array();
                let remark = if has_actions || !NEED_ACTIONS.contains(&duty) {
                    ""
                } else {
                    "what it does beyond keeping records (`actions`)"
                };
                self.report.add(duty, Outcome::Passed(remark.to_owned()));
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
