//! Whether a source's merge (A40 and its older forms) may be carried out.
//!
//! Numbers are merged, not persons: a retired number answers as the surviving one from now on, so chains (A into B, B into C)
//! and merges of what was merged (A into B, C into A) end at the number that is alive. Records need not exist yet.

use crate::record::RecordNumber;

/// One merge, with what is known about it now.
#[derive(Debug, Clone, Copy)]
pub struct MergeRequest<'a> {
    /// The source that says so.
    pub source: &'a str,
    /// The source that owns the assigning authority by configuration, if any does.
    pub owner: Option<&'a str>,
    /// The number that lives on (PID-3).
    pub survivor: &'a RecordNumber,
    /// The number that is given up (MRG-1).
    pub retired: &'a RecordNumber,
    /// The number that `survivor` answers as today, earlier merges followed; itself if it was never merged.
    pub survivor_now: &'a RecordNumber,
    /// The same for `retired`.
    pub retired_now: &'a RecordNumber,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergePlan {
    /// Redirect `retired` to `survivor`, the end of the survivor's own chain.
    Apply {
        /// The number to redirect.
        retired: RecordNumber,
        /// The live number that it answers as from now on.
        survivor: RecordNumber,
    },
    /// The same merge was carried out before: nothing to do, answer positively.
    AlreadyDone,
}

/// Why a merge is refused. The sender is answered AE with this text; numbers are left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeRefusal {
    /// PID-3 is MRG-1.
    #[error(
        "the surviving and the retired number are the same: send the retired number in MRG-1 and the surviving one in PID-3"
    )]
    SameNumber,
    /// The numbers belong to two authorities.
    #[error(
        "the numbers belong to different assigning authorities: a source can merge only within one; link the two patients by hand instead"
    )]
    AcrossAuthorities,
    /// Another source owns the authority.
    #[error(
        "this source does not own the assigning authority: only the owner may merge, move or delete in it (see `authorities` in the configuration)"
    )]
    NotOwner,
    /// The opposite merge was carried out before.
    #[error(
        "the opposite merge was carried out before: the number in PID-3 has been retired in favour of the one in MRG-1; split them first"
    )]
    Opposite,
    /// The retired number was merged into another one before.
    #[error("the number in MRG-1 was merged into another number before: split that merge first")]
    MergedElsewhere,
}

/// Validates a merge and says what it comes to.
pub fn plan_merge(request: &MergeRequest<'_>) -> Result<MergePlan, MergeRefusal> {
    let MergeRequest { survivor, retired, survivor_now, retired_now, .. } = *request;
    if survivor == retired {
        return Err(MergeRefusal::SameNumber);
    }
    if survivor.system != retired.system {
        return Err(MergeRefusal::AcrossAuthorities);
    }
    if request.owner.is_some_and(|owner| owner != request.source) {
        return Err(MergeRefusal::NotOwner);
    }
    if retired_now != retired {
        return if retired_now == survivor_now {
            Ok(MergePlan::AlreadyDone)
        } else {
            Err(MergeRefusal::MergedElsewhere)
        };
    }
    if survivor_now == retired {
        return Err(MergeRefusal::Opposite);
    }
    Ok(MergePlan::Apply { retired: retired.clone(), survivor: survivor_now.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use MergeRefusal::*;

    /// Merges `earlier` and then `merge`, all `RETIRED>SURVIVOR`; `expected` is the redirect, `done`, or the refusal.
    fn check(earlier: &[&str], merge: &str, expected: Result<&str, MergeRefusal>) {
        let number = |text: &str| -> RecordNumber {
            let (system, value) = text.split_once('|').unwrap_or(("HIS", text));
            RecordNumber { system: system.to_owned(), value: value.to_owned() }
        };
        let mut redirects: Vec<(RecordNumber, RecordNumber)> = Vec::new();
        let mut outcome = Err(SameNumber);
        for merge in earlier.iter().chain([&merge]) {
            let (retired, survivor) = merge.split_once('>').unwrap();
            let (retired, survivor) = (number(retired), number(survivor));
            let now = |number: &RecordNumber| {
                let mut now = number.clone();
                while let Some((_, next)) = redirects.iter().find(|(from, _)| *from == now) {
                    now = next.clone();
                }
                now
            };
            let (survivor_now, retired_now) = (now(&survivor), now(&retired));
            let request = MergeRequest {
                source: "his",
                owner: (survivor.system == "LAB").then_some("lis"),
                survivor: &survivor,
                retired: &retired,
                survivor_now: &survivor_now,
                retired_now: &retired_now,
            };
            outcome = plan_merge(&request).map(|plan| match plan {
                MergePlan::Apply { retired, survivor } => {
                    let text = format!("{}>{}", retired.value, survivor.value);
                    redirects.push((retired, survivor));
                    text
                }
                MergePlan::AlreadyDone => "done".to_owned(),
            });
        }
        assert_eq!(outcome, expected.map(str::to_owned), "{earlier:?} {merge}");
    }

    #[test]
    fn cases_34_and_35_a_merge_and_its_repeat() {
        check(&[], "A>B", Ok("A>B"));
        check(&["A>B"], "A>B", Ok("done"));
        check(&["A>B", "B>C"], "A>B", Ok("done"));
    }

    #[test]
    fn case_36_a_number_into_itself_is_refused() {
        check(&[], "A>A", Err(SameNumber));
    }

    #[test]
    fn cases_39_and_41_chains_end_at_the_number_that_is_alive() {
        check(&["A>B"], "B>C", Ok("B>C"));
        check(&["B>C"], "A>B", Ok("A>C"));
        check(&["A>B"], "C>A", Ok("C>B"));
        check(&["A>B", "B>C"], "A>C", Ok("done"));
    }

    #[test]
    fn case_40_a_cycle_is_refused() {
        check(&["A>B"], "B>A", Err(Opposite));
        check(&["A>B", "B>C"], "C>A", Err(Opposite));
    }

    #[test]
    fn a_number_merged_elsewhere_is_not_torn_away() {
        check(&["A>B"], "A>C", Err(MergedElsewhere));
    }

    #[test]
    fn case_44_only_the_owner_merges_and_only_in_one_authority() {
        check(&[], "A>LAB|A", Err(AcrossAuthorities));
        check(&[], "LAB|A>LAB|B", Err(NotOwner));
    }

    #[test]
    fn a_refusal_says_what_to_do_and_where() {
        assert!(NotOwner.to_string().contains("authorities"));
    }
}
