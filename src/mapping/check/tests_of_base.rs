//! Slips of a site over the base that ships: paths and tables of something else, told once, and the right forms beside them, which are not.

use std::io;

use super::tests::problems_with;

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/", $name)))),*]
    };
}

/// The base, its tables, and two of the examples'.
const SHIPPED: &[(&str, &str)] = shipped![
    "hl7v2.toml",
    "tables/abnormal-flag.csv",
    "tables/address-use.csv",
    "tables/consent-mode.csv",
    "tables/consent-purpose.csv",
    "tables/consent-status.csv",
    "tables/diagnosis-kind.csv",
    "tables/document-kind.csv",
    "tables/document-status.csv",
    "tables/emr-document.csv",
    "tables/his-class.csv",
    "tables/identifier-type.csv",
    "tables/marital.csv",
    "tables/order-control.csv",
    "tables/order-status.csv",
    "tables/patient-class.csv",
    "tables/phone-use.csv",
    "tables/report-kind-by-code.csv",
    "tables/report-kind.csv",
    "tables/report-status.csv",
    "tables/result-status.csv",
    "tables/sex.csv",
    "tables/unit.csv",
    "tables/vip.csv",
    "tables/visit-event.csv",
    "tables/yes-no.csv",
];

const REPORT: &str = "[[lab_report]]\nblock = 'results'";
const RESULT: &str = "[[lab_report]]\nblock = 'results'\n[[lab_report.results]]\neach = 'OBX'";
const STAY: &str = "[[visit]]\nblock = 'stay'";
const DIAGNOSIS: &str = "[[visit]]\nblock = 'stay'\n[[visit.diagnoses]]\neach = 'DG1'";
const PROCEDURE: &str = "[[visit]]\nblock = 'stay'\n[[visit.procedures]]\neach = 'PR1'";

/// What is told of a site's file over `mappings/hl7v2.toml`, with the paths and codes of the shipped tables.
fn told(site: &str) -> Vec<String> {
    told_with_units(site, "")
}

/// The same, with a file of units of the site's own.
fn told_with_units(site: &str, rows: &str) -> Vec<String> {
    let site = format!("extends = 'hl7v2.toml'\n{site}\n");
    problems_with(&|name| match name {
        "site.toml" => Ok(site.clone()),
        "own.csv" => Ok(format!("source,target,note\n{rows}\n")),
        _ => {
            let found = SHIPPED.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        }
    })
    .iter()
    .map(ToString::to_string)
    .collect()
}

