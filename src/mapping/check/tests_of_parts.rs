//! Fields and components that the standard says are something else than what is asked of them.

use super::tests::{SOUND, VISIT, check, check_files, check_line, check_over};

const REPORT: &str = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nstatus = { constant = 'final' }
updated_at = 'MSH-7'\n";
const RESULTS: &str = "[[lab_report.results]]\neach = 'OBX'\nstatus = { constant = 'final' }\nvalue = 'OBX-5'\n";

fn report(line: &str, expected: &[(&str, &str)]) {
    check(&format!("{SOUND}{REPORT}{line}\n"), expected);
}

fn result(line: &str, expected: &[(&str, &str)]) {
    let code = if line.starts_with("code") { "" } else { "code = 'OBX-3.1'\n" };
    check(&format!("{SOUND}{REPORT}{RESULTS}{line}\n{code}"), expected);
}

#[test]
fn a_component_of_a_code_that_is_another_one_is_told() {
    let text = "OBX-3.3 is the system of the code, and name is something else (is OBX-3.2 meant? as = \"text\" takes what is sent)";
    result("name = 'OBX-3.3'", &[("18:8 M018", text)]);
    result("name = ['OBX-3.2', 'OBX-3.6']", &[("18:20 M018", "OBX-3.6 is the system of the code")]);
    result(
        "system = 'OBX-3.2'",
        &[("18:10 M018", "OBX-3.2 is the name of the code, and system is something else (is OBX-3.3")],
    );
    result("system = 'OBX-3.4'", &[("18:10 M018", "OBX-3.4 is the code")]);
    result(
        "code = 'OBX-3.2'",
        &[("18:8 M018", "OBX-3.2 is the name of the code, and code is something else (is OBX-3.1")],
    );
    result("code = ['OBX-3.1', 'OBX-3.7']", &[("18:20 M018", "OBX-3.7 is the version of the code's system")]);
    for sound in [
        "name = ['OBX-3.2', 'OBX-3.1']",
        "name = { from = 'OBX-3.3', as = 'text' }",
        "code = ['OBX-3.1', 'OBX-3.2']",
        "system = ['OBX-3.3', 'OBX-3.6', 'OBX-3.14']",
        "sub_id = 'OBX-4'",
    ] {
        result(sound, &[]);
    }
    report(
        "specimen = 'SPM-4.3'",
        &[("14:12 M018", "SPM-4.3 is the system of the code, and specimen is something else")],
    );
    report("specimen = 'OBR-15.1.3'", &[("14:12 M018", "is OBR-15.1.2 meant?")]);
    report("panel.name = 'OBR-4.3'", &[("14:14 M018", "OBR-4.3 is the system of the code")]);
    report("panel.system = 'OBR-4.3'", &[]);
    check_line("language = 'PID-15.3'", &[("4:12 M018", "PID-15.3 is the system of the code")]);
    // A field of the sender's own is what [segments] says.
    let own = "[segments]\nZPI = { 1 = 'CWE', 2 = 'ST' }\n";
    check(&format!("{own}{SOUND}").replace("name =", "language = 'ZPI-1.3'\nname ="), &[("5:12 M018", "ZPI-1.3 is")]);
}

#[test]
fn a_person_with_the_times_beside_it_is_told() {
    report(
        "performer = 'OBR-32'",
        &[("14:13 M018", "OBR-32 (CN, CM, NDL) has the person in its first component alone (write OBR-32.1)")],
    );
    report("performer = ['OBR-32.1', 'OBR-33']", &[("14:26 M018", "write OBR-33.1")]);
    report("performer = ['OBR-32.1', 'OBR-33[2].1']", &[]);
}

