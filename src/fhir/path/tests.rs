//! Facts of the engine, each by expression and result, over one unit.

use std::fmt::Write;

use proptest::prelude::*;

use super::{Path, Scope, Truth, Types, limits};
use crate::fhir::unit::Unit;

/// A report with its patient, results and more. Nobody's data.
const UNIT: &str = r##"{"resourceType": "Bundle", "type": "collection", "entry": [
  {"fullUrl": "https://emr/fhir/DiagnosticReport/r1", "resource": {"resourceType": "DiagnosticReport", "id": "r1", "status": "final",
    "subject": {"reference": "Patient/1"}, "issued": "2024-03-05T10:00:00.120+08:00", "effectiveDateTime": "2024-03-05",
    "identifier": [{"system": "urn:a", "value": "A1"}, {"system": "urn:b", "value": "B1"}],
    "contained": [{"resourceType": "Specimen", "id": "s", "type": {"text": "blood"}}],
    "specimen": [{"reference": "#s"}],
    "result": [{"reference": "Observation/o1"}, {"reference": "https://emr/fhir/Observation/o2"}, {"reference": "urn:uuid:o3"},
      {"reference": "Observation/absent"}, {"identifier": {"value": "x"}}]}},
  {"fullUrl": "https://emr/fhir/Patient/1", "resource": {"resourceType": "Patient", "id": "1", "active": true, "gender": "male",
    "birthDate": "1974-12-25", "_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "_deceasedBoolean": {"extension": [{"url": "urn:absent", "valueCode": "unknown"}]},
    "multipleBirthInteger": 2,
    "name": [{"use": "official", "family": "Chalmers", "given": ["Peter", "James"], "_given": [null, {"id": "g2", "extension": [{"url": "urn:x", "valueString": "second"}]}]},
      {"use": "usual", "given": ["Jim"]}, {"use": "maiden", "family": "Windsor", "given": ["Peter", null], "_given": [null, {"extension": [{"url": "urn:absent", "valueCode": "masked"}]}]}],
    "contact": [{"name": {"family": "du Marché"}, "telecom": [{"value": "1"}, {"value": "2"}]}]}},
  {"fullUrl": "https://emr/fhir/Observation/o1", "resource": {"resourceType": "Observation", "id": "o1", "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}]}, "subject": {"reference": "Patient/1"},
    "valueQuantity": {"value": 1.50, "unit": "g/l", "system": "http://unitsofmeasure.org", "code": "g/L"},
    "hasMember": [{"reference": "Observation/o2"}]}},
  {"fullUrl": "https://emr/fhir/Observation/o2", "resource": {"resourceType": "Observation", "id": "o2", "status": "amended",
    "code": {"text": "Rh"}, "valueString": "positive", "hasMember": [{"reference": "urn:uuid:o3"}]}},
  {"fullUrl": "urn:uuid:o3", "resource": {"resourceType": "Observation", "status": "final", "valueQuantity": {"value": 5, "comparator": "<", "unit": "mg"}}},
  {"resource": {"resourceType": "Encounter", "id": "e", "class": {"code": "IMP"}, "period": {"start": "2024-03-01"}}},
  {"resource": {"resourceType": "ValueSet", "id": "v", "version": "1", "compose": {"include": [{"system": "urn:a"}]}}}
]}"##;

fn unit() -> Unit {
    Unit::parse(UNIT.as_bytes()).unwrap()
}

fn resource<'u>(unit: &'u Unit, name: &str) -> Scope<'u> {
    Scope::resource(unit.resources().find(|resource| resource.type_name() == name).unwrap())
}

/// What a path yields of the patient, separated by blanks; elements by their type in angles.
fn found(source: &str) -> String {
    let unit = unit();
    let path = match Path::parse_in(source, &Types::resource("Patient").unwrap()) {
        Ok(path) => path,
        Err(error) => return format!("refused at {}: {error}", error.offset),
    };
    let texts = match path.evaluate(&resource(&unit, "Patient")) {
        Err(fault) => return format!("fault at {}: {fault}", fault.offset),
        Ok(nodes) => nodes
            .iter()
            .map(|node| match node.text() {
                Some(text) => text.into_owned(),
                None => format!("<{}>", node.type_name().unwrap_or("?")),
            })
            .collect::<Vec<_>>(),
    };
    texts.join(" ")
}

