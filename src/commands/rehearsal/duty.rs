//! What a consumer of the feed owes, by name, and what a rehearsal found of it. docs/rehearse.md explains each name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::commands::output;

macro_rules! duties {
    ($($variant:ident $name:literal $meaning:literal)*) => {
        /// One duty.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Duty { $(#[doc = $meaning] $variant,)* }

        impl Duty {
            /// Every duty, in the order of the report.
            pub(super) const ALL: &'static [Duty] = &[$(Duty::$variant,)*];

            /// Its name in reports and in the guide.
            pub(super) fn name(self) -> &'static str {
                match self { $(Duty::$variant => $name,)* }
            }

            /// What is owed, in a sentence.
            pub(super) fn meaning(self) -> &'static str {
                match self { $(Duty::$variant => $meaning,)* }
            }
        }
    };
}

duties! {
    Begin "begin" "begin at the start or with a snapshot, and keep what is told"
    Commit "commit" "commit a position after what lies before it is kept"
    Filtered "filtered" "go on from `next` where no event was for you"
    Unknown "unknown" "pass over event types and fields that you do not know"
    Repeat "repeat" "an event that comes again changes nothing and is acted on once"
    Order "order" "a lower version never replaces a higher one"
    Cut "cut" "ask again when an answer breaks off, and lose nothing"
    BackOff "back-off" "wait as long as Retry-After says, then ask again"
    Wait "wait" "ask on after an answer without events, and not in a hurry"
    Merge "merge" "on patient.merged all of the retired One ID is the survivor's"
    Split "split" "on patient.split exactly the named records are new_one_id's"
    Moved "moved" "a report that turns out to be another patient's leaves the former"
    TakeBack "take-back" "what rests on an event that `reverses` names is undone"
    Correct "correct" "a critical value that a correction takes back is none any more"
    Expired "expired" "on 410 take a snapshot, drop what it does not list, go on from its cursor"
    Erase "erase" "on patient.erased forget the patient, also when older events come again"
    Epoch "epoch" "on 409 or feed.epoch_changed compare with reconcile; events of a newer epoch replace whatever is held"
    Signature "signature" "refuse what is not signed with your secret (4xx), keep nothing of it"
    Age "age" "refuse what was signed long ago or is of the future (4xx)"
    Answer "answer" "answer 2xx to what is kept, known events included"
}

/// A fault of the consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was done to it.
    pub(super) sent: String,
    /// What it was to do.
    pub(super) expected: String,
    /// What it did, or what it holds.
    pub(super) found: String,
}

/// What came of one duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was tried, and nothing is wrong. The text says what was not looked at in it; empty: nothing.
    Passed(String),
    /// What is wrong.
    Failed(Vec<Finding>),
    /// Why not.
    NotLookedAt(String),
}

/// What a rehearsal came to.
#[derive(Debug, Default)]
pub(super) struct Report(BTreeMap<Duty, Outcome>);

impl Report {
    /// Says what came of a duty. A fault outweighs everything; what was tried outweighs what was not looked at.
    pub(super) fn add(&mut self, duty: Duty, outcome: Outcome) {
        let now = match (self.0.remove(&duty), outcome) {
            (Some(Outcome::Failed(mut before)), Outcome::Failed(more)) => {
                before.extend(more);
                Outcome::Failed(before)
            }
            (Some(failed @ Outcome::Failed(_)), _) => failed,
            (Some(passed @ Outcome::Passed(_)), Outcome::NotLookedAt(_)) => passed,
            (_, outcome) => outcome,
        };
        self.0.insert(duty, now);
    }

    /// One fault.
    pub(super) fn fail(&mut self, duty: Duty, finding: Finding) {
        self.add(duty, Outcome::Failed(vec![finding]));
    }

    /// Whether anything was said of a duty.
    pub(super) fn knows(&self, duty: Duty) -> bool {
        self.0.contains_key(&duty)
    }

    /// A duty that was played, but in which what matters could not be seen.
    pub(super) fn replace_passed(&mut self, duty: Duty, why: &str) {
        if let Some(outcome @ Outcome::Passed(_)) = self.0.get_mut(&duty) {
            *outcome = Outcome::NotLookedAt(why.to_owned());
        }
    }

    /// What was not looked at in a duty that is passed.
    pub(super) fn remark(&mut self, duty: Duty, what: &str) {
        if let Some(Outcome::Passed(remark)) = self.0.get_mut(&duty) {
            *remark = what.to_owned();
        }
    }

    /// Whether nothing is wrong.
    pub(super) fn is_fine(&self) -> bool {
        !self.0.values().any(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// Every duty with what came of it.
    fn outcomes(&self) -> impl Iterator<Item = (Duty, Outcome)> {
        let none = || Outcome::NotLookedAt("the rehearsal ended before".to_owned());
        Duty::ALL.iter().map(move |duty| (*duty, self.0.get(duty).cloned().unwrap_or_else(none)))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let duty = |(duty, outcome): (Duty, Outcome)| {
            let (result, remark, findings) = match outcome {
                Outcome::Passed(remark) => ("passed", remark, Vec::new()),
                Outcome::Failed(findings) => ("failed", String::new(), findings),
                Outcome::NotLookedAt(why) => ("not_looked_at", why, Vec::new()),
            };
            let finding =
                |finding: &Finding| json!({"sent": finding.sent, "expected": finding.expected, "found": finding.found});
            let findings: Vec<Value> = findings.iter().map(finding).collect();
            json!({"duty": duty.name(), "meaning": duty.meaning(), "result": result, "remark": remark, "findings": findings})
        };
        json!({"passed": self.is_fine(), "duties": self.outcomes().map(duty).collect::<Vec<_>>()})
    }

    /// For people: one line a duty, and what is wrong below it.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let (mut passed, mut failed, mut unseen) = (0, 0, 0);
        for (duty, outcome) in self.outcomes() {
            let (name, meaning) = (duty.name(), duty.meaning());
            match outcome {
                Outcome::Passed(remark) => {
                    passed += 1;
                    output::line(format!("passed         {name:<10} {meaning}"))?;
                    if !remark.is_empty() {
                        output::line(format!("               {:10} not looked at: {remark}", ""))?;
                    }
                }
                Outcome::NotLookedAt(why) => {
                    unseen += 1;
                    output::line(format!("not looked at  {name:<10} {why}"))?;
                }
                Outcome::Failed(findings) => {
                    failed += 1;
                    output::line(format!("FAILED         {name:<10} {meaning}"))?;
                    for Finding { sent, expected, found } in findings {
                        output::line(format!("    sent:     {sent}\n    expected: {expected}\n    found:    {found}"))?;
                    }
                }
            }
        }
        output::line(format!("\n{passed} passed, {failed} failed, {unseen} not looked at"))
    }
}
