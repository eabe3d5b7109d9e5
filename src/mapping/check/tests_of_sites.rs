//! Mistakes in what a site's file says over its base, and in its tables: told once, where the site wrote them.

use std::io;

use super::super::Mapping;
use super::tests::{SEX, SOUND, VISIT, check, check_files, check_line, check_over, problems_of};

#[test]
fn codes_that_only_seem_to_be_others_are_told() {
    let mapping = format!("[tables]\nsex = ['sex.csv', 'more.csv']\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let check = |rows: &str, expected: &[(&str, &str)]| {
        let more = format!("source,target,note\n{rows}");
        check_files(&[("site.toml", &mapping), ("sex.csv", SEX), ("more.csv", &more)], expected);
    };
    check("１,male,\n", &[("more.csv:2:1 M007", "a message that sends 1 does not find it")]);
    check("１,male,\n1,male,\n（男）,male,\n", &[]);
    check("m,male,\n", &[("more.csv:2:1 M024", "sex.csv:2 says this of M already, and m differs in case alone")]);
    check("m,female,\n", &[("more.csv:2:1 M007", "m differs from M (sex.csv:2) in case alone and has another target")]);
    check("x,other,\nX,unknown,\n", &[("more.csv:3:1 M007", "X differs from x (more.csv:2)")]);
    let language = format!("[tables]\nlanguage = 'language.csv'\n{SOUND}")
        .replace("name =", "language = { from = 'PID-15.1', table = 'language' }\nname =");
    let table = "source,target,note\n1,ｚｈ,\n";
    let told = [("language.csv:2:3 M007", "the target ｚｈ is in full-width characters (write zh)")];
    check_files(&[("site.toml", &language), ("language.csv", table)], &told);
}

#[test]
fn a_table_in_the_place_of_the_base_s_tells_which_codes_it_lost() {
    let base = format!("[tables]\nsex = 'sex.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let more = "source,target,note\n1,male,\n";
    let check = |table: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n[tables]\nsex = {table}\n");
        let files = [("site.toml", site.as_str()), ("base.toml", &base), ("sex.csv", SEX), ("more.csv", more)];
        check_files(&files, expected);
    };
    let told = [("3:1 M026", "the table sex in base.toml:2, and 2 of its 2 codes have no row any more: F, M")];
    check("'more.csv'", &told);
    check(
        "{ files = 'more.csv' }",
        &[("3:1 M026", "write { extends = \"sex\", files = [\"more.csv\"] } to keep them")],
    );
    for kept in [
        "['sex.csv', 'more.csv']",
        "{ extends = 'sex', files = 'more.csv' }",
        "{ extends = false, files = 'more.csv' }",
    ] {
        check(kept, &[]);
    }
}

#[test]
fn a_file_that_is_not_utf8_is_told_at_its_place() {
    let read = |name: &str| match name {
        "site.toml" => Ok(format!("[tables]\nsex = 'sex.csv'\n{SOUND}")),
        _ => String::from_utf8(b"source,target,note\nM,male,\xc4\xd0\n".to_vec())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let problems = Mapping::load("site.toml", &read).expect_err("no UTF-8");
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["sex.csv:2:8 error[M012]: this file is in GB18030, not in UTF-8 (save it as UTF-8)"]);
}

/// A base for HL7 v2 with two visits, and a site's file over it.
fn check_over_base(site: &str, expected: &[(&str, &str)]) {
    let patient = SOUND.replace(
        "name =",
        "sex = { from = 'PID-8', table = 'sex' }\nmarital_status = { from = 'PID-16', table = 'marital' }\nname =",
    );
    let visit =
        |name: &str, when: &str| VISIT.replace("[visit]\n", &format!("[[visit]]\nblock = '{name}'\nwhen = '{when}'\n"));
    let (stay, booked) = (visit("stay", "PV1 and not SCH"), visit("booked", "SCH"));
    let base = format!("[tables]\nsex = 'sex.csv'\nmarital = 'marital.csv'\n{patient}{stay}{booked}");
    let site = format!("extends = 'base.toml'\n{site}\n");
    check_files(
        &[("site.toml", &site), ("base.toml", &base), ("sex.csv", SEX), ("class.csv", CLASS), ("marital.csv", MARITAL)],
        expected,
    );
}

