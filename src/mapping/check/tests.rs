//! Mistakes in mapping files, and where and how they are told.

use std::io;

use super::super::{Mapping, ReadFile};
use crate::diagnostic::Diagnostic;

/// Eight lines without a mistake; what is added to them is the only thing to tell of.
pub(super) const SOUND: &str = "[patient]\neach = 'PID'\nname = 'PID-5'\nupdated_at = 'MSH-7'
[[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3.1'\ntype = { constant = 'mrn' }\n";
const NUMBERS: &str = "[[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3.1'\ntype = { constant = 'mrn' }\n";
pub(super) const VISIT: &str = "[visit]\nnumber = 'PV1-19.1'\nevent = { constant = 'arrived' }\nupdated_at = 'MSH-7'\n";
pub(super) const SEX: &str = "source,target,note\nM,male,\nF,female,\n";

pub(super) fn problems_of(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let read = |name: &str| {
        let found = files.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    problems_with(&read)
}

pub(super) fn problems_with(read: ReadFile<'_>) -> Vec<Diagnostic> {
    match Mapping::load("site.toml", read) {
        Ok(mapping) => mapping.warnings().to_vec(),
        Err(problems) => problems,
    }
}

/// Checks files: each problem as `line:column code` (with its file, where that is not the site's), and a part of what it says.
pub(super) fn check_files(files: &[(&str, &str)], expected: &[(&str, &str)]) {
    let found = problems_of(files);
    let places: Vec<String> = found
        .iter()
        .map(|problem| {
            let file = if problem.file == "site.toml" { String::new() } else { format!("{}:", problem.file) };
            format!("{file}{}:{} {}", problem.line, problem.column, problem.code)
        })
        .collect();
    assert_eq!(places, expected.iter().map(|(place, _)| *place).collect::<Vec<_>>(), "{found:#?}");
    for (problem, (_, part)) in found.iter().zip(expected) {
        assert!(problem.to_string().contains(part), "{problem}\n{part}");
    }
}

pub(super) fn check(mapping: &str, expected: &[(&str, &str)]) {
    check_files(&[("site.toml", mapping), ("sex.csv", SEX)], expected);
}

/// Checks one line of a patient, the fourth of its file.
pub(super) fn check_line(line: &str, expected: &[(&str, &str)]) {
    check(&format!("[patient]\neach = 'PID'\nupdated_at = 'MSH-7'\n{line}\n{NUMBERS}"), expected);
}

/// The same with a table.
pub(super) fn check_line_with_table(line: &str, expected: &[(&str, &str)]) {
    check(
        &format!("[patient]\neach = 'PID'\nupdated_at = 'MSH-7'\n{line}\n{NUMBERS}[tables]\nsex = 'sex.csv'\n"),
        expected,
    );
}

#[test]
fn a_sound_mapping_has_no_problem() {
    check(&format!("{SOUND}{VISIT}"), &[]);
    check_line("language = ['PID-15.1', 'PID-15.4']", &[]);
}

#[test]
fn paths_that_hl7_does_not_have_are_errors() {
    for (path, text) in [
        ("PIX-3.1", "HL7 v2 has no segment PIX (did you mean PI"),
        ("PID-99", "PID has no field 99, the last is PID-"),
        ("PID-8.99", "has no component 99"),
        ("PID-30.2", "PID-30 (ID) has no component 2, it has no parts"),
        ("PID-3.4.9", "has no subcomponent 9"),
        ("PID-3[55=MR].1", "the predicate asks for a component that PID-3"),
        ("PID-3[4.7=MR].1", "the predicate asks for a component"),
        ("OBX[99=TX]-5", "OBX has no field 99"),
        ("OBX[3.77 in A,B]-5", "has no component 77"),
    ] {
        check_line(&format!("language = '{path}'"), &[("4:12 M014", text)]);
    }
    check(&format!("match = {{ 'MSX-9' = 'ADT' }}\n{SOUND}"), &[("1:11 M014", "no segment MSX")]);
    check(
        &format!("{SOUND}[[patient.phones]]\neach = 'PID-99'\nvalue = 'PID-13.1'\n"),
        &[("10:8 M014", "no field 99")],
    );
    let when = "language = { from = 'PID-15.1', when = \"PV1-2 and PV1-77 = 'X'\" }";
    check_line(when, &[("4:51 M014", "no field 77")]);
    let skip = "skip = [{ when = '''\n  PV1-2 and\n  PV1-77''', reason = 'none' }]";
    check_line(skip, &[("6:3 M014", "no field 77")]);
}

#[test]
fn what_a_sender_adds_to_a_segment_is_said_in_segments() {
    let with = |path: &str, segments: &str, expected: &[(&str, &str)]| {
        check(&format!("{SOUND}{VISIT}ward = '{path}'\n[segments]\n{segments}\n"), expected);
    };
    with("ZPI-1", "ZPI = { 1 = 'ST' }", &[]);
    with("ZPI-2.5", "ZPI = { 2 = 'CWE' }", &[]);
    with("PV1-88", "PV1 = { 88 = 'ST' }", &[]);
    with("PV1-44.5", "PV1 = { 44 = 'CX' }", &[]);
    with("PV1-3.9.2", "PV1 = { 3.9 = 'HD' }", &[]);
    with("PV1-3.9.7", "PV1 = { 3.9 = 'HD' }", &[("13:8 M014", "[segments] with PV1 = { 3.9 = ")]);
    with("ZPJ-1", "ZPI = { 1 = 'ST' }", &[("13:8 M016", "did you mean ZPI?")]);
    with("ZPI-3", "ZPI = { 1 = 'ST' }", &[("13:8 M016", "ZPI-3 is not in [segments]")]);
    with("ZPI-1.2", "ZPI = { 1 = 'ST' }", &[("13:8 M016", "ZPI-1 (ST) has no component 2")]);
    with("ZPI-1", "", &[("13:8 M016", "[segments] with ZPI = { 1 = \"ST\" }")]);
    with("PV1-2", "ZPI = { 1 = 'STT' }", &[("15:13 M014", "no data type STT")]);
    with("PV1-2", "PIX = { 1 = 'ST' }", &[("15:1 M014", "PIX is neither")]);
    with("PV1-2", "ZPI = { x = 'ST' }", &[("15:9 M004", "x is no number of a field")]);
    with("PV1-2", "ZPI = 3", &[("15:7 M004", "numbers of fields")]);
}

#[test]
fn repetitions_of_a_field_that_has_one_are_told() {
    check_line("language = 'PID-15[2].1'", &[("4:12 M017", "PID-15 does not repeat")]);
    check_line("birth_date = 'PID-7[*]'", &[("4:14 M017", "write PID-7 without the brackets")]);
    check_line("language = 'PID-15[1].1'", &[]);
    check_line("other_names = { from = 'PID-9[*]', as = 'name' }", &[]);
}

#[test]
fn fields_and_blocks_that_are_there_twice_are_told() {
    check_line(
        "name = 'PID-5'\nfamily_name = 'PID-5.1.1'",
        &[("5:1 M019", "family_name is set twice: name fills it as well")],
    );
    check_line("name = 'PID-5'\nname = 'PID-9'", &[("5:1 M001", "duplicate key: name stands in line 4 already")]);
    let phones = "[[patient.phones]]\neach = 'PID-13'\nvalue = 'PID-13.1'\n";
    check(
        &format!("{SOUND}{phones}{phones}"),
        &[("12:1 M019", "the one in site.toml:9 make the same patient.phones twice")],
    );
    let mobile = phones.replace("value", "when = \"PID-13.3 = 'CP'\"\nvalue");
    check(&format!("{SOUND}{phones}{mobile}"), &[]);
}

#[test]
fn rules_without_effect_are_told() {
    for (rule, place, text) in [
        (
            "language = { constant = 'zh', default = 'en' }",
            "4:41 M021",
            "default has no effect here: the rule has a constant",
        ),
        ("language = { constant = 'zh', required = true }", "4:42 M021", "required has no effect here"),
        ("language = { from = 'PID-15.1', default = 'zh', required = 'skip' }", "4:60 M021", "there is always a value"),
        ("language = ['PID-3', 'PID-3.1']", "4:24 M018", ""),
        ("language = ['PID-15.1', 'PID-15.1']", "4:25 M021", "PID-15.1 is named twice"),
        ("birth_date = ['PID-7', 'PID-7.1']", "4:24 M021", "PID-7.1 is never asked: PID-7, before it"),
        ("language = { from = 'OBX[2]-5', when = 'OBX' }", "", ""),
    ] {
        match place {
            "" => check_line(rule, &[]),
            "4:24 M018" => check_line(rule, &[("4:13 M018", "has components"), ("4:22 M021", "is never asked")]),
            place => check_line(rule, &[(place, text)]),
        }
    }
    let alternatives = |last: &str| {
        format!("language = [{{ from = 'PID-15.1' }}, {{ constant = 'zh'{last} }}, {{ from = 'PID-15.4' }}]")
    };
    check_line(&alternatives(""), &[("4:57 M021", "always gives a value")]);
    check_line(&alternatives(", when = 'PV1'"), &[]);
    let phones = "[[patient.phones]]\neach = 'PID-13'\n";
    check(
        &format!("{SOUND}{phones}value = {{ from = 'PID-13.1', on_null = 'keep' }}\n"),
        &[("11:40 M021", "an item is sent as a whole")],
    );
    check(
        &format!("{SOUND}{phones}value = 'PID-14.1'\n"),
        &[("11:9 M021", "PID-14.1 is the first repetition for every item of PID-13")],
    );
    let results = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nstatus = { constant = 'final' }\nupdated_at = 'MSH-7'
[[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nstatus = { constant = 'final' }\nvalue = 'OBX[2]-5'\n";
    check(&format!("{SOUND}{results}"), &[("18:9 M021", "there is no second OBX in it")]);
}

#[test]
fn a_word_of_on_unmapped_that_is_misspelled_is_no_value() {
    check_line_with_table(
        "language = { from = 'PID-15', table = 'sex', on_unmapped = 'laeve' }",
        &[("4:60 M015", "did you mean leave?")],
    );
    check_line_with_table(
        "sex = { from = 'PID-8', table = 'sex', on_unmapped = 'laeve' }",
        &[("4:54 M015", "did you mean leave?")],
    );
}

#[test]
fn conditions_that_never_or_always_hold_are_told() {
    let matching = "match = { 'MSH-9.1' = ['ADT', 'SIU'], 'MSH-9.2' = 'A*' }\n";
    let visit = |when: &str| format!("{matching}{SOUND}{VISIT}when = \"{when}\"\n");
    for (when, text) in [
        ("MSH-9.1 = 'ORU'", "never holds"),
        ("PV1 and MSH-9.2 in ['S12', 'R01']", "never holds"),
        ("OBR", "never holds"),
        ("PV1-2 = 'I' and PV1-2 = 'O'", "never holds"),
        ("PV1-2 != 'I' or PV1-2 != 'O'", "always holds"),
        ("MSH-9.1 in ['ADT', 'SIU']", "always holds"),
    ] {
        check(&visit(when), &[("14:9 M021", text)]);
    }
    for when in ["PV1 and MSH-9.2 not in ['A28', 'A31']", "false", "PV1-2 = 'I' or PV1-2 = 'O'", "SCH"] {
        check(&visit(when), &[]);
    }
    check(&visit("PV1-2 = ''"), &[("14:17 M021", "for an empty field write: not PV1-2")]);
    check(&visit("PV1-2 in ['I', 'O', 'I']"), &[("14:29 M021", "I is named twice")]);
    let inner = format!("{}started_at = {{ from = 'PV1-44', when = \"MSH-9.2 = 'A01'\" }}\n", visit("MSH-9.2 = 'A03'"));
    check(&inner, &[("15:41 M021", "never holds")]);
}

#[test]
fn a_base_s_condition_is_not_dead_because_a_site_takes_fewer_messages() {
    let base = format!("match = {{ 'MSH-9.1' = ['ADT', 'ORU'] }}\n{SOUND}{VISIT}when = \"MSH-9.1 = 'ADT'\"\n");
    let site = "extends = 'base.toml'\nmatch = { 'MSH-9.1' = 'ORU' }\n";
    check_files(&[("site.toml", site), ("base.toml", &base)], &[]);
    let site = format!("{site}[visit]\nwhen = \"MSH-9.1 = 'ADT'\"\n");
    check_files(&[("site.toml", &site), ("base.toml", &base)], &[("4:9 M021", "never holds")]);
}

#[test]
fn a_base_s_condition_is_not_dead_because_a_site_uses_its_block_for_less() {
    let field = "started_at = { from = 'PV1-44', when = \"MSH-9.2 = 'A01'\" }\n";
    let base = format!("{SOUND}{VISIT}{field}");
    let site = "extends = 'base.toml'\n[visit]\nwhen = \"MSH-9.2 = 'A03'\"\n";
    check_files(&[("site.toml", site), ("base.toml", &base)], &[]);
    let own = format!("{site}{field}");
    check_files(&[("site.toml", &own), ("base.toml", &base)], &[("4:41 M021", "never holds")]);
}

#[test]
fn rules_of_the_base_s_skip_that_a_site_s_leaves_out_are_named() {
    let base = format!("{SOUND}{VISIT}skip = [{{ when = \"MSH-9.2 = 'A29'\", reason = 'deleted' }}]\n");
    let own = "{ when = \"PV1-2 = 'N'\", reason = 'not a visit' }";
    let check = |rules: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n[visit]\nskip = [{rules}]\n");
        check_files(&[("site.toml", &site), ("base.toml", &base)], expected);
    };
    check(own, &[("3:18 M026", "\"deleted\"")]);
    check(&format!("{own}, {{ when = \"MSH-9.2 = 'A29'\", reason = 'gone' }}"), &[]);
    check("", &[]);
}

#[test]
fn a_segment_is_not_chosen_by_a_field_whose_components_were_meant() {
    let rule = "language = 'OBX[3=LANG]-5'\n";
    check_line(rule, &[("4:12 M018", "compare its components: OBX[3.1=LANG]")]);
}

#[test]
fn a_block_for_a_segment_that_no_message_has_is_never_reached() {
    let mapping = format!(
        "match = {{ 'MSH-9.1' = 'ADT' }}\n{SOUND}[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'
status = {{ constant = 'final' }}\nupdated_at = 'MSH-7'\n"
    );
    check(&mapping, &[("11:8 M021", "OBR is in no message that match lets through")]);
    check(&mapping.replace("'ADT'", "['ADT', 'ORU']"), &[]);
    check(&mapping.replace("'ADT'", "['ADT', 'ZZZ']"), &[]);
}

#[test]
fn a_rule_of_skip_behind_a_wider_one_is_never_reached() {
    let skip = |rules: &str| format!("{SOUND}{VISIT}skip = [\n{rules}]\n");
    let rule = |when: &str| format!("{{ when = \"{when}\", reason = 'r' }},\n");
    let wide = rule("PV1-2 = 'P' or PV1-18 = 'T'");
    let narrow = rule("PV1-2 = 'P' and PV1-3");
    check(&skip(&(wide.clone() + &narrow)), &[("15:10 M021", "the one in line 14 skips all that it names")]);
    check(&skip(&(narrow + &wide)), &[]);
    check(&skip("{ when = 'PV1-2', reasn = 'r' },\n"), &[("14:19 M002", "did you mean reason?")]);
    check(&skip("{ when = 'PV1-2' },\n"), &[("14:1 M004", "has when and reason")]);
}

#[test]
fn codes_that_no_table_has_are_told() {
    let visit = |when: &str, expected: &[(&str, &str)]| check(&format!("{SOUND}{VISIT}when = \"{when}\"\n"), expected);
    visit("MSH-9.2 in ['A01', 'A0']", &[("13:28 M022", "HL7 table 0003 has no code A0 (did you mean A0")]);
    visit("MSH-9.2 = 'ZA1'", &[]);
    visit("PV1-2 = 'anything'", &[]);
    check_line(
        "language = { from = 'OBX[2 in TX,TXT]-5', when = 'OBX' }",
        &[("4:21 M022", "HL7 table 0125 has no code TXT")],
    );
    check_line("name = 'PID-5[7=LQ]'", &[("4:8 M022", "HL7 table 0200 has no code LQ")]);
    check(
        &format!("match = {{ 'MSH-9.1' = 'ATD', 'MSH-9.2' = ['A*', 'X*'] }}\n{SOUND}"),
        &[
            ("1:23 M022", "no code of HL7 table 0076 fits \"ATD\": the mapping takes no message (did you mean ADT?)"),
            ("1:49 M022", "no code of HL7 table 0003 fits \"X*\""),
        ],
    );
    check_line_with_table(
        "sex = { from = 'PID-8', table = 'sex', when = \"PID-8 not in ['m', 'W']\" }",
        &[("4:67 M022", "PID-8 is looked up in sex, which has no code W")],
    );
    let events = format!("[tables]\nevent = 'event.csv'\n{SOUND}{VISIT}")
        .replace("{ constant = 'arrived' }", "{ from = ['MSH-9.2', 'EVN-1'], table = 'event' }");
    let table = "source,target,note\nA01,admitted,\nA1,discharged,\nZ01,arrived,\n";
    check_files(&[("site.toml", &events), ("event.csv", table)], &[("event.csv:3:1 M022", "has no code A1")]);
}

#[test]
fn records_that_lack_what_they_need_are_told() {
    check(
        "[patient]\neach = 'PID'\nname = 'PID-5'\nupdated_at = 'MSH-7'\n",
        &[("1:1 M023", "no rule for identifiers")],
    );
    check(
        &format!("{SOUND}[visit]\nevent = {{ constant = 'arrived' }}\n"),
        &[("9:1 M023", "visit has no rule for number: a visit without a number cannot be kept, nor for updated_at")],
    );
    check(
        &format!("{SOUND}[[visit]]\n{}", VISIT.replace("[visit]", "[[visit]]")),
        &[("9:1 M023", "this block says nothing")],
    );
}

#[test]
fn a_coded_field_needs_a_table() {
    let visit = |line: &str, expected: &[(&str, &str)]| check(&format!("{SOUND}{VISIT}{line}\n"), expected);
    visit("class = 'PV1-2'", &[("13:9 M011", "error[M011]: visit.class is a coded field and needs a table")]);
    check_line("sex = 'PID-8'", &[("4:7 M011", "write { from = \"PID-8\", table = \"sex\" }")]);
    check_line("sex = { from = 'PID-8', on_unmapped = 'leave' }", &[("4:16 M011", "warning[M011]")]);
    visit("class = { constant = 'inpatient' }", &[]);
    visit("class = 'ZPV-1'\n[segments]\nZPV = { 1 = 'ST' }", &[("13:9 M011", "warning[M011]")]);
}

#[test]
fn a_table_of_another_field_is_told_once_and_where_it_is_used() {
    let visit = "class = { from = 'PV1-2', table = 'sex' }\n[tables]\nsex = 'sex.csv'\n";
    check(&format!("{SOUND}{VISIT}{visit}"), &[("13:35 M008", "no row of the table sex has a legal value of class")]);
}

#[test]
fn one_mistake_is_told_once() {
    let site =
        "extends = 'bse.toml'\n[tables]\nclass = 'sex.csv'\n[patient]\nsex = { from = 'PID-8', table = 'sex' }\n";
    check_files(&[("site.toml", site), ("sex.csv", SEX)], &[("1:11 M012", "bse.toml cannot be read")]);
    let visit = VISIT.replace("[visit]", "[[visit]]\nblock = 'stay'\nwhen = 'PV1'");
    let twice = format!("extends = 'base.toml'\n{visit}{}", visit.replace("when = 'PV1'", "when = 'SCH'"));
    let base = format!("{SOUND}{visit}");
    check_files(&[("site.toml", &twice), ("base.toml", &base)], &[("9:9 M004", "two blocks are called stay")]);
}

#[test]
fn hints_propose_what_would_help() {
    check_line("language = 'PID-3.14.1'", &[("4:12 M014", "[segments] with PID = { 3.14 = \"CX\" }")]);
    check_line("language = 'PID-3.14'", &[("4:12 M014", "[segments] with PID = { 3.14 = \"ST\" }")]);
    check_line("language = 'PID-8.99'", &[("4:12 M014", "[segments] with PID = { 8.99 = \"ST\" }")]);
    let report = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nstatus = { constant = 'final' }
updated_at = 'MSH-7'\ndepartment = { constant = 'Lab' }\n";
    check(&format!("{SOUND}{report}"), &[("14:27 M015", "department.name = …")]);
}

#[test]
fn a_table_in_braces_that_spans_lines_is_told() {
    let told = [("4:12 M001", "in TOML 1.0 a table in braces stands on one line")];
    check_line("language = { from = 'PID-15.1',\n  default = 'zh' }", &told);
    check_line("language = [{ from = 'PID-15.1',\n  default = 'zh' }]", &[("4:13 M001", "")]);
    check_line("language = {\n from = 'PID-15.1' }", &told);
    check_line("language = { from = 'PID-15.1'\n }", &told);
    check_line("language = { from = [\n  'PID-15.1',\n], when = '''\nPID-15''' }", &[]);
    check_line("language = [\n  { from = 'PID-15.1' },\n]", &[]);
}

#[test]
fn values_that_no_other_item_may_have_are_checked() {
    let phones = |line: &str, expected: &[(&str, &str)]| {
        let block = format!("[[patient.phones]]\neach = 'PID-13'\nvalue = 'PID-13.1'\n{line}\n");
        check(&format!("{SOUND}{block}"), expected);
    };
    phones("when_none = { use = 'home' }", &[]);
    phones("when_none = { usee = 'home' }", &[("12:15 M003", "did you mean use?")]);
    check(&format!("{SOUND}when_none = {{ type = 'mnr' }}\n"), &[("9:22 M015", "did you mean mrn?")]);
    phones("when_none = 'home'", &[("12:13 M004", "fields and their values")]);
    check(&format!("{SOUND}{VISIT}when_none = {{ ward = 'A' }}\n"), &[("13:15 M004", "for the blocks of a list")]);
}

#[test]
fn a_mapping_that_fills_no_record_is_an_error() {
    let told = [("1:1 M023", "fills no record: every message would fail")];
    for mapping in ["", "match = { 'MSH-9.1' = 'ADT' }\n", "[segments]\n"] {
        check(mapping, &told);
    }
    let base = format!("{SOUND}{VISIT}");
    let off = "extends = 'base.toml'\n[patient]\nwhen = 'false'\n[visit]\nwhen = 'false'\n";
    check_files(&[("site.toml", off), ("base.toml", &base)], &told);
    check_files(&[("site.toml", "extends = 'base.toml'\n"), ("base.toml", &base)], &[]);
}

#[test]
fn tables_that_nothing_uses_and_rows_that_say_nothing_new_are_told() {
    check(&format!("{SOUND}[tables]\nsex = 'sex.csv'\n"), &[("10:1 M024", "no rule uses the table sex")]);
    let mapping = format!("[tables]\nsex = ['sex.csv', 'more.csv']\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let more = "source,target,note\nM,male,\nF,other,\n1,male,\n";
    check_files(
        &[("site.toml", &mapping), ("sex.csv", SEX), ("more.csv", more)],
        &[("more.csv:2:1 M024", "sex.csv:2 says this of M already")],
    );
}

#[test]
fn a_block_that_may_lie_over_several_is_told() {
    let visit = |name: &str, when: &str| {
        VISIT.replace("[visit]\n", &format!("[[visit]]\nblock = '{name}'\nwhen = \"{when}\"\n"))
    };
    let base = format!("{SOUND}{}{}", visit("stay", "PV1 and not SCH"), visit("appointment", "SCH"));
    let check = |site: &str, expected: &[(&str, &str)]| {
        check_files(
            &[("site.toml", &format!("extends = 'base.toml'\n[[visit]]\n{site}\n")), ("base.toml", &base)],
            expected,
        );
    };
    check("ward = 'PV1-3.1.1'", &[("2:1 M020", "add block = \"…\" with the name of one: stay, appointment")]);
    check("block = 'appointment'\nward = 'PV1-3.1.1'", &[]);
    check(
        "block = 'apointment'\nwhen = 'RGS'\nnumber = 'SCH-2.1'\nevent = { constant = 'arrived' }\nupdated_at = 'MSH-7'",
        &[("3:9 M020", "did you mean appointment?")],
    );
}

#[test]
fn the_problems_of_every_file_are_told_at_once() {
    let base = format!("{SOUND}ethnicity = 'PID-222'\n");
    check_files(
        &[
            ("site.toml", "extends = 'base.toml'\n[patient]\nlanguage = 'PID-155'\nsexx = 'PID-8'\n"),
            ("base.toml", &base),
        ],
        &[
            ("3:12 M014", "no field 155"),
            ("4:1 M003", "did you mean sex?"),
            ("base.toml:9:1 M003", "there is no field ethnicity"),
        ],
    );
}

#[test]
fn a_table_may_extend_another_or_the_base_s_of_its_own_name() {
    let rule = "[patient]\neach = 'PID'\nupdated_at = 'MSH-7'\nsex = { from = 'PID-8', table = 'sex' }\n";
    let base = format!("{rule}{NUMBERS}[tables]\nsex = 'sex.csv'\n");
    let more = "source,target,note\n1,male,\n2,femail,\n";
    let check = |tables: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n[tables]\n{tables}\n");
        check_files(&[("site.toml", &site), ("base.toml", &base), ("sex.csv", SEX), ("more.csv", more)], expected);
    };
    check("sex = { extends = 'sex', files = 'more.csv' }", &[("more.csv:3:3 M008", "did you mean female?")]);
    check("digits = 'more.csv'\nsex = { extends = 'digits', files = 'sex.csv' }", &[("more.csv:3:3 M008", "femail")]);
    check("sex = { extends = 'sexes' }", &[("3:19 M009", "did you mean sex?")]);
    check(
        "a = { extends = 'b' }\nb = { extends = 'a' }\nsex = { extends = 'a' }",
        &[("3:17 M009", "b extends a in turn"), ("4:17 M009", "a extends b in turn")],
    );
    check("sex = { file = 'more.csv' }", &[("3:7 M004", "a table has files"), ("3:9 M002", "did you mean files?")]);
}

/// Checks a table of the site's, by the field that it fills.
fn check_targets(field: &str, rows: &str, expected: &[(&str, &str)]) {
    let table = format!("source,target,note\n{rows}");
    let mapping = match field {
        "marital_status" => format!("[tables]\nown = 'own.csv'\n{SOUND}").replace(
            "name = 'PID-5'",
            "name = 'PID-5'\nmarital_status = { from = 'PID-16', table = 'own' }",
        ),
        rule => format!(
            "[tables]\nown = 'own.csv'\n{SOUND}[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nstatus = {{ constant = 'final' }}
updated_at = 'MSH-7'\n[[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nvalue = 'OBX-5'\nstatus = {{ constant = 'final' }}\n{rule}\n"
        ),
    };
    check_files(&[("site.toml", &mapping), ("own.csv", &table)], expected);
}

#[test]
fn targets_that_no_closed_list_checks_are_units_flags_or_words_seen_before() {
    let unit = "unit = { from = 'OBX-6', as = 'unit', table = 'own' }";
    check_targets(unit, "g/l,g/L,\nG/L,G/L,\n个/HP,/[HPF],\n拷贝,{copies},\n", &[]);
    check_targets(
        unit,
        "g/l,g/L,\nG/L,g/Lq,\n×10⁹/L,10^9 /L,\n",
        &[("own.csv:3:5 M025", "g/Lq is no unit of UCUM"), ("own.csv:4:8 M025", "no unit of UCUM")],
    );
    let flags = "flags = { from = 'OBX-8[*]', table = 'own' }";
    check_targets(flags, "↑,H,\n危,HH,\n自,Z1,\n", &[]);
    check_targets(flags, "↑,H,\n↓,Lq,\n", &[("own.csv:3:3 M025", "Lq is no flag of HL7 table 0078")]);
    check_targets("marital_status", "M,married,\nK,married,\nS,single,\nD,divorced,\n", &[]);
    check_targets(
        "marital_status",
        "M,married,\nK,marriedq,\nS,single,\nE,singl,\nT,single,\n",
        &[("own.csv:3:3 M025", "one letter away"), ("own.csv:5:3 M025", "one letter away")],
    );
}

/// Checks a site's mapping that extends `base`.
pub(super) fn check_over(base: &str, site: &str, expected: &[(&str, &str)]) {
    let site = format!("extends = 'base.toml'\n{site}");
    check_files(&[("site.toml", &site), ("base.toml", base), ("sex.csv", SEX)], expected);
}

#[test]
fn an_each_that_means_a_block_of_the_base_in_another_spelling_is_told_where_it_stands() {
    let base = format!("{SOUND}[[patient.phones]]\neach = 'PID-13'\nvalue = 'PID-13.1'\n");
    let phones = |each: &str| format!("[[patient.phones]]\neach = '{each}'\nuse = {{ constant = 'home' }}\n");
    for each in ["PID-13[*]", "PID-13[1]", "PID-13[3=PH]"] {
        let text = "the base's block of patient.phones has each = \"PID-13\" (base.toml:10), so this makes a new one";
        check_over(&base, &phones(each), &[("3:8 M020", text)]);
    }
    // One that has a name, or stands beside the one that lies over the base's, is meant to be new.
    check_over(&base, &phones("PID-13"), &[]);
    check_over(&base, "[[patient.phones]]\nblock = 'more'\neach = 'PID-13[3=PH]'\nvalue = 'PID-13.1'\n", &[]);
    let both = format!("{}[[patient.phones]]\neach = 'PID-13[3=PH]'\nvalue = 'PID-13.1'\n", phones("PID-13"));
    check_over(&base, &both, &[]);
    check_over(&base, &phones("PID.13"), &[("3:12 M005", "did you mean PID-13?")]);
    // The same of a block by its name.
    let named = format!("{SOUND}{}block = 'stay'\n", VISIT.replace("[visit]", "[[visit]]"));
    let site = "[[visit]]\nblock = 'stays'\nward = 'PV1-3.1.1'\n";
    check_over(&named, site, &[("3:9 M020", "no block stays of visit, so this makes a new one (did you mean stay?)")]);
}

#[test]
fn a_rule_that_leaves_out_what_the_base_s_says_of_the_unknown_and_missing_is_told() {
    let tables = "[tables]\nsex = 'sex.csv'\n";
    let rule = |rule: &str| SOUND.replace("name = 'PID-5'", &format!("name = 'PID-5'\n{rule}")) + tables;
    let base = rule("sex = { from = 'PID-8', table = 'sex', on_unmapped = 'keep', on_null = 'keep' }");
    check_over(
        &base,
        "[patient]\nsex = { from = 'PID-8.1', table = 'sex' }\n",
        &[(
            "3:7 M026",
            "the base's in base.toml:4 as a whole, which says on_unmapped = \"keep\", on_null = \"keep\" (say so",
        )],
    );
    let said = "[patient]\nsex = { from = 'PID-8.1', table = 'sex', on_unmapped = 'reject', on_null = 'clear' }\n";
    check_over(&base, said, &[]);
    check_over(&base, "[patient]\nsex = { constant = 'male' }\n", &[]);
    check_over(&base, "[patient]\nsex = false\n", &[]);
    // What the base's says is so by itself.
    let base = rule("sex = { from = 'PID-8', table = 'sex', on_unmapped = 'reject' }");
    check_over(&base, "[patient]\nsex = { from = 'PID-8.1', table = 'sex' }\n", &[]);
    let base = SOUND.replace("'PID-3.1'", "{ from = 'PID-3.1', required = 'skip' }");
    let number = |value: &str| format!("[[patient.identifiers]]\neach = 'PID-3'\nvalue = {value}\n");
    check_over(&base, &number("'PID-3.4.1'"), &[("4:9 M026", "required = \"skip\"")]);
    check_over(&base, &number("{ from = 'PID-3.4.1', required = false }"), &[]);
}

#[test]
fn what_can_only_be_equal_to_several_components_is_told_with_the_components() {
    let matching =
        |condition: &str, expected: &[(&str, &str)]| check(&format!("match = {{ {condition} }}\n{SOUND}"), expected);
    let parts = "compare its components: \"MSH-9.1\" = \"ADT\", \"MSH-9.2\" = \"A01\"";
    matching("'MSH-9' = 'ADT^A01'", &[("1:21 M018", parts)]);
    matching("'MSH-9.1' = 'ADT^A01'", &[("1:23 M018", parts)]);
    matching("'MSH-9' = 'ADT^A01*'", &[("1:21 M018", "\"MSH-9.1\" = \"ADT\", \"MSH-9.2\" = \"A01*\"")]);
    matching("'MSH-9.1' = 'ADT|ORU'", &[("1:23 M022", "takes no message (several are a list: [\"ADT\", \"ORU\"])")]);
    matching("'MSH-9.1' = 'adt'", &[("1:23 M022", "did you mean ADT?")]);
    matching("'MSH-9.1' = 'ADT', 'MSH-9.2' = 'A*'", &[]);
    matching("'MSH-3' = 'HIS'", &[]);
    let when = |when: &str| format!("language = {{ from = 'PID-15.1', when = \"{when}\" }}");
    check_line(
        &when("MSH-9 = 'ADT^A01'"),
        &[("4:49 M018", "compare its components: MSH-9.1 = 'ADT' and MSH-9.2 = 'A01'")],
    );
    check_line(&when("PID-3 = 'P1'"), &[("4:49 M018", "PID-3.1 = 'P1'")]);
    check_line(&when("PID-3.1 = 'P1'"), &[]);
}

#[test]
fn paths_in_another_spelling_are_told_with_the_right_one() {
    for (path, place, meant) in [
        ("PV-11", "4:13 M005", "did you mean PV1-11?"),
        ("pv1-11", "4:13 M005", "did you mean PV1-11?"),
        ("PID3", "4:16 M005", "did you mean PID-3?"),
        ("PID.3", "4:16 M005", "did you mean PID-3?"),
        ("OBX-5-1", "4:18 M005", "did you mean OBX-5.1?"),
        ("PID－8", "4:16 M005", "did you mean PID-8?"),
        ("name.given", "4:13 M005", "FHIRPath stands in mappings with format = \"fhir\""),
    ] {
        check_line(&format!("language = '{path}'"), &[(place, meant)]);
    }
}

#[test]
fn marks_and_words_of_other_languages_are_told_with_what_is_written_here() {
    for (when, column, hint) in [
        ("PID-8 == 'M'", 47, "(write =)"),
        ("PID-8 <> 'M'", 47, "(write !=)"),
        ("PV1 && PID-8", 45, "(write and)"),
        ("PV1 || PID-8", 45, "(write or)"),
        ("!PV1", 41, "(write not before the path"),
        ("PID-8 > '1'", 47, "have no order"),
        ("PV1 AND PID-8", 45, "(write and, in small letters)"),
        ("NOT PV1", 41, "(write not, in small letters)"),
        ("PID-8 IN ['M']", 47, "(write in, in small letters)"),
        ("PV1 adn PID-8", 45, "(did you mean and?)"),
        ("PID-8 in ('M', 'F')", 50, "a list is written ['A01', 'A04']"),
        ("PID-8 = M", 49, "(write 'M')"),
        ("PID-8 eq 'M'", 47, "(write =)"),
        ("PID-8 is null", 50, "not before a path asks whether there is no value"),
        ("PID-8.exists()", 47, "a path alone asks whether there is a value"),
        ("PID-8 not 'M'", 51, "not PV1-2 = 'I'"),
        ("PID-8 ＝ 'M'", 47, "(write a plain =)"),
        ("PID-8 = ‘M’", 49, "(write plain quotes: 'A01')"),
        ("（PV1）", 41, "(write a plain ()"),
        ("pid-8 = 'M'", 41, "(did you mean PID-8?)"),
    ] {
        let place = format!("4:{column} M006");
        check_line(&format!("language = {{ from = 'PID-15.1', when = \"{when}\" }}"), &[(&place, hint)]);
    }
    check_line("language = “PID-15.1”", &[("4:12 M001", "write \", the plain character")]);
    check_line("language ＝ 'PID-15.1'", &[("4:10 M001", "write =, the plain character")]);
}

#[test]
fn one_mistake_is_one_problem() {
    // A path that is looked up in the wrong table, and not each code that is compared with it.
    let rule = "sex = { from = 'PV1-2', table = 'sex', when = \"PV1-2 in ['I', 'O'] or PV1-2 = 'E'\" }";
    let text = "PV1-2 is looked up in sex, which has none of the codes that conditions compare it with: I, O, E";
    check_line_with_table(rule, &[("4:16 M022", text)]);
    // A trigger event that is looked up in a table of something else, and not each row of it.
    let event = "language = { from = 'EVN-1', table = 'sex', as = 'code' }";
    check_line_with_table(event, &[("4:21 M022", "the table sex has codes of something else")]);
    // A base that cannot be read: what is the base's is not missing, and nothing is unused.
    let site = "extends = 'bse.toml'\n[tables]\nsex = { extends = 'sex', files = 'sex.csv' }\nown = 'sex.csv'\n[patient]\nsex = { from = 'PID-8', table = 'sexx' }\n";
    check_files(&[("site.toml", site), ("sex.csv", SEX)], &[("1:11 M012", "cannot be read")]);
    // A segment of which nothing is said, however many paths name it.
    let insurance = "[[patient.insurance]]\neach = 'ZPV'\nkind = 'ZPV-1'\nnumber = 'ZPV-2'\n";
    check(&format!("{SOUND}{insurance}"), &[("10:8 M016", "ZPV is the sender's own segment")]);
    // A table whose name is misspelled where it is declared or where it is used: one problem names both places.
    let misspelled = format!("{SOUND}[tables]\nsxe = 'sex.csv'\n")
        .replace("name = 'PID-5'", "sex = { from = 'PID-8', table = 'sex' }");
    check(&misspelled, &[("3:33 M009", "there is no table sex, and no rule uses sxe in line 10 (did you mean sxe?)")]);
    // A field that there is not: its table is used all the same.
    check_line_with_table("sexx = { from = 'PID-8', table = 'sex' }", &[("4:1 M003", "did you mean sex?")]);
    check(
        &format!("{SOUND}[tables]\nsex = {{ extends = 'sex', files = 'sex.csv' }}\n"),
        &[("10:19 M009", "no base has a table sex")],
    );
}
