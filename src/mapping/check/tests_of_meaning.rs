//! Paths and texts that can be read and that hold something else than what is meant.

use super::tests::{SOUND, VISIT, check, check_line, check_line_with_table};

#[test]
fn a_field_of_another_type_than_the_rule_reads_is_told() {
    check_line(
        "birth_date = 'PID-8'",
        &[("4:14 M018", "PID-8 (ID, IS, CWE) does not hold what birth_date is made of")],
    );
    check_line("name = 'PID-7'", &[("4:8 M018", "PID-7 (")]);
    check_line("multiple_birth = 'PID-5'", &[("4:18 M018", "")]);
    check_line("language = 'PID-3'", &[("4:12 M018", "say which, as in PID-3.1")]);
    check_line("language = { from = 'PID-3', as = 'text' }", &[]);
    check_line("language = 'OBR-3'", &[("4:12 M018", "with the ^ between them")]);
    check_line_with_table("sex = { from = 'PID-7', table = 'sex' }", &[("4:16 M018", "")]);
    check_line_with_table("sex = { from = 'PID-8', table = 'sex' }", &[]);
    // Several components are no date and no number, whatever the field was in the first versions.
    check_line(
        "birth_date = 'PV1-3'",
        &[("4:14 M018", "does not hold what birth_date is made of (is another field meant?)")],
    );
    check_line("multiple_birth = 'DG1-3'", &[("4:18 M018", "DG1-3 (")]);
    check_line("multiple_birth = 'DG1-15'", &[]);
    // What cannot be at all is told once.
    check_line("vip = { from = 'PID-7', as = 'date' }", &[("4:30 M011", "date cannot fill vip")]);
}

#[test]
fn a_list_whose_each_is_a_field_of_something_else_is_told() {
    let list = |name: &str, each: &str, expected: &[(&str, &str)]| {
        let fields = match name {
            "addresses" => "text = { constant = '1' }",
            "identifiers" => "value = { constant = '1' }\ntype = { constant = 'mrn' }",
            _ => "value = { constant = '1' }",
        };
        check(&format!("{SOUND}[[patient.{name}]]\neach = '{each}'\n{fields}\n"), expected);
    };
    list("phones", "PV1-7", &[("10:8 M018", "PV1-7 (")]);
    list("addresses", "PID-5", &[("10:8 M018", "holds no addresses (is another field meant?)")]);
    list("identifiers", "PID-7", &[("10:8 M018", "holds no numbers")]);
    for (name, each) in [
        ("phones", "PID-40"),
        ("phones", "PD1"),
        ("addresses", "PID-11"),
        ("identifiers", "PID-19"),
        ("identifiers", "PID-20"),
        ("identifiers", "PID-18"),
    ] {
        list(name, each, &[]);
    }
}

#[test]
fn a_field_of_the_header_that_is_read_for_the_patient_is_told() {
    check_line(
        "birth_date = 'MSH-7'",
        &[("4:14 M018", "MSH-7 is about the message, and says nothing of a patient's birth_date")],
    );
    check_line("language = ['PID-15.1', 'MSH-19.1']", &[("4:25 M018", "is a field of PID meant?")]);
    check(&format!("{SOUND}{VISIT}facility = 'MSH-4.1'\n"), &[]);
}

const REPORT: &str = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nstatus = { constant = 'final' }
updated_at = 'MSH-7'\n";

#[test]
fn obx_5_where_no_obx_is_opened_is_told() {
    let report = |path: &str, expected: &[(&str, &str)]| {
        check(&format!("{SOUND}{REPORT}conclusion = '{path}'\n"), expected);
    };
    report(
        "OBX-5",
        &[(
            "14:14 M021",
            "OBX-5 is that of the first OBX alone, whatever it is about (say which, as in OBX[3.1=CODE]-5",
        )],
    );
    report("OBX-5[*]", &[("14:14 M021", "of the first OBX alone")]);
    for path in ["OBX[*]-5", "OBX[1]-5", "OBX[3.1=IMP]-5[*]", "NTE-3"] {
        report(path, &[]);
    }
}