/// Lines that are told once, with a part of what is said, after their block; one without a part is not told at all.
fn check_lines(cases: &[(&str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (block, line, part) in cases {
        let found = told(&format!("{block}\n{line}"));
        let is_right = match found.as_slice() {
            [] => part.is_empty(),
            [one] => !part.is_empty() && one.contains(part),
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{line}: {part:?}: {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_path_that_the_base_reads_for_another_field_is_told_of_texts_and_numbers_too() {
    check_lines(&[
        (
            REPORT,
            "filler_order_number = 'OBR-2.1'",
            "site.toml:4:23 warning[M018]: OBR-2.1 is what placer_order_number is read from",
        ),
        (REPORT, "placer_order_number = 'OBR-3.1'", "is another field meant? the base reads OBR-2.1; as = \"text\""),
        (REPORT, "visit_number = 'PID-3.1'", "PID-3.1 is what patient.identifiers is read from"),
        (REPORT, "performer = 'OBR-16'", "OBR-16 is what requester is read from"),
        (RESULT, "value = 'OBX-6'", "OBX-6 is what unit is read from"),
        (RESULT, "flags = 'OBX-7'", "OBX-7 is what reference_range is read from"),
        (RESULT, "flags = { from = 'OBX-7', table = 'abnormal_flag' }", "OBX-7 is what reference_range is read from"),
        (RESULT, "code = 'OBX-4'", "OBX-4 is what sub_id is read from"),
        (RESULT, "alternate = { from = 'OBX-5', as = 'alternate' }", "OBX-5 is what value is read from"),
        (RESULT, "note = 'OBX-5'", "OBX-5 is what value is read from"),
        (STAY, "referring = 'PV1-7'", "PV1-7 is what attending is read from"),
        (STAY, "bed = 'PV1-3.2.1'", "PV1-3.2.1 is what room is read from"),
        (STAY, "ward = 'PV1-3.3.1'", "PV1-3.3.1 is what bed is read from"),
        (STAY, "number = { from = 'PID-3.1', required = 'skip' }", "PID-3.1 is what patient.identifiers is read from"),
        // What the base's rule says beside it is no mistake of its own.
        (STAY, "number = 'PID-3.1'", "PID-3.1 is what patient.identifiers is read from"),
        (STAY, "updated_at = 'PV1-44'", "PV1-44 is what started_at is read from"),
        (
            STAY,
            "started_at = 'PV1-44'\nended_at = 'PV1-44'",
            "site.toml:5:12 warning[M018]: PV1-44 is what started_at is",
        ),
        (
            STAY,
            "started_at = { from = ['PV1-44', 'EVN-2'], when = \"PV1-44 or MSH-9.2 = 'A01'\" }\nended_at = 'PV1-44'",
            "site.toml:5:12 warning[M018]",
        ),
        (DIAGNOSIS, "name = 'DG1-3.1'", "DG1-3.1 is what code is read from"),
        (DIAGNOSIS, "code = 'DG1-4'", "DG1-4 is what name is read from"),
        (DIAGNOSIS, "alternate = { from = 'DG1-4', as = 'alternate' }", "DG1-4 is what name is read from"),
        (PROCEDURE, "name = 'PR1-3.1'", "PR1-3.1 is what code is read from"),
        (PROCEDURE, "code = 'PR1-2'", "PR1-2 is what system is read from"),
        ("[[patient.insurance]]\neach = 'IN1'", "number = 'IN1-2.1'", "IN1-2.1 is what kind is read from"),
        ("[patient]", "nationality = 'PID-22.2'", "PID-22.2 is what ethnicity is read from"),
        ("[[merge]]\nblock = 'visit_owner'", "visit = 'PID-3.1'", "PID-3.1 is what patient.identifiers is read from"),
    ]);
}

#[test]
fn a_path_that_two_fields_may_well_share_is_not_told() {
    check_lines(&[
        (REPORT, "filler_order_number = ['OBR-3.1', 'OBR-2.1']", ""),
        (REPORT, "filler_order_number = { from = 'OBR-2.1', as = 'text' }", ""),
        (REPORT, "filler_order_number = 'OBR-2.1'\nplacer_order_number = false", ""),
        (REPORT, "visit_number = 'PID-3[5=VN].1'", ""),
        (REPORT, "visit_number = 'PID-18.1'", ""),
        (REPORT, "updated_at = 'ORC-9'", ""),
        (REPORT, "requester = 'ORC-12'", ""),
        (REPORT, "conclusion = 'NTE[*]-3[*]'", ""),
        (RESULT, "note = { from = 'OBX-5', when = \"OBX-2 = 'TX'\" }", ""),
        (RESULT, "name = ['OBX-3.2', 'OBX-3.1']", ""),
        (RESULT, "name = { from = 'OBX-3.1', as = 'text' }", ""),
        (RESULT, "observed_at = 'OBR-7'", ""),
        (STAY, "department = 'PV1-3.1.1'", ""),
        (STAY, "ward = 'PV1-10.1'", ""),
        (STAY, "stay_number = 'PV1-19.1'", ""),
        (STAY, "ended_at = ['PV1-45', 'EVN-2']", ""),
        (STAY, "started_at = 'PV1-45'\nended_at = 'PV1-44'", ""),
        (STAY, "updated_at = ['EVN-2', 'PV1-44', 'MSH-7']", ""),
        (DIAGNOSIS, "name = ['DG1-3.2', 'DG1-3.1']", ""),
        (DIAGNOSIS, "code = 'DG1-3.4'", ""),
        ("[[patient.insurance]]\neach = 'IN1'", "number = 'IN1-49.1'", ""),
        ("[patient]", "other_names = { from = 'PID-5[*]', as = 'name' }", ""),
        ("[patient]", "nationality = 'PID-28.1'", ""),
    ]);
}

#[test]
fn what_the_standard_says_is_something_else_is_told_by_type_precision_event_and_part() {
    const PHONE: &str = "[[patient.phones]]\neach = 'PID-15'";
    const ADDRESS: &str = "[[patient.addresses]]\neach = 'PID-11'";
    check_lines(&[
        (
            "[patient]",
            "birth_date = 'PID-7.2'",
            "PID-7.2 says how precise the time is, and birth_date is the time itself",
        ),
        (STAY, "started_at = 'PV1-44.2'", "site.toml:4:14 warning[M018]: PV1-44.2 says how precise"),
        ("[patient]", "birth_date = 'PID-7.1'", ""),
        (
            "[patient]",
            "multiple_birth = 'PID-24'",
            "PID-24 has codes of HL7 table 0136 (N, Y), and multiple_birth is a number",
        ),
        ("[patient]", "multiple_birth = 'PID-25'", ""),
        (DIAGNOSIS, "rank = 'DG1-1'", ""),
        (REPORT, "filler_order_number = 'OBR-1'", "OBR-1 (SI) counts the segments of each message from 1"),
        (RESULT, "sub_id = 'OBX-1'", ""),
        (
            STAY,
            "updated_at = 'EVN-3'",
            "EVN-3 is when the event is planned, and updated_at is another time (is EVN-2 meant?)",
        ),
        (STAY, "updated_at = 'EVN-6'", ""),
        (STAY, "scheduled_at = 'PV2-9'", "PV2-9 is when the end is expected"),
        (STAY, "ended_at = 'PV2-9'", "is PV1-45 meant?"),
        (STAY, "scheduled_at = 'EVN-3'", ""),
        (STAY, "ended_at = ['PV1-45', 'PV2-9']", ""),
        (RESULT, "observed_at = 'OBX-12'", "OBX-12 is since when the reference range holds"),
        (RESULT, "observed_at = 'OBR-22'", "OBR-22 is when the report was made or changed"),
        (RESULT, "observed_at = ['OBX-14', 'OBR-22']", ""),
        ("[patient]", "name = 'PID-6'", "PID-6 is the name of the mother, before her marriage, and not the patient's"),
        ("[patient]", "name = 'NK1-2'", "NK1-2 is the name of a next of kin"),
        ("[patient]", "name = ['PID-5[7=L]', 'PID-5']", ""),
        (PHONE, "value = { from = 'PID-15', as = 'phone' }", "holds no phone numbers"),
        ("[[patient.phones]]\neach = 'NK1'", "value = { from = 'NK1-5', as = 'phone' }", ""),
        (
            ADDRESS,
            "postal_code = 'PID-11.6'",
            "PID-11.6 is the country, and postal_code is something else (is PID-11.5",
        ),
        (ADDRESS, "postal_code = 'PID-11.5'", ""),
        (REPORT, "panel = 'OBR-4.1'", "OBR-4.1 is the code alone, and panel is code, name and system (write OBR-4;"),
        (REPORT, "panel = 'OBR-4'", ""),
        (REPORT, "panel.code = 'OBR-4.1'\npanel.name = 'OBR-4.2'", ""),
        (REPORT, "panel = 'OBX-3'", "OBX-3 is that of the first OBX alone"),
        (REPORT, "panel = 'OBX[1]-3'", ""),
    ]);
}

#[test]
fn a_path_whose_codes_are_of_another_hl7_table_is_told() {
    const ADDRESS: &str = "[[patient.addresses]]\neach = 'PID-11'";
    const PHONE: &str = "[[patient.phones]]\nblock = 'pid_13'\neach = 'PID-13'";
    check_lines(&[
        (
            "[patient]",
            "marital_status = { from = 'PID-17', table = 'marital' }",
            "site.toml:3:27 warning[M022]: PID-17 has codes of HL7 table 0006, and marital those of table 0002, as PID-16",
        ),
        ("[patient]", "marital_status = { from = 'PID-17.1', table = 'marital' }", "HL7 table 0006"),
        ("[patient]", "marital_status = { from = 'PID-16.1', table = 'marital' }", ""),
        ("[patient]", "marital_status = { from = 'GT1-30', table = 'marital' }", ""),
        (ADDRESS, "use = { from = 'PID-11.7', table = 'phone_use' }", "site.toml:4:16 warning[M022]: PID-11.7"),
        (ADDRESS, "use = { from = 'PID-11.7', table = 'address_use' }", ""),
        (REPORT, "kind = { from = 'OBR-25', table = 'report_kind' }", "OBR-25 is looked up in report_status"),
        (REPORT, "status = { from = 'OBR-24', table = 'report_status' }", "OBR-24 is looked up in report_kind"),
        (RESULT, "status = { from = 'OBR-25', table = 'result_status' }", "OBR-25 is looked up in report_status"),
        (STAY, "first_visit = { from = 'PV1-4', table = 'yes_no' }", "PV1-4 has codes of HL7 table 0007"),
        (STAY, "first_visit = { from = 'PV2-34', table = 'yes_no' }", ""),
        ("[patient]", "vip = { from = 'PV1-16', table = 'yes_no', on_unmapped = 'leave' }", ""),
        (STAY, "class = { from = ['PV1-2', 'PV1-18'], table = 'class', on_unmapped = 'keep' }", ""),
        (STAY, "class = { from = 'PV1-4', table = 'class', on_unmapped = 'keep' }", "and class those of table 0004"),
        (STAY, "event = { from = 'MSH-9.3', table = 'visit_event', on_unmapped = 'leave' }", "HL7 table 0354"),
        (STAY, "event = { from = 'EVN-1', table = 'visit_event', on_unmapped = 'leave' }", ""),
        // The table has rows for codes of equipment, such as CP; and what a site has added may be for the path.
        (PHONE, "use = { from = 'PID-13.3', table = 'phone_use', default = 'home' }", ""),
        (
            "[tables]\nclass = ['tables/patient-class.csv', 'tables/his-class.csv']\n[[visit]]\nblock = 'stay'",
            "class = { from = 'PV1-4', table = 'class', on_unmapped = 'keep' }",
            "",
        ),
    ]);
}

#[test]
fn what_a_site_says_in_vain_is_told() {
    const OF_DOCUMENTS: &str = "[tables]\ndocument_kind = ['tables/document-kind.csv', 'tables/emr-document.csv']
[[lab_report]]\nblock = 'document'";
    const OF_ORU: &str = "match = { 'MSH-9.1' = ['ORU'] }\n[[lab_report]]\nblock = 'document'";
    const OF_MDM: &str = "match = { 'MSH-9.1' = ['ORU', 'MDM'] }\n[[lab_report]]\nblock = 'document'";
    check_lines(&[
        (
            STAY,
            "started_at = { from = ['PV1-44', 'EVN-6'], when = \"PV1-44 and MSH-9.2 = 'A01'\" }",
            "site.toml:4:34 warning[M021]: EVN-6 is never asked: when says that PV1-44, before it, has a value",
        ),
        (
            STAY,
            "started_at = { from = ['PV1-44', 'EVN-6'], when = 'not PV1-44' }",
            "site.toml:4:24 warning[M021]: PV1-44 has no value where when holds",
        ),
        (STAY, "started_at = { from = ['PV1-44', 'EVN-6'], when = \"PV1-44 or MSH-9.2 = 'A01'\" }", ""),
        (STAY, "started_at = { from = ['PV1-44', 'EVN-6'], when = \"MSH-9.2 = 'A01'\" }", ""),
        (
            OF_DOCUMENTS,
            "kind = { constant = 'imaging' }",
            "site.toml:3:1 warning[M024]: no rule uses the table document_kind any more",
        ),
        (OF_DOCUMENTS, "kind = { from = 'TXA-2.1', table = 'document_kind' }", ""),
        (OF_DOCUMENTS, "conclusion = 'NTE[*]-3[*]'", ""),
        (
            OF_ORU,
            "kind = { constant = 'imaging' }",
            "site.toml:5:1 warning[M021]: the block document counts where MSH-9.1 = 'MDM', and match lets no such message",
        ),
        (OF_ORU, "when = 'false'", ""),
        (OF_MDM, "kind = { constant = 'imaging' }", ""),
        (
            "match = { 'MSH-9.1' = ['ORU'] }\n[[lab_report]]\nblock = 'order'",
            "kind = { constant = 'imaging' }",
            "the block order counts where MSH-9.1 in ['ORM', 'OML', 'OMG', 'OMI'], and match lets no such",
        ),
    ]);
}

#[test]
fn a_row_that_gives_a_unit_another_prefix_is_told() {
    let units = |rows: &str| told_with_units("[tables]\nunit = ['tables/unit.csv', 'own.csv']", rows);
    let text = "own.csv:2:8 warning[M025]: umol/L is another unit than mmol/L, and no value is converted (did you mean mmol/L?)";
    assert_eq!(units("mmol/L,umol/L,"), [text]);
    for sound in ["ug/mL,mg/L,", "毫摩尔,mmol/L,", "mIU/dL,m[IU]/dL,", "G/L,10*9/L,"] {
        assert!(units(sound).is_empty(), "{sound}: {:?}", units(sound));
    }
}