#[test]
fn the_time_of_another_event_is_told_once() {
    result(
        "observed_at = 'OBR-14'",
        &[(
            "18:15 M018",
            "OBR-14 is when the specimen was received, and observed_at is another time (is OBX-14 meant?)",
        )],
    );
    result("observed_at = 'MSH-7'", &[("18:15 M018", "MSH-7 is when the message was made")]);
    report("reported_at = 'OBR-7'", &[("14:15 M018", "is OBR-22 meant?")]);
    report("collected_at = 'OBR-6'", &[("14:16 M018", "OBR-6 is when it was requested for")]);
    report("collected_at = 'SPM-18'", &[("14:16 M018", "is OBR-7 meant?")]);
    for sound in ["reported_at = ['OBR-22', 'MSH-7']", "reported_at = 'MSH-7'", "collected_at = ['OBR-7', 'OBR-14']"] {
        report(sound, &[]);
    }
    report("collected_at = { from = 'OBR-14', when = 'not OBR-7' }", &[]);
    result("observed_at = ['OBX-14', 'OBR-7', 'MSH-7']", &[]);
    // The base reads it for received_at, which says the same.
    let base = format!("{SOUND}{REPORT}received_at = 'OBR-14'\ncollected_at = 'OBR-7'\n");
    check_over(&base, "[[lab_report]]\neach = 'OBR'\ncollected_at = 'OBR-14'\n", &[("4:16 M018", "")]);
}

#[test]
fn what_is_no_text_of_a_note_is_told() {
    result("note = 'NTE[*]-2'", &[("18:8 M018", "NTE[*]-2 says who wrote the note (is NTE[*]-3 meant?")]);
    result("note = 'NTE-1'", &[("18:8 M018", "NTE-1 is the number of the note (is NTE-3 meant?")]);
    report("conclusion = ['NTE[*]-3', 'NTE-4']", &[("14:27 M018", "NTE-4 says of what kind")]);
    result("note = { from = 'NTE[*]-2', as = 'text' }", &[]);
    result("note = 'NTE[*]-3'", &[]);
}

#[test]
fn a_time_as_a_number_is_told_by_its_component_too() {
    let visit = |line: &str, expected: &[(&str, &str)]| check(&format!("{SOUND}{VISIT}{line}\n"), expected);
    let text = "PV1-45.1 (ST, DTM) is a time, and stay_number is a number (is another field meant?)";
    visit("stay_number = 'PV1-45.1'", &[("13:15 M018", text)]);
    visit("stay_number = 'PV1-44'", &[("13:15 M018", "PV1-44 (TS, DTM) is a time")]);
    visit("stay_number = 'PV1-54.1'", &[]);
    let number = |path: &str, expected: &[(&str, &str)]| {
        let block = "[[patient.identifiers]]\neach = 'PV1'\nvalue = 'PATH'\ntype = { constant = 'other' }\n";
        check(&format!("{SOUND}{}", block.replace("PATH", path)), expected);
    };
    number("PV1-44.1", &[("11:9 M018", "is a time, and value is a number")]);
    number("PV1-50.1", &[]);
}

#[test]
fn a_system_of_numbers_that_is_no_uri_is_told_at_its_row() {
    let mapping = "format = 'fhir'\n[tables]\nsystems = 'systems.csv'\n[patient]\neach = 'Patient'\nupdated_at = 'meta.lastUpdated'
[[patient.identifiers]]\neach = 'identifier'\nvalue = 'value'\ntype = { from = \"PATH\", table = 'systems', on_unmapped = 'other' }\n";
    let rows = |path: &str, rows: &str, expected: &[(&str, &str)]| {
        let table = format!("source,target,note\n{rows}\n");
        check_files(&[("site.toml", &mapping.replace("PATH", path)), ("systems.csv", &table)], expected);
    };
    const SYSTEM: &str = "system.replace('urn:oid:', '')";
    let text = "http//x is no URI, and no system of a number is written so (is http://x meant?)";
    rows(SYSTEM, "http//x,mrn,", &[("systems.csv:2:1 M021", text)]);
    rows("system", "urn:oid:1.2,mrn,\nurnoid1.2.3,mrn,", &[("systems.csv:3:1 M021", "is 1.2.3 meant?")]);
    rows(
        SYSTEM,
        "emr.example/sid/patient,mrn,",
        &[("systems.csv:2:1 M021", "is http://emr.example/sid/patient meant?")],
    );
    for sound in ["1.2.3,mrn,", "urn:oid:1.2,mrn,", "http://x,mrn,", "HIS,mrn,", "*,,", "oids,mrn,"] {
        rows(SYSTEM, sound, &[]);
    }
    // What a type is looked up in has codes.
    rows("type", "http//x,mrn,", &[]);
}