#[test]
fn a_component_of_a_result_s_value_is_told() {
    let result = |value: &str, expected: &[(&str, &str)]| {
        let items = "[[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nstatus = { constant = 'final' }\n";
        check(&format!("{SOUND}{REPORT}{items}{value}\n"), expected);
    };
    result(
        "value = 'OBX-5.1'",
        &[("18:9 M018", "of an SN its sign alone, and what the others say is lost (write OBX-5")],
    );
    result("value = 'OBX-5'", &[]);
    // Who names the field knows what is sent.
    result("value_text = 'OBX-5.2'", &[]);
}

#[test]
fn a_path_where_a_text_is_taken_is_told() {
    check_line(
        "language = { constant = 'PID-15.1' }",
        &[("4:25 M015", "PID-15.1 is a path, and here it is taken as the text itself")],
    );
    check_line("language = { from = 'PID-15.1', default = 'PID-15.4' }", &[("4:43 M015", "a path stands in from")]);
    check_line("language = { constant = 'zh-CN' }", &[]);
    check_line("language = { constant = 'ABC-1' }", &[]);
}

/// Units of FHIR with one more rule, the fifth line, or a block behind.
fn check_unit(rule: &str, behind: &str, expected: &[(&str, &str)]) {
    let head = "format = 'fhir'\n[patient]\neach = 'Patient'\nupdated_at = 'meta.lastUpdated'\n";
    let numbers = "[[patient.identifiers]]\neach = 'identifier'\nvalue = 'value'\ntype = { constant = 'mrn' }\n";
    let visit = "[visit]\neach = 'Encounter'\nnumber = 'id'\nevent = { constant = 'arrived' }\nupdated_at = 'meta.lastUpdated'\n";
    check(&format!("{head}{rule}\n{numbers}{visit}{behind}\n"), expected);
}

#[test]
fn a_part_of_a_name_or_reference_where_the_whole_is_meant_is_told() {
    check_unit("name = 'name.text'", "", &[("5:8 M018", "a name that is sent without it is lost (write name:")]);
    check_unit("name = ['name.text', 'name']", "", &[]);
    let told = [(
        "15:13 M018",
        "is the text of a reference, as Practitioner/7, and not what it leads to (write participant.individual)",
    )];
    check_unit("", "attending = 'participant.individual.reference'", &told);
    check_unit("", "attending = 'participant.individual'", &[]);
    check_unit("", "reason = 'class.code'", &[("15:17 M027", "only one of them is read (leave .code out")]);
    check_unit("", "reason = 'class'", &[]);
}

#[test]
fn texts_that_an_element_never_has_are_told() {
    let system = |text: &str, expected: &[(&str, &str)]| {
        check_unit(&format!("occupation = \"identifier.where(system = '{text}').value\""), "", expected);
    };
    system("2.16.156.10011.1.3", &[("5:41 M021", "(write urn:oid:2.16.156.10011.1.3)")]);
    system("urn:oid:2.16.156.10011.1.3", &[]);
    system("1.2", &[]);
    let reason = |path: &str, expected: &[(&str, &str)]| {
        check_unit("", &format!("reason = {{ constant = 'x', when = \"{path}\" }}"), expected)
    };
    reason("status contains 'fin'", &[("15:52 M022", "no version of FHIR has the code \"fin\" here")]);
    reason("status contains 'finished'", &[]);
}

#[test]
fn a_text_that_is_computed_of_several_is_told() {
    check_unit(
        "occupation = \"'职业: ' + name.text\"",
        "",
        &[(
            "5:24 M027",
            "name.text may have several values: of several there is no answer (say which, as in name.text.first())",
        )],
    );
    check_unit("occupation = \"'职业: ' & name.first().text\"", "", &[]);
    check_unit("", "ward = \"'W' + id\"", &[]);
}

#[test]
fn a_word_beside_a_table_that_is_nearly_one_of_its_targets_is_told() {
    let language = |keys: &str, expected: &[(&str, &str)]| {
        check_line_with_table(&format!("language = {{ from = 'PID-15.1', table = 'sex', {keys} }}"), expected);
    };
    language(
        "default = 'femal'",
        &[("4:58 M025", "femal is one letter away from a target of the table sex (did you mean female?)")],
    );
    language("on_unmapped = 'mal'", &[("4:62 M025", "did you mean male?")]);
    language("default = 'female', on_unmapped = 'keep'", &[]);
    language("default = 'none'", &[]);
}