/// Each line: a path, ` => `, and what it yields.
fn check(lines: &str) {
    let mut wrong = String::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let (source, expected) = line.trim().split_once(" =>").expect("a path => what it yields");
        let found = found(source);
        let same = match expected.trim().strip_suffix('…') {
            Some(start) => found.starts_with(start.trim_end()),
            None => found == expected.trim(),
        };
        if !same {
            writeln!(wrong, "{source}: {found}, not {expected}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn members_are_found_in_order() {
    check(
        "name.given => Peter James Jim Peter <string>
         Patient.name.given[1] => James
         name[0].given[5] =>
         name.`given`.first() => Peter
         name => <HumanName> <HumanName> <HumanName>
         contact.telecom.value => 1 2
         birthDate => 1974-12-25
         multipleBirth => 2
         address.city =>
         contact.name.family => du Marché",
    );
}

#[test]
fn choices_are_found_by_their_name_and_told_by_their_type() {
    check("Observation.value => <Quantity> positive <Quantity>");
    check(
        "Observation.value.ofType(string) => positive
         Observation.value.ofType(Quantity).unit => g/l mg
         Observation.where(value is Quantity).id => o1
         Observation.first().value.as(Quantity).value => 1.50
         (Observation.first().value as Quantity).code => g/L
         Observation.first().value is string => false
         Observation.value.ofType(FHIR.string) => positive
         multipleBirth is integer => true
         multipleBirth as boolean =>
         DiagnosticReport.effective is dateTime => true
         DiagnosticReport.effective.ofType(Period) =>
         Encounter.class is Coding => true
         Encounter.class.code => IMP
         gender is string => true
         active is System.Boolean => false
         1 is System.Integer => true
         'a' is String => true",
    );
}

#[test]
fn what_stands_beside_a_primitive_is_found_with_it() {
    check(
        "birthDate.extension('urn:time').value => 1974-12-25T14:35:45-05:00
         birthDate.extension('urn:none').value =>
         name.given.extension('urn:x').value => second
         name.given.id => g2
         name.given.where(hasValue()) => Peter James Jim Peter
         name[2].given.count() => 2
         name[2].given[1].extension('urn:absent').value => masked
         birthDate.hasValue() => true
         deceased.exists() => true
         deceased.hasValue() => false
         deceased.extension.value => unknown
         birthDate.getValue() => 1974-12-25
         deceased.getValue() =>",
    );
}

#[test]
fn absolute_paths_ask_the_resource_of_that_type() {
    check(
        "DiagnosticReport.status => final
         Patient.gender => male
         name.where(Patient.active).count() => 3
         Encounter.period.start => 2024-03-01
         Observation.count() => 3
         Coverage.exists() => false
         %resource.id => 1
         %context.id => 1
         name.select(%resource.gender).first() => male
         Resource.id => 1
         %rootResource.gender => male",
    );
    let unit = unit();
    let report = resource(&unit, "DiagnosticReport");
    let each = Path::parse_in("result.resolve()", &Types::resource("DiagnosticReport").unwrap()).unwrap();
    let path = Path::parse_in("Observation.status | DiagnosticReport.id | Patient.id", each.types()).unwrap();
    let texts: Vec<String> = each
        .evaluate(&report)
        .unwrap()
        .into_iter()
        .flat_map(|node| path.evaluate(&report.inside(node)).unwrap())
        .map(|node| node.text().unwrap().into_owned())
        .collect();
    assert_eq!(texts, ["final", "r1", "1", "amended", "r1", "1", "final", "r1", "1"]);
}

#[test]
fn references_lead_to_resources_of_the_unit() {
    check(
        "DiagnosticReport.result.resolve().count() => 3
         DiagnosticReport.result.resolve().status => final amended final
         DiagnosticReport.specimen.resolve().type.text => blood
         DiagnosticReport.subject.resolve().is(Patient) => true
         DiagnosticReport.subject.resolve().ofType(Patient).name.family => Chalmers Windsor
         (DiagnosticReport.result.resolve() | DiagnosticReport.result.resolve().hasMember.resolve()).count() => 3
         DiagnosticReport.result.getReferenceKey() => Observation/o1 Observation/o2 Observation/absent
         DiagnosticReport.subject.getReferenceKey(Patient) = getResourceKey() => true
         DiagnosticReport.subject.getReferenceKey(Group) =>
         Observation.first().repeat(hasMember.resolve()).status => amended final
         'Patient/1'.resolve().gender => male",
    );
}

#[test]
fn functions_on_collections_yield_what_the_specification_says() {
    check(
        "name.empty() => false
         address.empty() => true
         name.exists(use = 'usual') => true
         name.exists(use = 'old') => false
         name.all(given.exists()) => true
         (true | false).allTrue() => false
         (true | false).anyTrue() => true
         (true | false).allFalse() => false
         (true | false).anyFalse() => true
         (1 | 2).subsetOf(1 | 2 | 3) => true
         (1 | 2).supersetOf(1 | 2 | 3) => false
         name.count() => 3
         name.given.distinct() => Peter James Jim <string>
         (1 | 1).isDistinct() => true
         (1).combine(1).isDistinct() => false
         name.where(use = 'usual').given => Jim
         name.where($index = 1).given => Jim
         name.select(given.first() & '!') => Peter! Jim! Peter!
         name.first().use => official
         name.last().use => maiden
         name.tail().use => usual maiden
         name.skip(2).use => maiden
         name.skip(-1).count() => 3
         name.take(2).use => official usual
         name.take(0) =>
         name.where(use = 'usual').single().given => Jim
         name.single() => fault at 5: one value is expected…
         name.given.intersect('Jim' | 'Tom') => Jim
         name.given.exclude('Peter').count() => 3
         (1 | 2).union(2 | 3) => 1 2 3
         (1 | 2).combine(2 | 3) => 1 2 2 3
         1 | 2 | 1 => 1 2
         iif(active, 'yes', 'no') => yes
         iif({}, 'yes', 'no') => no
         iif(false, 'yes') =>
         name.first().iif(use = 'official', family, 'none') => Chalmers
         (1 | 2 | 3).aggregate($this + $total, 0) => 6
         (1 | 2 | 3).aggregate(iif($total.empty(), $this, iif($this > $total, $this, $total))) => 3
         name.first().children().count() => 4
         contact.descendants().count() => 6
         active.not() => false
         {}.not() =>",
    );
}

#[test]
fn texts_are_cut_joined_and_asked() {
    check(
        "'合一系统'.length() => 4
         '合一系统'.substring(1, 2) => 一系
         'abc'.substring(3) =>
         'abc'.substring(-1) =>
         'abc'.substring(1, 0).length() => 0
         '合一系统'.indexOf('系') => 2
         'abcabc'.lastIndexOf('b') => 4
         'abc'.indexOf('x') => -1
         'abc'.startsWith('ab') => true
         'abc'.endsWith('bc') => true
         'abc'.contains('b') => true
         'abc'.contains('') => true
         'aBc'.upper() & 'aBc'.lower() => ABCabc
         'a-b-c'.replace('-', '+') => a+b+c
         'abc'.replace('', 'x') => xaxbxcx
         'N8000123123'.matches('^N[0-9]{8}$') => false
         'N8000123123'.matches('N[0-9]{8}') => true
         'abc'.matchesFull('b') => false
         '11/30/1972'.replaceMatches('(\\\\d{2})/(\\\\d{2})/(\\\\d{4})', '$3-$1-$2') => 1972-11-30
         'abc'.toChars() => a b c
         '  a '.trim() => a
         'a,b,,c'.split(',').count() => 4
         ('a' | 'b').join('+') => a+b
         ('a' | 'b').join() => ab
         {}.join(',') =>
         birthDate.substring(0, 4) => 1974
         gender.upper() => MALE
         1.toString().length() => 1
         {}.length() =>
         name.given.upper() => fault at 11: one value is expected…",
    );
}

#[test]
fn values_are_converted_or_absent() {
    check(
        "'1'.toInteger() => 1
         '1.5'.toInteger() =>
         '1.50'.toDecimal() => 1.50
         true.toInteger() => 1
         'x'.toDecimal() =>
         'y'.toBoolean() => true
         'maybe'.toBoolean() =>
         0.toBoolean() => false
         '2015-02-04'.toDate() => 2015-02-04
         @2015-02-04T10:00.toDate() => 2015-02-04
         '2015-02-30'.toDate() =>
         '2015-02-04T10:00Z'.toDateTime() => 2015-02-04T10:00Z
         '14:30'.toTime() => 14:30
         '4 \\'mg\\''.toQuantity() => 4 'mg'
         '4 days'.toQuantity() => 4 day
         '4 mg'.toQuantity() =>
         4.toQuantity() => 4 '1'
         '4 \\'mg\\''.toQuantity('g') =>
         4.5.toString() => 4.5
         Observation.first().value.value.toString() => 1.50
         true.toString() => true
         '1'.convertsToInteger() => true
         'x'.convertsToInteger() => false
         '1.0'.convertsToDecimal() => true
         'no'.convertsToBoolean() => true
         'x'.convertsToDate() => false
         '2015'.convertsToDateTime() => true
         'x'.convertsToTime() => false
         1.convertsToString() => true
         '4 days'.convertsToQuantity() => true
         {}.convertsToInteger() =>",
    );
}

#[test]
fn numbers_are_exact() {
    check(
        "0.1 + 0.2 = 0.3 => true
         7 div 2 => 3
         -7 mod 2 => -1
         1 / 2 => 0.5
         1 / 0 =>
         1 div 0 =>
         9 * 9.0 => 81
         -(-5) => 5
         (-5).abs() => 5
         1.5.ceiling() => 2
         1.5.floor() => 1
         (-1.9).truncate() => -1
         3.14159.round(2) => 3.14
         2.5.round() => 3
         1.0 = 1 => true
         1.0 ~ 1.04 => true
         2 + 3 * 4 - 1 => 13
         -1.abs() => -1
         4 'mg' + 2 'mg' => 6 'mg'
         4 'mg' + 2 'g' =>
         4 'mg' * 2 => 8 'mg'
         4 'mg' / 2 'mg' => 2 '1'
         2147483647 + 1 => 2147483648
         2147483649 => refused at 0: this number is too large
         9223372036 * 9223372036 => refused…",
    );
}

#[test]
fn what_is_unknown_stays_unknown() {
    check(
        "true and {} =>
         false and {} => false
         {} or true => true
         {} or false =>
         true xor {} =>
         true xor false => true
         {} implies true => true
         false implies {} => true
         true implies {} =>
         {} = {} =>
         {} ~ {} => true
         {} != 1 =>
         1 = {} =>
         1 < {} =>
         {} + 1 =>
         {} & 'a' => a
         1 in {} => false
         {} in 1 =>
         1 in (1 | 2) => true
         (1 | 2) contains 3 => false
         (1 | 2) = (1 | 2) => true
         (1 | 2) = (2 | 1) => false
         (1 | 2) ~ (2 | 1) => true
         (1 | 2) != (2 | 1) => true
         'Abc ' ~ 'aBC' => true
         'a' !~ 'b' => true
         name.given = 'Peter' => false
         name[0] = name[0] => true
         name[0] ~ name[1] => false",
    );
}

#[test]
fn dates_are_compared_as_far_as_they_are_known() {
    check(
        "birthDate = @1974-12-25 => true
         birthDate = @1974-12 =>
         birthDate ~ @1974-12 => false
         birthDate > @1974 =>
         birthDate > @1973 => true
         birthDate <= @1974-12-25 => true
         DiagnosticReport.issued > @2024-03-05T01:59:00Z => true
         DiagnosticReport.issued = @2024-03-05T02:00:00.120Z => true
         DiagnosticReport.issued > @2024-03-05 =>
         DiagnosticReport.issued >= @2024-03-04 => true
         @T10:00 < @T10:01 => true
         @2015-01-31 + 1 month => 2015-02-28
         @2015-01-31 - 1 year => 2014-01-31
         @2015-01-31T10:00:00 + 90 minutes => 2015-01-31T11:30:00
         @2015-01-31 + 1 'mg' => fault at 0: a date is moved…
         1 day = 24 hours => true
         1 year = 12 months => true
         1 year = 1 'a' =>
         5 'mg' > 4 'mg' => true
         5 'mg' > 4 'g' =>
         Observation.where(value.ofType(Quantity) > 1 'g/L').id => o1
         birthDate < 'x'.toDate() =>",
    );
}

#[test]
fn operators_bind_as_the_specification_says() {
    check(
        "1 + 2 * 3 = 7 and true or false => true
         true or false and false => true
         1 | 2 = 1 | 2 => true
         1 > 2 = false => true
         'a' + 'b' & 'c' = 'abc' => true
         1 is Integer and 2 is Integer => true
         false implies false implies false => false
         1 in 1 | 2 => true
         // all of it
         1 /* one */ + 1 // two => 2
         @2015.is(Date) => true
         'it\\'s \\u0041\\\\' => it's A\\
         name.where(given.where($this = 'Jim').exists()).use => usual
         `name`.count() => 3
         %`ext-patient-x` => http://hl7.org/fhir/StructureDefinition/patient-x
         %ucum => http://unitsofmeasure.org
         %sct => http://snomed.info/sct
         %loinc => http://loinc.org
         %`vs-x` => http://hl7.org/fhir/ValueSet/x"
            .replace("// all of it\n", "")
            .as_str(),
    );
}

#[test]
fn what_cannot_be_is_refused_at_its_place() {
    check(
        "nmae => refused at 0: Patient has no element nmae (did you mean name?)
         Patient.name.familly => refused at 13: HumanName has no element familly (did you mean family?)
         Patient.name.where(usse = 'x') => refused at 19: HumanName has no element usse (did you mean use?)
         Patiant.name => refused at 0: FHIR has no resource type Patiant (did you mean Patient?)
         Observation.valueQuantity.value => refused at 12: Observation has no element valueQuantity (write value.ofType(Quantity))
         name.wheer(use = 'x') => refused at 5: there is no function wheer() (did you mean where?)
         name.first(1) => refused at 5: first() takes no argument, not 1
         name.where() => refused at 5: where() takes 1 argument, not 0
         now() => refused at 0: now() is not supported: a mapping does not know the time…
         name.trace('x') => refused at 5: trace() is not supported…
         name.memberOf('x') => refused at 5: memberOf() is not supported…
         birthDate.ofType(Quantity) => refused at 17: this is never of type Quantity: it is date
         active.ofType(Boolean) => refused at 14: this is never of type System.Boolean: it is boolean (FHIR's own type is written boolean)
         value is Quantitty => refused at 0: Patient has no element value
         gender is cood => refused at 10: FHIR has no type cood (did you mean code?)
         birthDate = '1974-12-25' => refused at 0: date is never comparable with System.String (dates are written…
         gender = 1 => refused at 0: code is never comparable with System.Integer
         name.where(family) => refused at 11: where() expects a condition that is true or false, and this is string (compare…
         name.upper() => refused at 5: upper() expects a text, and this is HumanName
         name.resolve() => refused at 5: resolve() expects a reference, and this is HumanName
         active.given => refused at 7: boolean has no element given
         'a'.given => refused at 4: System.String has no element given
         %resorce => refused at 0: there is no %resorce (did you mean resource?)
         $index => refused at 0: $index has a meaning only…
         $total => refused at 0: $total has a meaning only…
         $that => refused at 0: there are $this, $index and $total
         name.given.matches('(') => refused at 19: this is no regular expression…
         name.given.matches('(a{999}){999}') => refused at 19: this is no regular expression…
         -name => refused at 0: expected a number here, and this is HumanName
         DiagnosticReport.subject.resolve().nmae => refused at 35: BiologicallyDerivedProduct or Device…",
    );
    check(
        "name. => refused at 5: expected the name of an element or function
         name.where( => refused at 11: the path ends where an expression was expected
         'abc => refused at 0: this has no end: expected '
         'a\\\\q' => a\\q
         'a\\q' => refused at 2: unknown escape; a backslash is written \\\\
         \"a\" => refused at 0: texts are written in single quotes, names in backquotes
         name given => refused at 5: expected an operator or the end of the path
         name[0 => refused at 6: expected ]
         @2015-13 => refused at 0: there is no such date…
         @2015-02-30T10:00 => refused at 0: there is no such point in time…
         @T25 => refused at 0: there is no such time of day…
         1 + => refused at 3: the path ends where an expression was expected
         name.and => refused at 5: expected a name; as a name, and is written `and` in backquotes
         1 /* two => refused at 2: this comment has no end: expected */
         ; => refused at 0: expected an expression here
         姓名 => refused at 0: this character has no meaning here",
    );
}

#[test]
fn what_a_resource_does_not_allow_is_a_fault() {
    check(
        "name.given.substring(0, 1) => fault at 11: one value is expected…
         name.family + 'x' => fault at 0: one value is expected…
         name.where(given = 'x' and given).exists() => false
         name.where(true and given).exists() => fault at 11: one value is expected…
         Observation.value > 1 => fault at 0: one value is expected…
         ValueSet.version is string => fault at 0: the type of this is not known here…
         ValueSet.version is Quantity => false
         ValueSet.compose.include.system => urn:a
         'a' > 1 => fault at 0: numbers are compared with numbers…",
    );
}

#[test]
fn a_condition_yields_true_false_or_says_why_not() {
    let unit = unit();
    let scope = resource(&unit, "Patient");
    let patient = Types::resource("Patient").unwrap();
    let truth = |source: &str| Path::condition_in(source, &patient).unwrap().truth(&scope);
    assert_eq!(truth("active"), Truth::True);
    assert_eq!(truth("active = false"), Truth::False);
    assert_eq!(truth("deceased = true"), Truth::False);
    assert!(matches!(truth("ValueSet.version"), Truth::Unclear(_)));
    assert!(matches!(truth("true | false"), Truth::Unclear(_)));
    let error = Path::condition_in("name", &patient).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a condition must be true or false, and this is HumanName (compare it, or write .exists() behind it)"
    );
}

#[test]
fn a_node_knows_its_place_its_type_and_its_resource() {
    let unit = unit();
    let at = |source: &str| {
        let path = Path::parse(source).unwrap();
        let nodes = path.evaluate(&Scope::focal(&unit)).unwrap();
        let node = nodes.iter().last().unwrap();
        (node.location().unwrap_or_default(), node.type_name().unwrap_or_default())
    };
    let expect = |source: &str, location: &str, kind: &str| assert_eq!(at(source), (location.to_owned(), kind));
    expect("identifier.value", "DiagnosticReport.identifier[1].value", "string");
    expect("Patient.name.given", "Patient.name[2].given[1]", "string");
    expect("Patient.birthDate.extension", "Patient.birthDate.extension[0]", "Extension");
    expect("specimen.resolve().type", "DiagnosticReport.contained[0].type", "CodeableConcept");
    expect("result.resolve().value", "Observation.valueQuantity", "Quantity");
    expect("status & '!'", "", "System.String");
}

#[test]
fn a_path_tells_what_it_asks_for() {
    let mentioned = |source: &str| {
        let path = Path::parse_in(source, &Types::resource("DiagnosticReport").unwrap()).unwrap();
        path.mentioned().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        mentioned("subject.resolve().ofType(Patient).name.where(use = 'official').family"),
        ["DiagnosticReport.subject", "Patient.name", "Patient.name.family", "Patient.name.use"]
    );
    assert_eq!(
        mentioned("result.resolve().value.ofType(Quantity).value"),
        ["DiagnosticReport.result", "Observation.value", "Observation.value.value"]
    );
    assert_eq!(Path::parse("name.given").unwrap().mentioned().collect::<Vec<_>>(), ["name", "name.given"]);
}

#[test]
fn no_path_runs_long_grows_without_end_or_exhausts_the_stack() {
    check(
        "repeat('a') => a
         ('a').repeat($this & $this) => fault…
         (1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9).aggregate($total.combine($total).combine($total).combine($total).combine($total).combine($total).combine($total), $this).count() => fault…
         descendants().select(%resource.descendants()).select(%resource.descendants()).select(%resource.descendants()).count() => fault at 95: the path took more than…
         (1 | 2 | 3).aggregate($total.replace('', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'), 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx').length() => fault…",
    );
    // As deep as it may be, on the stack of a test's thread; and deeper.
    let nested = |depth: usize| {
        [
            format!("{}1{}", "(".repeat(depth), ")".repeat(depth)),
            format!("{}1", "-".repeat(depth)),
            format!("1{}", " + 1".repeat(depth)),
            format!("{}true{}", "%context.name.exists(".repeat(depth), ")".repeat(depth)),
            format!("name{}", "[0]".repeat(depth)),
            format!("{}1{}", "iif(true, ".repeat(depth), ")".repeat(depth)),
        ]
    };
    for source in nested(limits::DEPTH - 3) {
        assert!(!found(&source).starts_with("refused"), "{source}: {}", found(&source));
    }
    for source in nested(5_000).into_iter().chain(nested(300)) {
        let found = found(&source);
        assert!(found.starts_with("refused") || source.starts_with("name[0]"), "{found}");
    }
}

/// Pieces of paths, that invented ones get far.
fn path() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "name",
        "given",
        "Patient",
        "Observation",
        "value",
        "birthDate",
        ".",
        ".",
        ".",
        "(",
        ")",
        "[",
        "]",
        "'a'",
        "1",
        "1.5",
        "@2015",
        "@T10",
        "%resource",
        "$this",
        "$index",
        "$total",
        "{}",
        " and ",
        " | ",
        "=",
        "~",
        "<",
        " is ",
        " as ",
        "Quantity",
        "where(",
        "select(",
        "repeat(",
        "resolve()",
        "extension('x')",
        "first()",
        "count()",
        "-",
        "+",
        "/",
        " mod ",
        "`",
        "'",
        "\\",
        "/*",
        "//",
        "4 days",
        "4 'mg'",
        "iif(",
        ",",
        "matches('",
        "ofType(",
        "replace('','a')",
        "descendants()",
        "children()",
        "合",
        "toString()",
        "toQuantity()",
        "exists(",
        "hasValue()",
        " in ",
        "&",
        "aggregate(",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..14).prop_map(|pieces| pieces.concat())
}

/// Any JSON, of names that paths ask for.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[0-9]{1,40}(\\.[0-9]{1,20})?(e-?[0-9]{1,4})?".prop_map(|text| serde_json::from_str(&text).unwrap_or_default()),
        "\\PC{0,6}|[0-9]{4}-[0-9]{2}(-[0-9]{2})?(T[0-9]{2}:[0-9]{2}(Z)?)?|Patient/1|#1".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let names = prop::sample::select(
            [
                "name",
                "given",
                "_given",
                "valueQuantity",
                "_valueString",
                "value",
                "birthDate",
                "_birthDate",
                "extension",
                "url",
                "reference",
                "subject",
                "resourceType",
                "id",
                "code",
                "unit",
                "contained",
                "result",
                "class",
            ]
            .as_slice(),
        );
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec((names, inner), 0..6).prop_map(|members| {
                let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
                serde_json::Value::Object(members.collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_a_path_or_refused_at_a_place_in_it(source in "\\PC{0,40}") {
        if let Err(error) = Path::parse(&source) {
            prop_assert!(source.is_char_boundary(error.offset) && error.offset + error.length <= source.len() + 1);
        }
    }

    #[test]
    fn any_path_is_evaluated_on_any_resource(source in path(), mut json in json(), name in prop::sample::select(["Patient", "Observation", "ValueSet", "Nonsense"].as_slice())) {
        if let Some(object) = json.as_object_mut() {
            object.insert("resourceType".to_owned(), name.into());
        }
        let Ok(unit) = Unit::from_json(json) else { return Ok(()) };
        let sources = [source.clone(), format!("name.given.{source}"), format!("value{source}"), format!("descendants().{source}")];
        for source in sources {
            match Path::parse(&source) {
                Ok(path) => match path.evaluate(&Scope::focal(&unit)) {
                    Ok(nodes) => for node in &nodes {
                        let _ = (node.text(), node.location());
                    },
                    Err(fault) => prop_assert!(fault.offset + fault.length <= source.len()),
                },
                Err(error) => prop_assert!(source.is_char_boundary(error.offset)),
            }
        }
    }
}