const MARITAL: &str = "source,target,note\nS,single,\n";
const CLASS: &str = "source,target,note\nI,inpatient,\nO,outpatient,\nU,unknown,\n";

#[test]
fn another_each_over_a_block_of_the_base_is_told() {
    let stay = |each: &str| format!("[[visit]]\nblock = 'stay'\neach = '{each}'");
    check_over_base(&stay("DG1"), &[("4:8 M020", "reads PV1 (1 of 2 paths) and DG1 with 0")]);
    check_over_base(&stay("PV1"), &[]);
    check_over_base("[patient]\neach = 'PV1'", &[("2:1 M020", "with this each, and this one fills nothing by itself")]);
    check_over_base(
        "[[visit]]\nblock = 'ward'\nwhen = 'false'",
        &[("2:1 M020", "with this name, and this one fills nothing")],
    );
    check_over_base("[[visit]]", &[("2:1 M023", "this block says nothing")]);
    check_over_base(
        "[[visit]]\nblock = 'inpatient'\nward = 'PV1-3.1.1'",
        &[("2:1 M023", "write its name: block = \"…\", of stay, booked")],
    );
    check_over_base(
        "[patient]\neach = 'PID'\nsex = 'PID-8'",
        &[("4:7 M011", "write { from = \"PID-8\", table = \"sex\" }, as the base does")],
    );
}

#[test]
fn a_rule_that_is_taken_away_is_told_where_it_is() {
    check_over_base(
        "[[visit]]\nblock = 'stay'\nnumber = false",
        &[("4:1 M023", "this takes the rule for number away")],
    );
    check_over_base(
        "[patient]\neach = 'PID'\nmarital_status = 'PID-16'",
        &[("4:18 M026", "which says table = \"marital\"")],
    );
    check_over_base("[patient]\neach = 'PID'\nmarital_status = { from = 'PID-16', as = 'text' }", &[]);
}

#[test]
fn a_wrong_table_is_one_mistake_and_not_one_for_each_row() {
    let wrong = [("3:7 M008", "2 of the 3 rows of class.csv have no legal value of sex: inpatient (class.csv:2)")];
    check_over_base("[tables]\nsex = 'class.csv'", &wrong);
    let among = [("3:19 M008", "2 of the 3 rows of class.csv")];
    check_over_base("[tables]\nsex = ['sex.csv', 'class.csv']", &among);
    let rule = "[tables]\nclass = 'class.csv'\n[patient]\neach = 'PID'\nsex = { from = 'PID-8', table = 'class' }";
    check_over_base(rule, &[("6:33 M008", "2 of the 3 rows of the table class have no legal value")]);
}

#[test]
fn what_follows_from_a_mistake_is_not_told_beside_it() {
    check(
        &format!("{SOUND}[segments]\nZYB = {{ 1 = 'STT' }}\n{VISIT}ward = 'ZYB-1'\n"),
        &[("10:13 M014", "no data type STT")],
    );
    check(
        &format!("{SOUND}[segments]\nzyb = {{ 1 = 'ST' }}\n{VISIT}ward = 'ZYB-1'\n"),
        &[("10:1 M014", "did you mean ZYB?")],
    );
    check(&format!("{SOUND}{VISIT}ward = {{ form = 'PV1-3.1.1' }}\n"), &[("13:10 M002", "did you mean from?")]);
    check(&format!("{SOUND}{VISIT}ward = []\n"), &[("13:8 M004", "a list of at least one")]);
}

/// FHIR, with a visit whose paths fit an Encounter only.
const UNITS: &str = "format = 'fhir'\n[patient]\neach = 'Patient'\nname = 'name'\nupdated_at = 'meta.lastUpdated'
[[patient.identifiers]]\neach = 'identifier'\nvalue = 'value'\ntype = { constant = 'mrn' }
[[visit]]\nblock = 'encounter'\neach = 'Encounter'\nnumber = 'id'\nevent = { constant = 'arrived' }\nupdated_at = 'meta.lastUpdated'
stay_number = 'partOf.identifier.value'\nstarted_at = 'period.start'\nclass = { constant = 'inpatient' }\n";

#[test]
fn paths_of_the_base_that_do_not_fit_another_each_are_one_mistake() {
    let visit = |each: &str| format!("[[visit]]\nblock = 'encounter'\neach = '{each}'\n");
    let text = "and 2 of its paths do not fit it: partOf.identifier.value: Appointment has no element partOf";
    check_over(UNITS, &visit("Appointment"), &[("4:8 M020", text)]);
    check_over(UNITS, &visit("Encounter"), &[]);
}