#[test]
fn a_part_of_a_name_where_all_of_it_is_read_is_told() {
    check_line(
        "name = 'PID-5.1'",
        &[(
            "4:8 M018",
            "PID-5.1 is a part of the name alone (write PID-5: it reads all of the name; where the sender has all of it in this part, say so: as = \"text\")",
        )],
    );
    check_line("name = ['PID-5[7=L].2', 'PID-5']", &[("4:9 M018", "write PID-5[7=L]")]);
    check_line("name = { from = 'PID-5.1', as = 'text' }", &[]);
    check_line("family_name = 'PID-5.1.1'", &[]);
    let visit = |line: &str, expected: &[(&str, &str)]| check(&format!("{SOUND}{VISIT}{line}\n"), expected);
    visit("attending = 'PV1-7.2'", &[("13:13 M018", "write PV1-7: it reads all of the person's number and name")]);
    visit("attending.name = 'PV1-7.2.1'", &[]);
}

#[test]
fn the_value_of_a_result_is_not_its_unit() {
    let result = |line: &str, expected: &[(&str, &str)]| {
        let block =
            "[[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nstatus = { constant = 'final' }\nvalue = 'OBX-5'";
        check(&format!("{SOUND}{REPORT}{block}\n{line}\n"), expected);
    };
    result("unit = 'OBX-5'", &[("19:8 M018", "OBX-5 is the value of the result, and not its unit (is OBX-6 meant?)")]);
    result("unit = 'OBX-5.2'", &[]);
    result("note = 'OBX-5'", &[]);
}

#[test]
fn a_field_of_the_standard_in_segments_that_says_no_more_is_told() {
    let own = |field: &str, expected: &[(&str, &str)]| {
        check(&format!("[segments]\nPV1 = {{ {field} }}\n{SOUND}{VISIT}ward = 'PV1-3.1.1'\n"), expected);
    };
    own("2 = 'ST'", &[("2:13 M021", "PV1-2 is a field of HL7 v2 (ID, IS, CWE), and ST says no more of it")]);
    own("3 = 'PL'", &[("2:13 M021", "PV1-3 is a field of HL7 v2")]);
    own("60 = 'ST', 2 = 'CX'", &[]);
}

#[test]
fn values_of_a_predicate_that_nobody_sends_are_told() {
    let several = "A;B is one value here, and nobody sends it (several have commas between them: in A,B)";
    check_line("language = 'OBX[3.1 in A;B]-5'", &[("4:12 M021", several)]);
    check_line("language = 'PID-3[5 in A|B].1'", &[("4:12 M021", "in A,B")]);
    check_line("language = 'PID-3[5 in A,B].1'", &[]);
    let numbers = |value: &str, expected: &[(&str, &str)]| {
        let rows = "source,target,note\nMRN,mrn,\nPPN,passport,\n";
        let mapping = format!("[tables]\ntype = 'type.csv'\n{SOUND}")
            .replace("type = { constant = 'mrn' }", "type = { from = 'PID-3.5', table = 'type' }")
            .replace("name =", &format!("language = 'PID-3[5={value}].1'\nname ="));
        super::tests::check_files(&[("site.toml", &mapping), ("type.csv", rows)], expected);
    };
    numbers("MRNO", &[("5:12 M022", "no row of the table for PID-3.5 has the code MRNO (did you mean MRN?)")]);
    numbers("MRN", &[]);
    numbers("HISNO", &[]);
}

#[test]
fn a_text_of_several_components_names_them_from_the_first() {
    let when = |when: &str, expected: &[(&str, &str)]| {
        check_line(&format!("language = {{ from = 'PID-15.1', when = \"{when}\" }}"), expected);
    };
    when("MSH-9.2 = 'ADT^A01'", &[("4:51 M018", "compare its components: MSH-9.1 = 'ADT' and MSH-9.2 = 'A01'")]);
    when(
        "MSH-9.2 = 'A01^ADT_A01'",
        &[("4:51 M018", "compare its components: MSH-9.2 = 'A01' and MSH-9.3 = 'ADT_A01'")],
    );
}
