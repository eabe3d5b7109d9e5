//! Joint disclosure: parts of a policy that together give away what one of them hides. Such a policy is refused, at the line that gives away.

use super::class::FieldClass as C;
use super::class::Treatment::{Clear, Mask, Omit};
use super::file::Written;
use crate::document::Problems;

/// Reports every pair.
pub(super) fn check(written: &Written, problems: &Problems<'_>) {
    let is = |class: C| written.treatment(class);
    let refuse = |when: bool, at: C, text: &str, hint: &str| {
        if when {
            problems.report(written.span(at), format!("{}: {text}", at.name()), Some(hint.to_owned()));
        }
    };
    // A resident number holds region, birth date and sex (GB 11643): six digits, eight, and the parity of the last but one.
    for number in [C::IdentityNumber, C::Insurance] {
        // 医保 cards bear the resident number in many cities.
        refuse(
            is(number) == Clear && [C::BirthDate, C::Sex].into_iter().any(|class| is(class) != Clear),
            number,
            "a resident number tells the birth date and the sex, which this policy hides",
            "mask it, or leave it out; or give birth_date and sex clear",
        );
        refuse(
            is(number) == Mask && is(C::BirthDate) == Clear,
            number,
            "its last four with the whole birth date leave only the region of the number to guess",
            "omit it, or birth_date = \"generalise\"",
        );
        refuse(
            is(number) == Mask && is(C::Sex) != Clear,
            number,
            "its last four tell the sex, which this policy hides",
            "omit it, or sex = \"clear\"",
        );
    }
    refuse(
        is(C::Insurance) == Clear && is(C::IdentityNumber) != Clear,
        C::Insurance,
        "many insurance numbers are the resident number, which this policy hides",
        "mask it, give a pseudonym, or leave it out",
    );
    refuse(
        is(C::OtherNames) > is(C::Name) && is(C::Name) != Clear,
        C::OtherNames,
        "the other names hold the name in another script or order, which this policy hides",
        "hide it at least as far as `name`",
    );
    refuse(
        is(C::Email) == Clear && is(C::Name) != Clear,
        C::Email,
        "most addresses spell the name, which this policy hides",
        "email = \"mask\", or omit it",
    );
    refuse(
        is(C::Relatives) == Clear && is(C::Phone) != Clear,
        C::Relatives,
        "the phone of the next of kin is often the patient's own, which this policy hides",
        "relatives = \"mask\", or omit it",
    );
    refuse(
        is(C::Relatives) > Omit && is(C::Phone) == Omit,
        C::Relatives,
        "the phone of the next of kin is often the patient's own, which this policy leaves out",
        "omit it, or phone = \"mask\"",
    );
    refuse(
        is(C::Relatives) > is(C::Name) && is(C::Name) != Clear,
        C::Relatives,
        "the next of kin bear the family name, which this policy hides",
        "hide it at least as far as `name`",
    );
    for number in [C::VisitNumber, C::ReportNumber] {
        refuse(
            is(number) == Clear && is(C::HospitalNumber) != Clear,
            number,
            "many systems make these numbers of the patient's own number, which this policy hides",
            "give a pseudonym: it is the same wherever the number is",
        );
    }
    refuse(
        is(C::ReportNumber) == Clear && is(C::VisitNumber) != Clear,
        C::ReportNumber,
        "a report without a number of its own is named by its visit's, which this policy hides",
        "give a pseudonym: it is the same wherever the number is",
    );
    refuse(
        is(C::VisitReason) == Clear && is(C::Diagnosis) != Clear,
        C::VisitReason,
        "the reason for a visit names the diagnosis, which this policy hides",
        "omit it, or diagnosis = \"clear\"",
    );
    let hidden: Vec<&str> =
        [C::Result, C::Test, C::Diagnosis].into_iter().filter(|class| is(*class) != Clear).map(C::name).collect();
    let hint = format!("omit it, or give {} clear", hidden.join(", "));
    refuse(
        is(C::ReportText) == Clear && !hidden.is_empty(),
        C::ReportText,
        "conclusions and notes in words tell values, tests and diagnoses, some of which this policy hides",
        &hint,
    );
    refuse(
        is(C::RecordTime) == Clear && (is(C::VisitTime) != Clear || is(C::ReportTime) != Clear),
        C::RecordTime,
        "when a source last said something is when the visit or report was, which this policy hides",
        "record_time = \"generalise\"",
    );
    refuse(
        is(C::Evidence) == Clear
            && [C::Name, C::BirthDate, C::IdentityNumber, C::HospitalNumber, C::Phone, C::Address, C::Origin]
                .into_iter()
                .any(|class| is(class) != Clear),
        C::Evidence,
        "why records are one patient's names their numbers and what agrees, some of which this policy hides",
        "omit it",
    );
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::SourceFile;
    use crate::policy::{Categories, Policy};

    fn check(fields: &str, expected: &[&str]) {
        let text = format!("[fields]\n{}\n", fields.replace(", ", "\n"));
        let file = SourceFile { name: "policies/own.toml".to_owned(), text };
        let (_, found) = Policy::read("own", &file, &Categories::shipped());
        let classes: Vec<&str> = found.iter().map(|found| found.text.split(':').next().unwrap()).collect();
        assert_eq!(classes, expected, "{fields}");
        assert!(found.iter().all(|found| found.line > 1 && found.is_error() && found.hint.is_some()), "{found:?}");
    }

    #[test]
    fn a_policy_of_which_one_part_gives_away_another_is_refused_at_that_line() {
        check(r#"identity_number = "clear", birth_date = "generalise", sex = "clear""#, &["identity_number"]);
        check(r#"identity_number = "mask", birth_date = "clear", sex = "clear""#, &["identity_number"]);
        check(r#"identity_number = "mask", birth_date = "generalise", sex = "clear""#, &[]);
        check(r#"identity_number = "mask", birth_date = "generalise""#, &["identity_number"]);
        check(r#"identity_number = "pseudonym", birth_date = "clear""#, &[]);
        check(r#"insurance = "clear", identity_number = "omit", birth_date = "clear", sex = "clear""#, &["insurance"]);
        check(r#"name = "mask", other_names = "clear""#, &["other_names"]);
        check(r#"name = "omit", other_names = "mask""#, &["other_names"]);
        check(r#"name = "mask", other_names = "mask""#, &[]);
        check(r#"name = "mask", email = "clear""#, &["email"]);
        check(r#"name = "clear", phone = "mask", relatives = "clear""#, &["relatives"]);
        check(r#"name = "clear", relatives = "mask""#, &["relatives"]);
        check(r#"name = "clear", phone = "mask", relatives = "mask""#, &[]);
        check(r#"visit_number = "clear""#, &["visit_number"]);
        check(r#"hospital_number = "clear", report_number = "clear""#, &["report_number"]);
        check(r#"visit_number = "pseudonym", report_number = "pseudonym""#, &[]);
        check(r#"visit_reason = "clear", diagnosis = "generalise""#, &["visit_reason"]);
        check(r#"report_text = "clear""#, &["report_text"]);
        check(r#"report_text = "clear", result = "clear", test = "clear", diagnosis = "generalise""#, &["report_text"]);
        check(r#"report_text = "clear", result = "clear", diagnosis = "clear""#, &["report_text"]);
        check(r#"report_text = "clear", result = "clear", test = "clear", diagnosis = "clear""#, &[]);
        check(r#"record_time = "clear", visit_time = "generalise", report_time = "clear""#, &["record_time"]);
        check(r#"evidence = "clear""#, &["evidence"]);
    }
}
