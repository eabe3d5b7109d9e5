//! Mistakes in mappings for FHIR, and where and how they are told.

use super::tests::{check, check_over};

const UNITS: &str = "format = 'fhir'\n[patient]\neach = 'Patient'\nname = 'name'\nupdated_at = 'meta.lastUpdated'
[[patient.identifiers]]\neach = 'identifier'\nvalue = 'value'\ntype = { constant = 'mrn' }
[visit]\neach = 'Encounter'\nnumber = 'id'\nevent = { constant = 'arrived' }\nupdated_at = 'meta.lastUpdated'\n";

/// Checks one line of a visit of FHIR, the fifteenth of its file.
fn check_element(line: &str, expected: &[(&str, &str)]) {
    check(&format!("{UNITS}{line}\n"), expected);
}

/// Checks a condition of FHIR: where it begins, and what is told.
fn check_element_condition(when: &str, expected: &[(usize, &str, &str)]) {
    let places: Vec<String> = expected
        .iter()
        .map(|(offset, code, _)| {
            format!("15:{} {code}", "first_visit = { constant = true, when = \"".len() + 1 + offset)
        })
        .collect();
    let expected: Vec<(&str, &str)> =
        places.iter().map(String::as_str).zip(expected.iter().map(|(_, _, text)| *text)).collect();
    check_element(&format!("first_visit = {{ constant = true, when = \"{when}\" }}"), &expected);
}

#[test]
fn codes_that_no_version_of_fhir_has_are_told() {
    check_element_condition(
        "status = 'finishd'",
        &[(9, "M022", "no version of FHIR has the code \"finishd\" here (did you mean finished?)")],
    );
    check_element_condition("status in ('planned' | 'arived')", &[(23, "M022", "did you mean arrived?")]);
    check_element_condition("location.exists(status != 'actve')", &[(26, "M022", "did you mean active?")]);
    check_element_condition("identifier.where(use = 'offical').exists()", &[(23, "M022", "did you mean official?")]);
    // Codes of all versions, and any code where one version has no closed list.
    for when in [
        "status = 'finished'",
        "status = 'discharged'",
        "status ~ 'FINISHED'",
        "class.code = 'x'",
        "status.lower() = 'x'",
    ] {
        check_element_condition(when, &[]);
    }
    let matching =
        |condition: &str, expected: &[(&str, &str)]| check(&format!("match = {{ {condition} }}\n{UNITS}"), expected);
    matching(
        "resourceType = 'Enconter'",
        &[("1:26 M022", "no unit is of the type \"Enconter\" (did you mean Encounter?)")],
    );
    matching(
        "resourceType = 'Encounter|Patient'",
        &[("1:26 M022", "several are a list: [\"Encounter\", \"Patient\"]")],
    );
    matching("resourcetype = 'Encounter'", &[("1:11 M005", "did you mean resourceType?")]);
    matching("'Encounter.status' = 'finishd'", &[("1:32 M022", "did you mean finished?")]);
    matching("resourceType = ['Encounter', 'Patient'], 'Encounter.status' = ['finished', '']", &[]);
}

#[test]
fn a_list_that_is_compared_with_one_value_is_told() {
    check_element_condition(
        "identifier.system = 'urn:x'",
        &[(
            0,
            "M027",
            "several are never equal to one, so this does not hold (write identifier.system.exists($this = 'urn:x')",
        )],
    );
    check_element_condition("'x' != identifier.system", &[(7, "M027", "this holds whatever they are")]);
    check_element_condition("identifier.value.startsWith('V')", &[(17, "M027", "of several it has no answer")]);
    check_element_condition("status and true", &[(0, "M027", "counts as true wherever it is there")]);
    for when in [
        "identifier.exists(system = 'x')",
        "identifier.where(use = 'usual').value = 'x'",
        "identifier.first().value = 'x'",
        "identifier[0].value = 'x'",
        "identifier.value.exists($this = 'x')",
        // One in R4, a list in R5.
        "class.code = 'IMP'",
        "extension('urn:x').value = 'y'",
    ] {
        check_element_condition(when, &[]);
    }
}

#[test]
fn what_fhirpath_can_never_answer_is_an_error_at_its_column() {
    for (path, column, text) in [
        ("status + 1", 9, "never give a result here"),
        ("status.substring('a')", 26, "the first argument of substring() is a whole number"),
        ("subject.toDate()", 17, "toDate() expects a single value"),
        ("serviceProvider.resolve.name", 25, "(write resolve())"),
        ("identifier.first.value", 20, "(write first())"),
        ("period.begin", 16, "Period has no element begin (there are end, start)"),
        ("type.code", 14, "did you mean coding.code?"),
        ("extension.value.foo", 25, "one of 55 types (Address, Age, …) has no element foo"),
    ] {
        check_element(&format!("ward = \"{path}\""), &[(&format!("15:{column} M005"), text)]);
    }
    check_element("ward = 'Observation.code'", &[("15:9 M021", "a unit of Encounter holds no Observation")]);
    check_element("ward = 'Medication.code'", &[("15:9 M021", "holds no Medication")]);
    check_element("ward = 'Condition.code'", &[]);
    check_element("started_at = 'status'", &[("15:14 M018", "does not hold what started_at is made of")]);
    check_element("started_at = \"extension('urn:x').value\"", &[]);
    let patient = UNITS.replace("name = 'name'", "name = 'name'\nlanguage = 'Observation.value'");
    check(&patient, &[("5:13 M021", "what other units find here is taken back by it")]);
}

