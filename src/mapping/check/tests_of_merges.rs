//! The numbers of merges, which have to be those of patients.

use super::tests::check_files;

/// The base's merges, as those of `hl7v2.toml`.
const BASE: &str = "[patient]\neach = 'PID'\nname = 'PID-5'\nupdated_at = 'MSH-7'
[[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3.1'\nsystem = 'PID-3.4.1'\ntype = { constant = 'mrn' }
[[merge]]\neach = 'MRG'\nwhen = \"MSH-9.2 = 'A40'\"\nupdated_at = 'MSH-7'
[[merge.survivor]]\neach = 'PID-3'\nvalue = 'PID-3.1'\nsystem = 'PID-3.4.1'\ntype = { constant = 'mrn' }
[[merge.retired]]\neach = 'MRG-1'\nvalue = 'MRG-1.1'\nsystem = 'MRG-1.4.1'\ntype = { constant = 'mrn' }\n";

const NUMBERS: &str = "[[patient.identifiers]]\neach = 'PID-3'\nsystem = { from = 'PID-3.4.1', default = 'HIS' }\n";
const SURVIVOR: &str =
    "[[merge]]\neach = 'MRG'\n[[merge.survivor]]\neach = 'PID-3'\nsystem = { from = 'PID-3.4.1', default = 'HIS' }\n";
const RETIRED: &str = "[[merge.retired]]\neach = 'MRG-1'\nsystem = { from = 'MRG-1.4.1', default = 'HIS' }\n";

fn check(site: &str, expected: &[(&str, &str)]) {
    check_files(&[("site.toml", &format!("extends = 'base.toml'\n{site}")), ("base.toml", BASE)], expected);
}

#[test]
fn numbers_that_merges_read_otherwise_than_patients_are_told_with_what_to_write() {
    check("", &[]);
    let all = "reads system otherwise than merges do, which then name numbers that nobody has: merge.survivor (base.toml:14), merge.retired (base.toml:19) \
        (say the same in merges: [[merge]] each = \"MRG\" [[merge.survivor]] each = \"PID-3\" system = { from = 'PID-3.4.1', default = 'HIS' }; \
        [[merge]] each = \"MRG\" [[merge.retired]] each = \"MRG-1\" system = { from = 'MRG-1.4.1', default = 'HIS' })";
    check(NUMBERS, &[("4:10 M028", all)]);
    check(&format!("{NUMBERS}{SURVIVOR}{RETIRED}"), &[]);
    // One of both alone.
    check(&format!("{NUMBERS}{SURVIVOR}"), &[("4:10 M028", "has: merge.retired (base.toml:19) (say")]);
    check(
        &format!("{SURVIVOR}{RETIRED}"),
        &[("6:10 M028", "merge.survivor (base.toml:14), merge.retired (base.toml:19)")],
    );
    let slip = RETIRED.replace("HIS", "HSI");
    check(&format!("{NUMBERS}{SURVIVOR}{slip}"), &[("4:10 M028", "has: merge.retired (base.toml:19) (say")]);
    let component = RETIRED.replace("MRG-1.4.1", "MRG-1.4.2");
    check(&format!("{NUMBERS}{SURVIVOR}{component}"), &[("4:10 M028", "has: merge.retired (base.toml:19) (say")]);
}

#[test]
fn conditions_count_with_the_paths_of_the_other_segment_and_constants_of_one_file_are_meant() {
    let with = |text: &str, when: &str| text.replace("'HIS' }", &format!("'HIS', when = \"{when}\" }}"));
    let numbers = with(NUMBERS, "PID-3.5 in ['MR', 'PI'] or not PID-3.5");
    let survivor = with(SURVIVOR, "PID-3.5 in ['MR','PI'] or not PID-3.5");
    let retired = with(RETIRED, "MRG-1.5 in ['MR', 'PI'] or not MRG-1.5");
    check(&format!("{numbers}{survivor}{retired}"), &[]);
    // What the header says, a merge can read as well, and a code in capitals is no segment.
    let header =
        |text: &str| with(&text.replace("from = 'PID-3.4.1'", "from = ['PID-3.4.1', 'MSH-4.1']"), "PID-3.5 in ['MR']");
    check(&format!("{}{}", header(NUMBERS), header(SURVIVOR)), &[("4:10 M028", "has: merge.retired (base.toml:19)")]);
    let constant = "[[merge.retired]]\neach = 'MRG-1'\nsystem = { constant = 'HIS' }\n";
    check(&format!("{NUMBERS}{SURVIVOR}{constant}"), &[]);
    // What no merge can be read from is not asked.
    let other = NUMBERS.replace("'PID-3.4.1'", "'MSH-4.1'");
    check(&format!("{other}{}", SURVIVOR.replace("'PID-3.4.1'", "'MSH-4.1'")), &[("4:10 M028", "merge.retired")]);
}

#[test]
fn a_source_without_merges_reads_its_numbers_as_it_likes() {
    check(&format!("match = {{ 'MSH-9.1' = 'ORU' }}\n{NUMBERS}"), &[]);
    check(&format!("match = {{ 'MSH-9.1' = 'ADT', 'MSH-9.2' = ['A01', 'A08'] }}\n{NUMBERS}"), &[]);
    check(&format!("{NUMBERS}[[merge]]\neach = 'MRG'\nwhen = 'false'\n"), &[]);
    let off = "[[merge]]\neach = 'MRG'\n[[merge.survivor]]\neach = 'PID-3'\nwhen = 'false'\n[[merge.retired]]\neach = 'MRG-1'\nwhen = 'false'\n";
    check(&format!("{NUMBERS}{off}"), &[]);
}

#[test]
fn what_is_wrong_with_a_path_is_told_and_not_that_merges_read_otherwise() {
    let whole = "[[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3'\n";
    check(whole, &[("4:9 M018", "PID-3 (CK, CM, CX) has components")]);
}