#[test]
fn paths_inside_an_each_that_is_none_are_checked_by_what_was_meant() {
    let phones = |each: &str, expected: &[(&str, &str)]| {
        let block = format!("[[patient]]\neach = 'Patient'\n[[patient.phones]]\neach = '{each}'\nvalue = 'valeu'\n");
        check_over(UNITS, &block, expected);
    };
    phones("telecom", &[("6:10 M005", "did you mean value?")]);
    phones("telecomm", &[("5:9 M005", "did you mean telecom?"), ("6:10 M005", "ContactPoint has no element valeu")]);
    phones("qqqqqq", &[("5:9 M005", "has no element qqqqqq"), ("6:10 M005", "nothing here has an element valeu")]);
}

#[test]
fn a_block_whose_each_is_misspelled_is_one_mistake() {
    let phones = |key: &str, expected: &[(&str, &str)]| {
        let block = format!("[[patient]]\neach = 'Patient'\n[[patient.phones]]\n{key} = 'telecom'\nvalue = 'value'\n");
        let base = UNITS.replacen(
            "[[visit]]",
            "[[patient.phones]]\neach = 'telecom'\nvalue = { from = '$this', as = 'phone', required = 'skip' }
[[patient.phones]]\nblock = 'work'\neach = \"contact.telecom\"\nvalue = { from = '$this', as = 'phone' }\n[[visit]]",
            1,
        );
        check_over(&base, &block, expected);
    };
    phones("eahc", &[("5:1 M003", "did you mean each?")]);
    check(
        &format!("{SOUND}[[patient.phones]]\neahc = 'PID-13'\nvalue = 'PID-13.1'\n"),
        &[("10:1 M003", "did you mean each?")],
    );
}

#[test]
fn a_base_with_a_mistake_in_its_syntax_is_one_problem() {
    for (base, site) in [
        (
            UNITS.to_owned(),
            "[[visit]]\nblock = 'encounter'\nward = 'serviceType'\nclass = { from = 'class', table = 'class' }\n",
        ),
        (format!("{SOUND}{VISIT}"), "[visit]\nward = 'PV1-3.1.1'\nclass = { from = 'PV1-2', table = 'class' }\n"),
    ] {
        let base = base.replacen("updated_at =", "updated_at ==", 1);
        let problems = check_over_with(&base, site);
        assert!(
            !problems.is_empty() && problems.iter().all(|problem| problem.starts_with("base.toml:")),
            "{problems:?}"
        );
    }
}

