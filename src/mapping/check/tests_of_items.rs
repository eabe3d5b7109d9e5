//! Paths that read one of several, and tables of another field: told where they stand, with what was probably meant.

use super::tests::{SEX, SOUND, VISIT, check, check_files, check_line, check_over};

const RESULTS: &str = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nstatus = { constant = 'final' }
updated_at = 'MSH-7'\n[[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nstatus = { constant = 'final' }\nvalue = 'OBX-5'\n";

#[test]
fn a_rule_that_reads_the_first_where_the_base_s_reads_all_is_told() {
    let base = format!(
        "{SOUND}{RESULTS}flags = {{ from = 'OBX-8[*]', as = 'text' }}\nnote = 'NTE[*]-3[*]'\nobserved_at = 'OBX-14'\n"
    );
    let site = |line: &str, expected: &[(&str, &str)]| {
        check_over(
            &base,
            &format!("[[lab_report]]\neach = 'OBR'\n[[lab_report.results]]\neach = 'OBX'\n{line}\n"),
            expected,
        );
    };
    let flags = "OBX-8 is the first repetition alone; the base's rule in base.toml:19, in whose place this stands, reads all: OBX-8[*] (write OBX-8[*] for all; the first on purpose is OBX-8[1])";
    site("flags = 'OBX-8'", &[("6:9 M026", flags)]);
    site("note = 'NTE-3'", &[("6:8 M026", "NTE-3 is the first segment alone")]);
    site("note = 'NTE-3'", &[("6:8 M026", "(write NTE[*]-3[*] for all; the first on purpose is NTE[1]-3)")]);
    site("note = 'NTE[*]-3'", &[("6:8 M026", "NTE[*]-3 is the first repetition alone")]);
    site("note = 'NTE[*]-3'", &[("6:8 M026", "(write NTE[*]-3[*] for all; the first on purpose is NTE[*]-3[1])")]);
    for sound in
        ["flags = 'OBX-8[*]'", "flags = 'OBX-8[1]'", "note = 'NTE[1]-3[*]'", "note = 'NTE[*]-3[*]'", "note = 'OBX-8.2'"]
    {
        site(sound, &[]);
    }
}

#[test]
fn a_list_of_texts_that_reads_the_first_repetition_alone_is_told() {
    check_line(
        "emails = 'PID-13'",
        &[("4:10 M018", "emails is a list, and PID-13 is the first repetition alone (write PID-13[*] for all")],
    );
    check_line("other_names = { from = 'PID-9.2', as = 'text' }", &[("4:24 M018", "write PID-9[*].2 for all")]);
    check_line("emails = ['PID-13[*]', 'PID-14[1]']", &[]);
    // The date of birth does not repeat.
    check_line("other_names = { from = 'PID-7', as = 'text' }", &[]);
}

#[test]
fn what_an_item_reads_beside_itself_is_told() {
    let diagnoses = |line: &str, expected: &[(&str, &str)]| {
        let block = format!("[[visit.diagnoses]]\neach = 'DG1'\ncode = 'DG1-3.1'\n{line}\n");
        check(&format!("{SOUND}{VISIT}{block}"), expected);
    };
    diagnoses("name = 'PR1-3.2'", &[("16:8 M021", "PR1-3.2 is of the first PR1, and the same for every item of DG1")]);
    diagnoses("recorded_at = ['DG1-5', 'PR1-5']", &[("16:25 M021", "no PR1 belongs to it (is a field of DG1 meant?)")]);
    diagnoses("name = 'DG1[1]-3.2'", &[("16:8 M021", "DG1[1] is that one, and not the first of the message")]);
    diagnoses("name = 'PV2-3.2'", &[("16:8 M021", "the same for every item of DG1, whose name it is to be")]);
    for sound in ["recorded_at = 'PV1-44'", "name = ['DG1-3.2', 'PV2-3.2']", "name = 'OBX[3.1=DX]-5'", "name = 'ZDG-1'"]
    {
        let own = "[segments]\nZDG = { 1 = 'ST' }\n";
        let own = if sound.contains("ZDG") { own } else { "" };
        diagnoses(&format!("{sound}\n{own}"), &[]);
    }
    let numbers = |line: &str, expected: &[(&str, &str)]| check(&format!("{SOUND}{line}\n"), expected);
    numbers(
        "system = 'PID-3[2].4.1'",
        &[("9:10 M021", "PID-3[2].4.1 is the same for every item of PID-3 (the item's own is PID-3.4.1)")],
    );
    numbers("system = 'PID-3[*].4.1'", &[("9:10 M021", "the item's own is PID-3.4.1")]);
    numbers("system = 'PID-3.4.1'", &[]);
    numbers("system = 'MSH-4.1'", &[]);
    // Of one repetition there is one item.
    let first = format!("{SOUND}[[patient.phones]]\neach = 'PID-13[1]'\nvalue = 'PID-13[1]'\n");
    check(&first, &[]);
    let merge = "[[merge]]\neach = 'MRG'\nupdated_at = 'MSH-7'\n[[merge.survivor]]\neach = 'PID-3'\nvalue = 'PID-3.1'\ntype = { constant = 'mrn' }
[[merge.retired]]\neach = 'MRG-1'\nvalue = 'PID-3.1'\ntype = { constant = 'mrn' }\n";
    check(
        &format!("{SOUND}{merge}"),
        &[("18:9 M021", "PID-3.1 is the same for every item of MRG-1, whose value it is to be")],
    );
}

#[test]
fn a_path_behind_one_that_names_the_same_repetition_is_never_asked() {
    check(&format!("{SOUND}{VISIT}attending = ['PV1-7', 'PV1-7[1]']\n"), &[("13:23 M021", "PV1-7[1] is never asked")]);
    check_line("emails = ['PID-13[*]', 'PID-13[2]']", &[("4:24 M021", "PID-13[2] is never asked")]);
    check_line("emails = ['PID-13[2]', 'PID-13[*]']", &[]);
    // Inside the each of the field no number means the current repetition.
    let phones = "[[patient.phones]]\neach = 'PID-13[1]'\nvalue = ['PID-13.12', 'PID-13[1].12']\n";
    check(&format!("{SOUND}{phones}"), &[]);
}

#[test]
fn a_table_of_another_field_is_told_where_the_rule_names_it() {
    let marital = "source,target,note\nM,married,\n";
    let base = format!("[tables]\nsex = 'sex.csv'\nmarital = 'marital.csv'\n{SOUND}").replace(
        "name =",
        "sex = { from = 'PID-8', table = 'sex' }\nmarital_status = { from = 'PID-16', table = 'marital' }\nname =",
    );
    let site = |line: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n{line}\n");
        check_files(
            &[("site.toml", &site), ("base.toml", &base), ("sex.csv", SEX), ("marital.csv", marital)],
            expected,
        );
    };
    site(
        "[patient]\nmarital_status = { from = 'PID-16', table = 'sex' }",
        &[(
            "3:45 M008",
            "the table sex is that of patient.sex (base.toml:6), and marital_status is something else (is the table marital meant?)",
        )],
    );
    site(
        "[patient]\nlanguage = { from = 'PID-15.1', table = 'marital' }",
        &[("3:41 M008", "language = \"tables/….csv\"")],
    );
    site("[patient]\nvip = { from = 'PID-16', as = 'boolean' }", &[]);
    site(
        "[tables]\nmarital = { extends = 'marital', files = 'marital.csv' }\n[patient]\nmarital_status = { from = 'PID-16', table = 'marital' }",
        &[],
    );
    // In one file alone the closed list tells.
    let alone = format!("[tables]\nsex = 'sex.csv'\n{SOUND}").replace(
        "name =",
        "sex = { from = 'PID-8', table = 'sex' }\nlanguage = { from = 'PID-15.1', table = 'sex' }\nname =",
    );
    check(&alone, &[("6:41 M008", "the table sex is that of patient.sex")]);
}

#[test]
fn a_path_that_the_base_looks_up_in_another_table_is_told() {
    let base = format!("[tables]\nstatus = 'status.csv'\nflag = 'flag.csv'\n{SOUND}{RESULTS}").replace(
        "status = { constant = 'final' }\nvalue",
        "status = { from = 'OBX-11', table = 'status' }\nflags = { from = 'OBX-8[*]', table = 'flag' }\nvalue",
    );
    let site = |line: &str, expected: &[(&str, &str)]| {
        let site = format!(
            "extends = 'base.toml'\n[[lab_report]]\neach = 'OBR'\n[[lab_report.results]]\neach = 'OBX'\n{line}\n"
        );
        let status = "source,target,note\nF,final,\n";
        let flag = "source,target,note\nH,HH,\n";
        let files = [("site.toml", site.as_str()), ("base.toml", &base), ("status.csv", status), ("flag.csv", flag)];
        check_files(&files, expected);
    };
    let text = "OBX-11[*] is looked up in status for lab_report.results.status (base.toml:20), and flag has codes of something else";
    site("flags = { from = 'OBX-11[*]', table = 'flag' }", &[("6:18 M022", text)]);
    site("flags = { from = 'OBX-8[*]', table = 'flag' }", &[]);
    // What the site has added to the table may be for it.
    site("flags = { from = 'OBX-11', table = 'flag' }\n[tables]\nflag = ['flag.csv']", &[]);
}

#[test]
fn a_path_that_the_base_reads_for_another_field_is_told() {
    let base = "[patient]
each = 'PID'
name = 'PID-5'
birth_date = 'PID-7'
updated_at = 'MSH-7'
[[patient.identifiers]]
each = 'PID-3'
value = 'PID-3.1'
type = { constant = 'mrn' }
[visit]
number = 'PV1-19.1'
event = { constant = 'arrived' }
updated_at = 'MSH-7'
started_at = 'PV1-44'
ended_at = 'PV1-45'
attending = 'PV1-7'
department = 'PV1-10'
ward = 'PV1-3.1.1'
room = 'PV1-3.2.1'
";
    let visit = |line: &str, expected: &[(&str, &str)]| check_over(base, &format!("[visit]\n{line}\n"), expected);
    let text = "PV1-44 is what started_at is read from (base.toml:14), and ended_at is to be something else (is another field meant? the base reads PV1-45)";
    visit("ended_at = 'PV1-44'", &[("3:12 M018", text)]);
    // Both ends exchanged, a fallback, one under a condition, and texts that may be alike.
    visit("ended_at = 'PV1-44'\nstarted_at = 'PV1-45'", &[]);
    visit("ended_at = ['PV1-45', 'PV1-44']", &[]);
    visit("ended_at = { from = 'PV1-44', when = 'PV1-45' }", &[]);
    visit("department = 'PV1-3.1.1'", &[]);
    visit("room = { from = 'PV1-3.1.1', as = 'text' }", &[]);
    check_over(base, "[patient]\nupdated_at = 'PID-7'\n", &[("3:14 M018", "PID-7 is what birth_date is read from")]);
}

#[test]
fn a_part_of_an_address_that_the_base_reads_for_another_is_told() {
    let base = format!("{SOUND}[[patient.addresses]]\neach = 'PID-11'\ncity = 'PID-11.3'\nprovince = 'PID-11.4'\n");
    let city = |line: &str| format!("[[patient.addresses]]\neach = 'PID-11'\n{line}\n");
    check_over(&base, &city("city = 'PID-11.4'"), &[("4:8 M018", "PID-11.4 is what province is read from")]);
    check_over(&base, &city("city = 'PID-11.8'"), &[]);
}

#[test]
fn codes_that_are_neither_yes_nor_no_need_a_table_to_be_true() {
    let results = |line: &str, expected: &[(&str, &str)]| check(&format!("{SOUND}{RESULTS}{line}\n"), expected);
    let text = "OBX-8 has codes of HL7 table 0078, and which of them mean that lab_report.results.critical is true says a table";
    results("critical = 'OBX-8'", &[("19:12 M011", text)]);
    check_line("deceased = 'PID-30'", &[]);
    check_line("vip = { from = 'PV1-16', as = 'boolean' }", &[]);
}

#[test]
fn a_file_that_a_table_names_twice_is_told() {
    let mapping = format!("[tables]\nsex = ['sex.csv', 'sex.csv']\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    check(&mapping, &[("2:19 M024", "sex.csv is named twice")]);
}