#[test]
fn marks_and_words_that_fhirpath_does_not_have_are_told_with_what_is_written_here() {
    for (when, offset, hint) in [
        ("status == 'x'", 7, "(write =)"),
        ("status <> 'x'", 7, "(write !=)"),
        ("status.exists() && id.exists()", 16, "(write and)"),
        ("status.exists() || id.exists()", 16, "(write or)"),
        ("!status.exists()", 0, "(write .not() behind"),
        ("not status.exists()", 4, "not stands behind what it denies"),
        ("status not in ('planned')", 7, "not stands behind what it denies"),
        ("status in ['planned']", 10, "a list is written ('a' | 'b')"),
        ("status in ('planned', 'arrived')", 20, "a list is written with |"),
        ("status = null", 9, "asked with empty()"),
        ("status.exists() AND id.exists()", 16, "did you mean and?"),
        ("status = “planned”", 9, "single quotes"),
        ("status ＝ 'planned'", 7, "(write a plain =)"),
        ("status.exists（）", 13, "(write a plain ()"),
        ("status.exists and true", 7, "(write exists())"),
    ] {
        check_element_condition(when, &[(offset, "M006", hint)]);
    }
}

#[test]
fn an_each_of_fhir_in_another_spelling_is_told() {
    let visit = |each: &str| format!("[[visit]]\neach = '{each}'\nward = 'serviceType'\n");
    check_over(UNITS, &visit("encounter"), &[("3:8 M020", "has each = \"Encounter\"")]);
    check_over(
        UNITS,
        "[[patient]]\neach = 'patient'\nlanguage = 'language'\n",
        &[("3:9 M005", "did you mean Patient?")],
    );
    let base = UNITS.replace("'identifier'", "\"identifier.where(use = 'usual')\"");
    let site = "[[patient]]\neach = 'Patient'\n[[patient.identifiers]]\neach = 'identifier'\nsystem = 'system'\n";
    check_over(&base, site, &[("5:8 M020", "identifier.where(use = 'usual')")]);
}

#[test]
fn a_part_behind_the_element_that_reads_it_is_never_asked() {
    let text = "reasonCode.text is never asked: reasonCode, before it, reads it";
    check_element("reason = ['reasonCode', 'reasonCode.text']", &[("15:25 M021", text)]);
    for sound in [
        "reason = ['reasonCode.text', 'reasonCode']",
        "reason = ['reasonCode', 'reasonReference.display']",
        "started_at = ['period', 'period.end']",
    ] {
        check_element(sound, &[]);
    }
}

#[test]
fn what_is_asked_of_a_reference_or_compared_without_quotes_has_a_hint() {
    check_element("ward = 'location.location.name'", &[("15:27 M005", "write resolve().name")]);
    check_element("ward = 'location.location.dispaly'", &[("15:27 M005", "did you mean display?")]);
    let text = "a text stands in quotes: 'official'";
    check_element("reason = 'identifier.where(use=official).value'", &[("15:32 M005", text)]);
}

#[test]
fn an_element_that_the_base_reads_for_another_field_is_told() {
    let base = format!("{UNITS}started_at = 'period.start'\nended_at = 'period.end'\n");
    let visit = |line: &str, expected: &[(&str, &str)]| {
        check_over(&base, &format!("[visit]\neach = 'Encounter'\n{line}\n"), expected);
    };
    visit("started_at = 'period.end'", &[("4:14 M018", "period.end is what ended_at is read from")]);
    visit("started_at = 'period'", &[]);
}

#[test]
fn what_fhir_says_is_something_else_is_told() {
    check_element("ended_at = 'period'", &[("15:12 M018", "period gives the start of the period (write period.end)")]);
    check_element("ended_at = 'period.end'", &[]);
    check_element("started_at = 'period'", &[]);
    check_element("stay_number = 'identifier.system'", &[("15:15 M018", "is identifier.value meant?")]);
    check_element("reason = 'reasonCode.coding.system'", &[("15:10 M018", "is reasonCode.coding.code meant?")]);
    check_element("attending = 'subject'", &[("15:13 M018", "subject is the patient")]);
    check_element("number_system = 'identifier.system'", &[]);
}