/// What is told of a site's file over a base, by its place.
fn check_over_with(base: &str, site: &str) -> Vec<String> {
    let files = [("site.toml", format!("extends = 'base.toml'\n{site}")), ("base.toml", base.to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    problems_of(&files).iter().map(ToString::to_string).collect()
}

#[test]
fn texts_that_nobody_sends_are_told() {
    let matching = |pattern: &str, expected: &[(&str, &str)]| {
        check(&format!("match = {{ 'MSH-3' = '{pattern}' }}\n{SOUND}"), expected)
    };
    matching("%DHIS%", &[("1:21 M021", "* stands for any characters: \"*DHIS*\"")]);
    matching("HIS|LIS", &[("1:21 M021", "several are a list")]);
    matching("*DHIS*", &[]);
    check(&format!("{SOUND}{VISIT}when = \"PV1-10 = '%内科'\"\n"), &[("13:18 M021", "patterns stand in match only")]);
    let table = "source,target,note\nM,male,\nF,female,\n";
    let flags = format!(
        "{SOUND}{VISIT}when = \"OBX-8 = '高危'\"\nreason = {{ from = 'OBX-8[*]', table = 'sex' }}\n[tables]\nsex = 'sex.csv'\n"
    );
    check_files(
        &[("site.toml", &flags), ("sex.csv", table)],
        &[("13:17 M022", "OBX-8 is looked up in sex, which has no code 高危")],
    );
    let patient = |rule: &str, expected: &[(&str, &str)]| {
        check_over(UNITS, &format!("[[patient]]\neach = 'Patient'\noccupation = \"{rule}\"\n"), expected);
    };
    patient("extension('http：//x.example/job').value", &[("4:25 M021", "write http://x.example/job")]);
    patient("extension('job').value", &[("4:15 M021", "an extension is known by its whole URL")]);
    patient("extension('http://x.example/job').extension('text').value", &[]);
    patient("identifier.where(system = '%job%').value", &[("4:41 M021", "contains('job')")]);
    patient("identifier[1].value", &[("4:25 M027", "[1] is the second")]);
    patient("identifier[0].value", &[]);
}

#[test]
fn a_table_whose_columns_are_swapped_is_told_once_in_its_file() {
    let base = format!("[tables]\nsex = 'sex.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let check = |table: &str, rows: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n[tables]\nsex = {table}\n");
        let more = format!("source,target,note\n{rows}");
        check_files(&[("site.toml", &site), ("base.toml", &base), ("sex.csv", SEX), ("more.csv", &more)], expected);
    };
    let told = [(
        "more.csv:2:1 M008",
        "the columns of this file are swapped: male is a value of sex, and stands where the sender's code is (the sender's code comes first: source,target)",
    )];
    for table in ["'more.csv'", "['sex.csv', 'more.csv']", "{ extends = 'sex', files = 'more.csv' }"] {
        check(table, "male,1,\nfemale,2,\n", &told);
    }
    check("['sex.csv', 'more.csv']", "male,1,\n", &told);
    // Otherwise its rows are told, or the table.
    check("['sex.csv', 'more.csv']", "1,mle,\n2,female,\n", &[("more.csv:2:3 M008", "did you mean male?")]);
}

#[test]
fn a_misspelled_key_is_one_problem_and_not_also_what_it_would_have_said() {
    let base = format!("[tables]\nsex = 'sex.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex', on_unmapped = 'leave', required = true }\nname =");
    let check = |site: &str, expected: &[(&str, &str)]| {
        let more = "source,target,note\n1,male,\n";
        let site = format!("extends = 'base.toml'\n{site}\n");
        check_files(&[("site.toml", &site), ("base.toml", &base), ("sex.csv", SEX), ("more.csv", more)], expected);
    };
    check("[tables]\nsex = { extend = 'sex', files = 'more.csv' }", &[("3:9 M002", "did you mean extends?")]);
    check("[tables]\nsex = { extends = 'sx', files = 'more.csv' }", &[("3:19 M009", "did you mean sex?")]);
    let rule = |keys: &str| format!("[patient]\nsex = {{ from = 'PID-8', table = 'sex', {keys} }}");
    check(&rule("on_unmaped = 'leave', required = true"), &[("3:40 M002", "did you mean on_unmapped?")]);
    check(&rule("required = true"), &[("3:7 M026", "on_unmapped = \"leave\"")]);
}

#[test]
fn a_block_that_may_be_meant_for_several_of_the_base_s_is_told_what_to_write_in_the_site_s_file() {
    let phones = |keys: &str| format!("[[patient.phones]]\neach = 'PID-13'\n{keys}value = 'PID-13.1'\n");
    let mobile = phones("block = 'mobile'\nwhen = \"PID-13.3 = 'CP'\"\n");
    let base = |first: &str| {
        format!("{SOUND}{}{mobile}", phones(first))
            .replace("block = 'mobile'\n", if first.contains("block") { "block = 'mobile'\n" } else { "" })
    };
    let [named, unnamed] = ["block = 'fixed'\nwhen = 'not PID-13.3'\n", "when = 'not PID-13.3'\n"].map(base);
    let one = "[[patient.phones]]\neach = 'PID-13'\nuse = { constant = 'home' }\n";
    check_over(&named, one, &[("2:1 M020", "add block = \"…\" with the name of one: fixed, mobile")]);
    let hint = "it lies over the first; write all 2 here, in the order of base.toml (lines 9, 13): one without rules changes nothing";
    check_over(&unnamed, one, &[("2:1 M020", hint)]);
    let both = format!("{one}[[patient.phones]]\neach = 'PID-13'\n");
    check_over(&unnamed, &both, &[]);
}

#[test]
fn an_each_that_is_a_field_of_the_base_s_segment_is_told() {
    let base = format!("{SOUND}[[patient.contacts]]\neach = 'NK1'\nname = {{ from = 'NK1-2', as = 'name' }}\n");
    let site = "[[patient.contacts]]\neach = 'NK1-2'\nname = { from = 'NK1-2', as = 'name' }\n";
    let text =
        "the base's block of patient.contacts has each = \"NK1\" (base.toml:10), so this makes a new one beside it";
    check_over(&base, site, &[("3:8 M020", text)]);
    check_over(&base, &site.replace("each", "block = 'other'\neach"), &[]);
}

#[test]
fn a_mapping_in_gb18030_that_happens_to_be_utf8_is_told() {
    let site = format!("description = 'δ\u{5aa}'\n{SOUND}");
    check(&site, &[("1:16 M012", "is 未知 in GB18030: the file is probably not in UTF-8 (save it as UTF-8)")]);
    check(&format!("description = 'δ\u{5aa} 未知'\n{SOUND}"), &[]);
}

#[test]
fn what_is_written_in_the_place_of_something_else_has_a_hint_that_says_what_to_write() {
    check_line("vip = 'false'", &[("4:8 M005", "false without quotes takes the base's rule away")]);
    check_line("vip = ''", &[("4:8 M005", "false without quotes takes the base's rule away")]);
    check_line("language = 'chinese'", &[("4:13 M005", "always the same is written { constant = \"chinese\" }")]);
    check(
        &format!("extends = 'sex.csv'\n{SOUND}"),
        &[("1:11 M012", "sex.csv is a table, and a mapping extends a mapping")],
    );
    check(&format!("match = {{}}\n{SOUND}"), &[("1:9 M023", "this match says nothing: every message is taken")]);
    let tables = format!("[tables]\nsex = 'sex.csv'\nSex = 'sex.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    check(&tables, &[("3:1 M024", "no rule uses the table Sex (did you mean sex?")]);
    let base = format!("[tables]\nsex = 'sex.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let site = "extends = 'base.toml'\n[tables]\nsex = ['missing.csv', 'more.csv']\n";
    let more = "source,target,note\n1,male,\n";
    let files = [("site.toml", site), ("base.toml", base.as_str()), ("sex.csv", SEX), ("more.csv", more)];
    check_files(&files, &[("3:8 M012", "missing.csv cannot be read")]);
}

#[test]
fn a_table_of_another_name_in_the_place_of_the_base_s_tells_which_codes_it_lost() {
    let base = format!("[tables]\nsex = 'sex.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let more = "source,target,note\n1,male,\n";
    let check = |table: &str, path: &str, expected: &[(&str, &str)]| {
        let site = format!(
            "extends = 'base.toml'\n[tables]\nown = {table}\n[patient]\nsex = {{ from = '{path}', table = 'own' }}\n"
        );
        let files = [("site.toml", site.as_str()), ("base.toml", &base), ("sex.csv", SEX), ("more.csv", more)];
        check_files(&files, expected);
    };
    let told = "the table sex in base.toml:2, and 2 of its 2 codes have no row any more: F, M (write { extends = \"sex\", files = [\"more.csv\"] }";
    check("'more.csv'", "PID-8", &[("3:1 M026", told)]);
    check("{ extends = false, files = 'more.csv' }", "PID-8", &[]);
    check("{ extends = 'sex', files = 'more.csv' }", "PID-8", &[]);
    // Codes of another field are other codes.
    check("'more.csv'", "PV1-2", &[]);
}

#[test]
fn a_file_of_another_field_s_table_is_told_where_it_is_named() {
    let base = format!("[tables]\nsex = 'sex.csv'\nmarital = 'marital.csv'\n{SOUND}").replace(
        "name =",
        "sex = { from = 'PID-8', table = 'sex' }\nmarital_status = { from = 'PID-16', table = 'marital' }\nname =",
    );
    let marital = "source,target,note\nS,single,\nM,married,\n";
    let check = |files: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n[tables]\nmarital = {files}\n");
        let more = "source,target,note\nW,widowed,\n";
        let files = [
            ("site.toml", site.as_str()),
            ("base.toml", &base),
            ("sex.csv", SEX),
            ("marital.csv", marital),
            ("more.csv", more),
        ];
        check_files(&files, expected);
    };
    let told = "sex.csv is a file of the table sex, and marital is one of another field";
    check("['marital.csv', 'sex.csv']", &[("3:27 M008", told)]);
    check("['marital.csv', 'more.csv']", &[]);
}

#[test]
fn a_target_in_the_column_of_notes_is_told() {
    let mapping = format!("[tables]\nsex = 'own.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let own = "source,target,note\nM,male,\nF,,female\nX,,not said\n";
    let told = [(
        "own.csv:3:1 M007",
        "female stands in the column of notes, and the target is empty: the code F is known and says nothing (write F,female;",
    )];
    check_files(&[("site.toml", &mapping), ("own.csv", own)], &told);
}

#[test]
fn a_rule_of_skip_is_kept_by_a_wider_one_and_given_up_by_its_reason() {
    let base = SOUND.to_owned()
        + "[[patient.contacts]]\neach = 'NK1'\nname = { from = 'NK1-2', as = 'name' }\nskip = [{ when = \"NK1-3.1 = 'X'\", reason = 'strangers' }]\n";
    let check = |skip: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n[[patient.contacts]]\neach = 'NK1'\nskip = [{skip}]\n");
        check_files(&[("site.toml", &site), ("base.toml", &base)], expected);
    };
    let lost = "count no more: \"strangers\" (write those that shall count here too; one that shall not, or that a rule here is in place of, is named by its reason: { when = \"false\", reason = … })";
    check("{ when = 'NK1-7', reason = 'staff' }", &[("4:18 M026", lost)]);
    check("{ when = \"NK1-3.1 in ['X', 'Y']\", reason = 'others' }", &[]);
    check("{ when = \"NK1-3.1 = 'Y'\", reason = 'strangers' }", &[]);
    check("{ when = 'NK1-7', reason = 'staff' }, { when = 'false', reason = 'strangers' }", &[]);
    check("", &[]);
}

#[test]
fn names_that_the_configuration_does_not_have_are_told_at_the_site_s_line_or_its_extends() {
    let base = "[lab_report]\nblock = 'results'\neach = 'OBR'\nstatus = { constant = 'final' }\nfiller_order_number = 'OBR-3.1'\nupdated_at = 'MSH-7'\nvisit_source = { constant = 'his' }\n"
        .to_owned()
        + SOUND;
    let check = |site: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n{site}");
        let read = |name: &str| match name {
            "site.toml" => Ok(site.clone()),
            _ => Ok(base.clone()),
        };
        let mapping = Mapping::load("site.toml", &read).expect("sound");
        let found = mapping.unknown_names(&["dhis", "dlis"], &["DHIS"]);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, (place, part)) in found.iter().zip(expected) {
            assert!(found.starts_with(place) && found.contains(part), "{found}");
        }
    };
    let of_base = "no source is called his, whose visits reports are said to belong to: lab_report.visit_source of results (base.toml:7) (did you mean dhis? sources here are dhis, dlis; write visit_source = ";
    check("", &[("site.toml:1:11 warning[M029]", of_base)]);
    check("[[lab_report]]\nblock = 'results'\nvisit_source = { constant = 'dhis' }\n", &[]);
    let site = "[[lab_report]]\nblock = 'results'\nvisit_source = { constant = 'DHIS' }\n";
    check(site, &[("site.toml:4:29 warning[M029]", "did you mean dhis? sources here are dhis, dlis)")]);
    check("[[lab_report]]\nblock = 'results'\nwhen = 'false'\n", &[]);
    let source = "[[lab_report]]\nblock = 'results'\nvisit_source = false\n[[patient.identifiers]]\neach = 'PID-3'\n";
    check(&format!("{source}system = {{ from = 'PID-3.4.1', default = 'DHIS' }}\n"), &[]);
    check(&format!("{source}system = {{ from = 'PID-3.4.1', default = 'EMR' }}\n"), &[]);
    let near = "the authority DHlS is no source's, and nearly DHIS (did you mean DHIS?";
    check(
        &format!("{source}system = {{ from = 'PID-3.4.1', default = 'DHlS' }}\n"),
        &[("site.toml:7:42 warning[M029]", near)],
    );
}

#[test]
fn one_mistake_of_a_site_is_one_problem_at_what_the_site_wrote() {
    let base = format!("[tables]\nsex = 'sex.csv'\n{SOUND}")
        .replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
    let check = |site: &str, expected: &[(&str, &str)]| {
        let site = format!("extends = 'base.toml'\n{site}");
        check_files(&[("site.toml", &site), ("base.toml", &base), ("sex.csv", SEX)], expected);
    };
    // A base of the other format.
    check(
        "[patient]\nname = 'name.text'\nbirth_date = 'birthDate'\n",
        &[("1:11 M013", "base.toml is for format = \"hl7v2\", and the paths of this file are of the other")],
    );
    // Codes are not asked of a table that is not there.
    check(
        "[patient]\nsex = [{ from = 'PID-8', table = 'sax', when = \"PID-8 = 'X'\" }]\n",
        &[("3:34 M009", "there is no table sax")],
    );
    // A rule of skip that cannot be read may be the base's.
    let skips = format!(
        "{base}[[patient.contacts]]\neach = 'NK1'\nname = {{ from = 'NK1-2', as = 'name' }}\nskip = [{{ when = 'NK1-7', reason = 'staff' }}]\n"
    );
    let site = "extends = 'base.toml'\n[[patient.contacts]]\neach = 'NK1'\nskip = [{ when = 'NK1-8', reason = 'a' }, { when = 'NK1-7', reasons = 'staff' }]\n";
    let told = [("4:61 M002", "there is no key of a rule of skip reasons")];
    check_files(&[("site.toml", site), ("base.toml", &skips), ("sex.csv", SEX)], &told);
    // Several values of one predicate.
    check("[patient]\nname = 'PID-5[3 in A,B]'\n", &[]);
    // A section in two forms.
    check(
        "[patient.identifiers]\neach = 'PID-3'\n[[patient.identifiers]]\neach = 'PID-2'\n[[patient.identifiers]]\neach = 'PID-4'\n",
        &[("4:11 M001", "duplicate key: identifiers")],
    );
}

#[test]
fn a_time_is_no_number() {
    let mapping = format!("{SOUND}{VISIT}").replace("number = 'PV1-19.1'", "number = 'PV1-44'");
    check(&mapping, &[("10:10 M018", "PV1-44 (TS, DTM) is a time, and number is a number")]);
}

#[test]
fn a_slip_is_told_once_whatever_follows_from_it() {
    // Without the base there are neither its tables nor its blocks.
    let slip =
        format!("extend = 'base.toml'\n{}", SOUND.replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname ="));
    check(&slip, &[("1:1 M002", "did you mean extends?")]);
    // Each value would be told of the same path.
    let types = |path: &str, expected: &[(&str, &str)]| {
        check(&format!("match = {{ '{path}' = ['ADT', 'SIU'] }}\n{SOUND}"), expected);
    };
    types("MSH-9", &[("1:22 M018", "compare its components")]);
    types("MSH-9.2", &[("1:24 M022", "the mapping takes no message")]);
    check(
        &format!("{SOUND}{VISIT}when = \"MSH-9.2 in ['ADT^A01', 'ADT^A04']\"\n"),
        &[("13:21 M018", "MSH-9.2 is one component")],
    );
    // A block of the base's in another spelling is no new one that lacks its each.
    check_over_base(
        "[[visit]]\nblock = 'stays'\nstatus = { constant = 'planned' }",
        &[("3:9 M020", "did you mean stay?")],
    );
}

#[test]
fn codes_that_nobody_sends_are_told_in_predicates_and_tables_too() {
    let chosen = |value: &str, expected: &[(&str, &str)]| {
        check(&format!("{SOUND}{VISIT}reason = 'OBX[3.1={value}]-5'\n"), expected);
    };
    chosen("ZD,JY", &[("13:10 M021", "several stand behind in: in ZD,JY")]);
    chosen("ＺＤ", &[("13:10 M021", "write ZD")]);
    chosen("ZD", &[]);
    let rows = |row: &str, expected: &[(&str, &str)]| {
        let site = SOUND.replace("name =", "sex = { from = 'PID-8', table = 'sex' }\nname =");
        let site = format!("{site}[tables]\nsex = ['sex.csv', 'own.csv']\n");
        let own = format!("source,target,note\n{row}\n");
        check_files(&[("site.toml", &site), ("sex.csv", SEX), ("own.csv", &own)], expected);
    };
    rows("// MZ,male,", &[("own.csv:2:1 M021", "a comment begins with #: # MZ")]);
    rows("M*,male,", &[("own.csv:2:1 M021", "* stands for itself here")]);
    rows("*,unknown,", &[]);
}
