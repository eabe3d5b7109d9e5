//! What laboratories and registration desks really type, and exactly what becomes of it, through the shipped base mapping. All of
//! it is invented. What is not understood stays text, with a note that says so; nothing is half understood.

#![allow(clippy::panic, clippy::unwrap_used, reason = "all of this file is tests")]

use std::path::Path;
use std::sync::LazyLock;

use heyi::hl7v2::{Charset, Limits, Message};
use heyi::mapping::{Context, Mapped, Mapping};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

static BASE: LazyLock<Mapping> = LazyLock::new(|| {
    let read = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    Mapping::load("mappings/hl7v2.toml", &read).unwrap()
});

fn apply(kind: &str, segments: &str) -> Mapped {
    let text = format!("MSH|^~\\&|LIS||||20240305103000||{kind}|1|P|2.5.1\r{segments}\r");
    let message = Message::parse(text, Charset::Utf8, &Limits::default()).unwrap();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    BASE.apply(&message, &Context { zone: &zone, facility: None, explain: false }).unwrap()
}

fn json(value: &heyi::record::Value) -> Value {
    serde_json::to_value(value).unwrap()
}

/// The one result of a report of one OBX, and whether there was a note.
fn result(sex: &str, kind: &str, value: &str, unit: &str, range: &str) -> (Map<String, Value>, bool) {
    let sent = format!("PID|||P1||||| {sex}\rOBR|1||F1\rOBX|1|{kind}|X||{value}|{unit}|{range}|||F");
    let mapped = apply("ORU^R01", &sent.replace("| ", "|"));
    let results = mapped.records.iter().find_map(|record| record.fields.get("results")).unwrap();
    let Value::Array(results) = json(results) else { panic!("a list") };
    (results[0].as_object().unwrap().clone(), !mapped.notes.is_empty())
}

/// `number 5.6 · comparator < · text`, where a bare `text` is the value as sent; `note` where something was not understood.
fn shown(result: &Map<String, Value>, sent: &str, has_note: bool) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut parts = Vec::new();
    for (name, field) in
        [("number", "value_number"), ("comparator", "comparator"), ("unit", "unit"), ("flags", "flags")]
    {
        if let Some(value) = result.get(field) {
            parts.push(format!("{name} {}", value.get(0).map_or_else(|| plain(value), plain)));
        }
    }
    if let Some(coded) = result.get("value_code") {
        parts.push(format!("code {}", plain(&coded["code"])));
    }
    if let Some(text) = result.get("value_text") {
        parts.push(if *text == *sent { "text".to_owned() } else { format!("text {}", plain(text)) });
    }
    for word in ["abnormal", "critical"] {
        if let Some(truth) = result.get(word) {
            parts.push(if *truth == Value::Bool(true) { word.to_owned() } else { format!("not {word}") });
        }
    }
    if has_note {
        parts.push("note".to_owned());
    }
    parts.join(" · ")
}

fn compare(cases: &[(&str, &str)], found: impl Fn(&str) -> String) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(sent, expected)| (sent, expected, found(sent)))
        .filter(|(_, expected, found)| *expected != found)
        .map(|(sent, expected, found)| format!("{sent}: expected `{expected}`, found `{found}`"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn values_without_a_unit_beside_them() {
    let cases = [
        ("5.6", "number 5.6"),
        ("0.570", "number 0.570"),
        ("-1.25", "number -1.25"),
        ("５．６", "number 5.6"),
        (".5", "number 0.5"),
        ("3.2E+03", "number 3.2e+03"),
        ("0", "number 0"),
        ("+5", "number 5"),
        ("0012345", "text"),
        ("6901234567892001", "text"),
        ("<0.05", "number 0.05 · comparator < · text"),
        ("< 0.05", "number 0.05 · comparator < · text"),
        ("＜0.05", "number 0.05 · comparator < · text"),
        ("﹤0.05", "number 0.05 · comparator < · text"),
        ("≤40", "number 40 · comparator <= · text"),
        ("≥1000", "number 1000 · comparator >= · text"),
        ("≧1000", "number 1000 · comparator >= · text"),
        (">=10", "number 10 · comparator >= · text"),
        ("=>10", "number 10 · comparator >= · text"),
        ("＞1000", "number 1000 · comparator > · text"),
        (">1000↑", "number 1000 · comparator > · flags H · text · abnormal"),
        ("\\T\\lt;0.05", "number 0.05 · comparator < · text"),
        ("\\T\\gt;=200", "number 200 · comparator >= · text"),
        ("小于0.1", "number 0.1 · comparator < · text"),
        ("大于1000", "number 1000 · comparator > · text"),
        ("大于等于1000", "number 1000 · comparator >= · text"),
        ("12.3↑", "number 12.3 · flags H · text · abnormal"),
        ("12.3 ↓", "number 12.3 · flags L · text · abnormal"),
        ("7.9↑↑", "number 7.9 · flags HH · text · abnormal · critical"),
        ("1.1↓↓", "number 1.1 · flags LL · text · abnormal · critical"),
        ("↑12.3", "number 12.3 · flags H · text · abnormal"),
        ("↓ 2.1", "number 2.1 · flags L · text · abnormal"),
        ("12.3(↑)", "number 12.3 · flags H · text · abnormal"),
        ("12.3（↓）", "number 12.3 · flags L · text · abnormal"),
        ("12.3(H)", "number 12.3 · flags H · text · abnormal"),
        ("12.3 [L]", "number 12.3 · flags L · text · abnormal"),
        ("12.3 H", "text · note"),
        ("24H", "text · note"),
        ("12.3 HH", "number 12.3 · flags HH · text · abnormal · critical"),
        ("2 L", "text · note"),
        ("2 LL", "number 2 · flags LL · text · abnormal · critical"),
        ("12.3 高", "number 12.3 · flags H · text · abnormal"),
        ("12.3偏低", "number 12.3 · flags L · text · abnormal"),
        ("12.3 (高)", "number 12.3 · flags H · text · abnormal"),
        ("1.2×10^5", "number 1.2e+5 · text"),
        ("1.20x10⁵", "number 1.20e+5 · text"),
        ("<5.0×10²", "number 5.0e+2 · comparator < · text"),
        ("＜1.00E+02", "number 1.00e+02 · comparator < · text"),
        ("10^6", "number 1e+6 · text"),
        ("12.3%", "number 12.3 · unit % · text"),
        ("56 ％", "number 56 · unit % · text"),
        ("<0.1%", "number 0.1 · comparator < · unit % · text"),
        ("1:80", "text"),
        ("1：160", "text"),
        ("<1:20", "text"),
        ("≥1:1280", "text"),
        ("1:80(+)", "text"),
        ("阳性(1:320)", "text"),
        ("1:100 阳性", "text"),
        ("阴性", "text"),
        ("阴性(-)", "text"),
        ("阴性（－）", "text"),
        ("(-)", "text"),
        ("(-)阴性", "text"),
        ("-(阴性)", "text"),
        ("未检出", "text"),
        ("未见", "text"),
        ("未查见", "text"),
        ("Negative", "text"),
        ("NEG", "text"),
        ("Not Detected", "text"),
        ("弱阳性", "text"),
        ("弱阳性(±)", "text"),
        ("弱阳性(+)", "text"),
        ("±", "text"),
        ("+-", "text"),
        ("+/-", "text"),
        ("(±)", "text"),
        ("可疑", "text"),
        ("微量", "text"),
        ("微量(±)", "text"),
        ("阳性", "text"),
        ("阳性(+)", "text"),
        ("阳性(++)", "text"),
        ("阳性++", "text"),
        ("强阳性", "text"),
        ("+", "text"),
        ("++", "text"),
        ("＋＋＋", "text"),
        ("1+", "text"),
        ("2+", "text"),
        ("+3", "text"),
        ("(2+)", "text"),
        ("检出", "text"),
        ("有反应性", "text"),
        ("0.02(-)", "number 0.02 · flags NEG · text · not abnormal"),
        ("25.6(+)", "number 25.6 · flags POS · text · abnormal"),
        ("0.02 阴性", "number 0.02 · flags NEG · text · not abnormal"),
        ("阳性(25.6)", "number 25.6 · flags POS · text · abnormal"),
        ("阴性:0.05", "number 0.05 · flags NEG · text · not abnormal"),
        ("阴性 <0.05", "number 0.05 · comparator < · flags NEG · text · not abnormal"),
        ("25.6 阳性(+)", "number 25.6 · flags POS · text · abnormal"),
        ("0.9(±)", "number 0.9 · text"),
        ("阳性(-)", "text · note"),
        ("阴性(+)", "text · note"),
        ("阴性(±)", "text · note"),
        ("0.02(-) 阳性", "text · note"),
        ("-", "text"),
        ("--", "text"),
        ("----", "text"),
        ("性", "text"),
        ("见报告", "text"),
        ("溶血", "text"),
        ("标本量不足", "text"),
        ("阳性杆菌", "text"),
        ("大肠埃希菌", "text"),
        ("O型", "text"),
        ("B", "text"),
        ("黄色", "text"),
        ("清亮", "text"),
        ("12.3(重复)", "text · note"),
        ("12.3(见备注)", "text · note"),
        ("12.3*", "number 12.3 · flags A · text · abnormal"),
        ("0-2", "text · note"),
        ("0~3", "text · note"),
        ("3-5/HP", "text · note"),
        ("1,200", "text · note"),
        ("0,123", "text · note"),
        ("1,234,567", "number 1234567 · text"),
        ("12,345.6", "number 12345.6 · text"),
        ("１２，３４５．６", "number 12345.6 · text"),
        (">1,234,567", "number 1234567 · comparator > · text"),
        ("1,23,456", "text · note"),
        ("1.234,5", "text · note"),
        ("1 200", "text · note"),
        ("1'200", "text · note"),
        ("100以上", "number 100 · comparator >= · text"),
        ("100以下", "number 100 · comparator <= · text"),
        ("100及以上", "number 100 · comparator >= · text"),
        ("１００以上", "number 100 · comparator >= · text"),
        ("<100以下", "text · note"),
        ("低于0.1", "number 0.1 · comparator < · text"),
        ("不足5", "number 5 · comparator < · text"),
        ("不超过5", "number 5 · comparator <= · text"),
        ("高于1000", "number 1000 · comparator > · text"),
        ("超过1000", "number 1000 · comparator > · text"),
        ("不低于10", "number 10 · comparator >= · text"),
        ("大于10^5", "number 1e+5 · comparator > · text"),
        ("1.2E5", "number 1.2e+5"),
        ("1.2×10＾5", "number 1.2e+5 · text"),
        ("2.0x10E5", "text · note"),
        ("1e400", "text · note"),
        ("<0.01↓", "number 0.01 · comparator < · flags L · text · abnormal"),
        ("↑5.6↑", "text · note"),
        ("12.3 H↑", "text · note"),
        ("5.6*", "number 5.6 · flags A · text · abnormal"),
        ("*5.6", "text"),
        ("5.6?", "text · note"),
        ("5.6±0.3", "text · note"),
        ("~5", "text · note"),
        ("3～5", "text · note"),
        ("1+~2+", "text · note"),
        ("0.5‰", "text · note"),
        ("见图", "text"),
        ("<检出限", "text · note"),
        ("低于检出限", "text · note"),
        ("<LOD", "text · note"),
        ("N^阴性^L", "text"),
        ("阴性1:20", "text"),
        ("TNTC", "text"),
        ("NaN", "text"),
        ("12，3", "text · note"),
        ("5.6.7", "text · note"),
        ("5 6", "text · note"),
        ("1/80", "text · note"),
        ("<低", "text · note"),
        (">", "text · note"),
        ("↑", "text · note"),
        ("5.6 mmol/L", "text · note"),
        ("10^3-10^4", "text · note"),
        ("2024-03-05", "text · note"),
        ("3+5", "text · note"),
        ("5+", "text · note"),
        ("约5", "text"),
        ("O.5", "text"),
    ];
    compare(&cases, |sent| {
        let (result, has_note) = result("", "ST", sent, "", "");
        shown(&result, &sent.replace("\\T\\", "&"), has_note)
    });
}

#[test]
fn values_with_their_unit_and_range() {
    let cases = [
        ("NM|5.6|g/L|3.5-9.5", "number 5.6 · unit g/L · not abnormal"),
        ("NM|12.3|g/L|3.5-9.5", "number 12.3 · unit g/L · abnormal"),
        ("ST|2 L|g/L|3.5-9.5", "number 2 · unit g/L · flags L · text · abnormal"),
        ("ST|2.1L|mmol/L|", "number 2.1 · unit mmol/L · flags L · text · abnormal"),
        ("ST|2 L|L|", "number 2 · unit L · text"),
        ("ST|12.3 H|mmol/L|", "number 12.3 · unit mmol/L · flags H · text · abnormal"),
        ("ST|12.3H|mmol/L|", "number 12.3 · unit mmol/L · flags H · text · abnormal"),
        ("ST|24H|h|", "unit h · text · note"),
        ("NM|15|10^9/L|3.5-9.5×10^9", "number 15 · unit 10*9/L · note"),
        ("NM|15|10^9/L|4.0-10.0*10^9", "number 15 · unit 10*9/L · note"),
        ("NM|15|10^9/L|3.5×10⁹-9.5×10⁹", "number 15 · unit 10*9/L · note"),
        ("NM|5e+9|/L|3.5×10^9-9.5×10^9", "number 5e+9 · unit /L · not abnormal"),
        ("ST|5.2×10^9|10^9/L|4-10", "unit 10*9/L · text · note"),
        ("ST|5.2×10⁹|10⁹/L|4-10", "unit 10*9/L · text · note"),
        ("ST|5.6mmol/L|mmol/L|3.9-6.1", "number 5.6 · unit mmol/L · text · not abnormal"),
        ("ST|5.6 mmol/L|mmol/L|3.9-6.1 mmol/L", "number 5.6 · unit mmol/L · text · not abnormal"),
        ("ST|5.6 mmol/L|mg/dL|3.9-6.1", "unit mg/dL · text · note"),
        ("ST|<0.05|ng/mL|<0.5", "number 0.05 · comparator < · unit ng/mL · text · not abnormal"),
        ("ST|<0.05 ng/mL|ng/mL|0-0.5", "number 0.05 · comparator < · unit ng/mL · text · not abnormal"),
        ("NM|>1000|ng/mL|0-500", "number 1000 · comparator > · unit ng/mL · text · abnormal"),
        ("NM|阴性||阴性", "text · not abnormal"),
        ("NM|+2||", "number 2"),
        ("ST|阳性(+)||阴性", "text · abnormal"),
        ("ST|弱阳性||阴性或弱阳性", "text · not abnormal"),
        ("ST|2+||阴性(-)", "text · abnormal"),
        ("ST|1:160||<1:80", "text · abnormal"),
        ("ST|1:40||＜1:80", "text · not abnormal"),
        ("ST|0.02(-)|S/CO|<1.0", "number 0.02 · unit {s_co_ratio} · flags NEG · text · not abnormal"),
        ("ST|25.6(+)|COI|阴性(<1.0)", "number 25.6 · unit {cutoff_index} · flags POS · text · abnormal"),
        ("ST|56%|%|50-70", "number 56 · unit % · text · not abnormal"),
        ("ST|45.2|%|20%-40%", "number 45.2 · unit % · abnormal"),
        ("SN|>^100|mg/L|0-50", "number 100 · comparator > · unit mg/L · text >100 · abnormal"),
        ("SN|^1^:^80||1:40", "text 1:80 · abnormal"),
        ("SN|^2^-^10|/HP|", "unit /[HPF] · text 2-10"),
        ("NM|3.5^^|g/L|", "number 3.5 · unit g/L"),
        ("ST|1.2×10^5|copies/mL|<5.0×10^2", "number 1.2e+5 · unit {copies}/mL · text · abnormal"),
        ("DT|20240305||", "text 2024-03-05"),
        ("TS|202403051030||", "text 2024-03-05T10:30:00+08:00"),
        ("DTM|2024||", "text"),
        ("DT|不详||", "text · note"),
        ("TM|1015||", "text 10:15"),
        ("TM|101530.5+0800||", "text 10:15:30.5+08:00"),
        ("TM|上午||", "text · note"),
        ("DR|20240301^20240305||", "text 2024-03-01 - 2024-03-05"),
        ("NR|3^5||", "text 3-5"),
        ("NR|^5||", "text <=5"),
        ("NR|5.6||", "text · note"),
        ("NR|阴性||", "text · note"),
        ("MO|免费||", "text · note"),
        ("MO|100.5^CNY||", "text 100.5 CNY"),
        ("XPN|王^小明^^^^^L||", "text 王小明"),
        ("XCN|D1^王^医生||", "text 王医生 (D1)"),
        ("XAD|中山路1号^^南京市^江苏省||", "text 江苏省南京市中山路1号"),
        ("XTN|^WPN^PH^^^025^88886666||", "text 025-88886666"),
        ("XTN|^NET^Internet^a@example.org||", "text a@example.org"),
        ("XON|南京医院^L^77||", "text 南京医院 (77)"),
        ("CX|123^^^HOSP^MR||", "text 123 (HOSP)"),
        ("CX|^^^HOSP^MR||", "text · note"),
        ("SN|=^0.5||", "number 0.5"),
        ("SN|>^1,234,567||", "number 1234567 · comparator > · text >1,234,567"),
        ("ST|5mmol/L以上|mmol/L|", "number 5 · comparator >= · unit mmol/L · text"),
        ("TX|双肺纹理增粗~建议复查||", "text 双肺纹理增粗\n建议复查"),
        ("ED|^application^pdf^Base64^JVBERi0||", "note"),
        ("CE|B^B型^L||", "code B"),
        ("CE|阴性||阴性", "text · not abnormal"),
        ("CE|P^阳性^L||阴性", "code P · abnormal"),
        ("CE|N^阴性^L||N^阴性^L", "code N · not abnormal"),
        ("ST|阳性||N^阴性^L", "text · abnormal"),
        ("CE|B^B型^L||阴性", "code B"),
        ("ST|阳性||阴性/阳性", "text · note"),
    ];
    compare(&cases, |sent| {
        let fields: Vec<&str> = sent.split('|').collect();
        let (result, has_note) = result("", fields[0], fields[1], fields[2], fields[3]);
        shown(&result, fields[1], has_note)
    });
}

/// `low..high` of a range, `text` where only the text is held; `note` as above.
fn range_of(sex: &str, unit: &str, sent: &str) -> String {
    let (result, has_note) = result(sex, "NM", "1", unit, sent);
    let range = result["reference_range"].as_object().unwrap();
    assert_eq!(range["text"], sent.replace("\\T\\", "&"), "the text is held as sent");
    let limit = |name| range.get(name).map_or_else(String::new, Value::to_string);
    let limits = if range.len() == 1 { "text".to_owned() } else { format!("{}..{}", limit("low"), limit("high")) };
    if has_note { format!("{limits} · note") } else { limits }
}

#[test]
fn ranges_for_anybody() {
    let cases = [
        ("3.5~9.5", "3.5..9.5"),
        ("3.5～9.5", "3.5..9.5"),
        ("3.5-9.5", "3.5..9.5"),
        ("3.5－9.5", "3.5..9.5"),
        ("3.5--9.5", "3.5..9.5"),
        ("3.5—9.5", "3.5..9.5"),
        ("3.5——9.5", "3.5..9.5"),
        ("3.5–9.5", "3.5..9.5"),
        ("3.5 - 9.5", "3.5..9.5"),
        ("3.5至9.5", "3.5..9.5"),
        ("3.5到9.5", "3.5..9.5"),
        ("3.5 to 9.5", "3.5..9.5"),
        ("３．５－９．５", "3.5..9.5"),
        ("(3.5-9.5)", "3.5..9.5"),
        ("[3.5-9.5]", "3.5..9.5"),
        ("【3.5-9.5】", "3.5..9.5"),
        ("0-0.5", "0..0.5"),
        ("0.00～5.00", "0.00..5.00"),
        ("-2.0~3.0", "-2.0..3.0"),
        ("-2.0-3.0", "-2.0..3.0"),
        ("-5--2", "text · note"),
        ("<5.0", "..5.0"),
        ("＜5.0", "..5.0"),
        ("\\T\\lt;5.0", "..5.0"),
        ("≤40", "..40"),
        (">60", "60.."),
        ("≥ 60", "60.."),
        ("小于5", "..5"),
        ("<1:80", "text"),
        ("1:40", "text"),
        ("<5.0×10²", "..5.0e+2"),
        ("阴性", "text"),
        ("阴性(-)", "text"),
        ("(-)", "text"),
        ("Negative", "text"),
        ("阴性或弱阳性", "text"),
        ("未检出", "text"),
        ("阴性(<1.0)", "..1.0"),
        ("<1.0(阴性)", "..1.0"),
        ("阴性:<0.05", "..0.05"),
        ("-", "text"),
        // Nobody has entered one.
        ("0.00-0.00", "text"),
        ("0-0", "text"),
        ("--", "text"),
        ("/", "text"),
        ("无", "text"),
        ("3.5-9.5 g/L", "3.5..9.5"),
        ("3.5g/L-9.5g/L", "3.5..9.5"),
        ("3.5-9.5 mg/dL", "text · note"),
        ("9.5-3.5", "text · note"),
        ("3.5", "text · note"),
        ("3.5,9.5", "text · note"),
        ("见说明", "text · note"),
        ("男:120-160 女:110-150", "text · note"),
        ("新生儿:170-200 成人:120-160", "text · note"),
        ("0-14岁:4-10;15岁以上:3.5-9.5", "text · note"),
        ("卵泡期1.2-9.0 排卵期9.0-22.0 黄体期0.4-12.6", "text · note"),
        ("空腹3.9-6.1 餐后<7.8", "text · note"),
        ("缺乏:<20 不足:20-30 充足:>30", "text · note"),
        ("<5.0 低危", "text · note"),
        ("5.0以下", "..5.0"),
        ("5.0g/L以下", "..5.0"),
        ("60及以上", "60.."),
        ("不超过40", "..40"),
        ("低于5.0", "..5.0"),
        ("1,000.0-2,500.0", "1000.0..2500.0"),
        ("1,200-2,500", "text · note"),
        ("60岁以上", "text · note"),
        ("成人5.0以下", "text · note"),
        ("弱阳性以下", "text · note"),
        ("N^阴性^L", "text"),
        ("N^见说明^L", "text · note"),
    ];
    compare(&cases, |sent| range_of("", "g/L", sent));
}

#[test]
fn ranges_by_sex() {
    let cases = [
        ("M|男:120-160 女:110-150", "120..160"),
        ("F|男:120-160 女:110-150", "110..150"),
        ("U|男:120-160 女:110-150", "text · note"),
        ("F|男：13.0～17.5；女：12.0～15.5", "12.0..15.5"),
        ("M|女性110-150,男性120-160", "120..160"),
        ("F|120-160(男) 110-150(女)", "110..150"),
        ("M|M:120-160/F:110-150", "120..160"),
        ("F|Male 120-160; Female 110-150", "110..150"),
        ("M|男<10;女<15", "..10"),
        ("F|男:0-15g/L 女:0-20g/L", "0..20"),
        ("M|男 3.5-9.5\\.br\\女 3.0-8.0", "3.5..9.5"),
        ("F|男:120-160 女:见说明", "text · note"),
        ("F|男:120-160 女:110-150 孕妇:100-140", "text · note"),
        ("M|男:120-160", "text · note"),
    ];
    compare(&cases, |sent| {
        let (sex, range) = sent.split_once('|').unwrap();
        let (result, has_note) = result(sex, "NM", "1", "g/L", range);
        let limits = &result["reference_range"];
        let limit = |name| limits.get(name).map_or_else(String::new, Value::to_string);
        let shown = format!("{}..{}", limit("low"), limit("high"));
        let shown = if shown == ".." { "text".to_owned() } else { shown };
        if has_note { format!("{shown} · note") } else { shown }
    });
}

#[test]
fn units() {
    let cases = [
        ("10^9/L", "10*9/L"),
        ("×10^9/L", "10*9/L"),
        ("×10⁹/L", "10*9/L"),
        ("x10^9/L", "10*9/L"),
        ("X 10^9 / L", "10*9/L"),
        ("10*9/L", "10*9/L"),
        ("*10^12/L", "10*12/L"),
        ("10E12/L", "10*12/L"),
        ("10^12/L^^ISO+", "10*12/L"),
        ("10\\S\\9/L", "10*9/L"),
        ("10^3/uL", "10*3/uL"),
        ("10^3/μl", "10*3/uL"),
        ("umol/L", "umol/L"),
        ("μmol/L", "umol/L"),
        ("µmol/L", "umol/L"),
        ("umol/l", "umol/L"),
        ("UMOL/L", "umol/L"),
        ("mmol/L", "mmol/L"),
        ("ｍｍｏｌ／Ｌ", "mmol/L"),
        ("IU/ml", "[IU]/mL"),
        ("mIU/mL", "m[IU]/mL"),
        ("uIU/ml", "u[IU]/mL"),
        ("μIU/mL", "u[IU]/mL"),
        ("U/L", "U/L"),
        ("%", "%"),
        ("％", "%"),
        ("g/L", "g/L"),
        ("G/L", "G/L"),
        ("㎎/L", "mg/L"),
        ("mg/dl", "mg/dL"),
        ("pg/ml", "pg/mL"),
        ("fl", "fL"),
        ("mm/h", "mm/h"),
        ("mm/1h", "mm/h"),
        ("个/HP", "/[HPF]"),
        ("/HPF", "/[HPF]"),
        ("个/μL", "/uL"),
        ("copies/ml", "{copies}/mL"),
        ("S/CO", "{s_co_ratio}"),
        ("mL/min/1.73m²", "mL/min/{1.73_m2}"),
        ("mg/L FEU", "mg/L{FEU}"),
        ("℃", "Cel"),
        ("次/分", "/min"),
        ("mmHg", "mm[Hg]"),
        ("mmHg^毫米汞柱^LOCAL", "mm[Hg]"),
        ("岁", "a"),
        ("mg/24h", "mg/(24.h)"),
        ("mOsm/kg", "mosm/kg"),
        ("自定义", "自定义"),
    ];
    compare(&cases, |sent| result("", "NM", "1", sent, "").0["unit"].as_str().unwrap().to_owned());
}

/// A field of the one patient of an admission, or why it is not there.
fn patient(pid: &str, field: &str) -> String {
    let mapped = apply("ADT^A01", &format!("PID|{pid}"));
    let found = mapped.records[0].fields.get(field).map(json);
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown = match found {
        Some(Value::Array(list)) => list.iter().map(|item| plain(&item["value"])).collect::<Vec<_>>().join(" + "),
        Some(value) => plain(&value),
        None if mapped.rejected.is_empty() => "absent".to_owned(),
        None => "left out".to_owned(),
    };
    if mapped.notes.is_empty() { shown } else { format!("{shown} · note") }
}

#[test]
fn names() {
    let cases = [
        ("张伟", "张伟"),
        ("张^伟", "张伟"),
        ("张 伟", "张伟"),
        ("张　伟", "张伟"),
        ("张^　伟", "张伟"),
        ("欧阳^娜娜^^^^^L", "欧阳娜娜"),
        ("阿卜杜拉·买买提", "阿卜杜拉·买买提"),
        ("阿卜杜拉•买买提", "阿卜杜拉·买买提"),
        ("阿卜杜拉．买买提", "阿卜杜拉·买买提"),
        ("阿卜杜拉 · 买买提", "阿卜杜拉·买买提"),
        ("王芳之子", "王芳之子"),
        ("王芳^之女", "王芳之女"),
        ("ZHANG^WEI", "WEI ZHANG"),
        ("ＺＨＡＮＧ^ＷＥＩ", "WEI ZHANG"),
        ("Zhang Wei", "Zhang Wei"),
        ("Zhang  Wei", "Zhang Wei"),
        ("Smith^John^Q^III^Dr", "John Q Smith III"),
        ("O'Neil^Mary-Ann", "Mary-Ann O'Neil"),
        ("ZHANG^WEI^^^^^L^A~张^伟^^^^^L^I", "张伟"),
        ("Zhang^Wei^^^^^L~张^伟^^^^^M", "Wei Zhang"),
        ("张伟(男)", "张伟(男)"),
        ("龍䶮", "龍䶮"),
        ("無名氏", "無名氏"),
        ("^^^", "absent"),
    ];
    compare(&cases, |sent| patient(&format!("||P1||{sent}"), "name"));
}

#[test]
fn phones() {
    let cases = [
        ("13800001234", "13800001234"),
        ("138 0000 1234", "13800001234"),
        ("138-0000-1234", "13800001234"),
        ("１３８００００１２３４", "13800001234"),
        ("+8613800001234", "13800001234"),
        ("+86 138 0000 1234", "13800001234"),
        ("+86-13800001234", "13800001234"),
        ("008613800001234", "13800001234"),
        ("8613800001234", "13800001234"),
        ("(86)13800001234", "13800001234"),
        ("0755-86123456", "0755-86123456"),
        ("0755 86123456", "0755-86123456"),
        ("(0755)86123456", "0755-86123456"),
        ("（010）62345678", "010-62345678"),
        ("+86-10-62345678", "010-62345678"),
        ("+86 (0)10 62345678", "+86(0)1062345678"),
        ("0755-86123456转801", "0755-86123456-801"),
        ("0755-86123456-801", "0755-86123456-801"),
        ("0755-86123456 ext. 801", "0755-86123456-801"),
        ("86123456", "86123456"),
        ("95598", "95598"),
        ("400-820-8820", "400-820-8820"),
        ("+1 555 123 4567", "+15551234567"),
        ("(555)555-5555^PRN^PH", "(555)555-5555"),
        ("^PRN^PH^^86^755^86123456^801", "0755-86123456-801"),
        ("^PRN^CP^^86^^13800001234", "13800001234"),
        ("13800001234/13900001234", "13800001234/13900001234 · note"),
        ("13800001234(母亲)", "13800001234(母亲) · note"),
        ("无", "absent"),
        ("a@example.org^NET", "absent"),
    ];
    compare(&cases, |sent| patient(&format!("||P1||||||||||{sent}"), "phones"));
}

#[test]
fn resident_numbers() {
    let cases = [
        ("11010519491231002X", "11010519491231002X"),
        ("11010519491231002x", "11010519491231002X"),
        ("１１０１０５１９４９１２３１００２Ｘ", "11010519491231002X"),
        ("110105 19491231 002X", "11010519491231002X"),
        ("110105-19491231-002X", "11010519491231002X"),
        ("110105491231002", "11010519491231002X"),
        ("11010519491231002", "11010519491231002X"),
        ("1101051949123100210", "11010519491231002X"),
        ("110101199003073458", "110101199003073458"),
        ("110105194912310021", "110105194912310021 · note"),
        ("110105199913310025", "110105199913310025 · note"),
        ("1101051949123100", "1101051949123100 · note"),
        ("无", "无 · note"),
    ];
    compare(&cases, |sent| patient(&format!("||P1~{sent}^^^^01"), "identifiers").replacen("P1 + ", "", 1));
}

#[test]
fn dates() {
    let cases = [
        ("19900305", "1990-03-05"),
        ("1990-03-05", "1990-03-05"),
        ("1990/3/5", "1990-03-05"),
        ("1990.03.05", "1990-03-05"),
        ("1990年3月5日", "1990-03-05"),
        ("1990年3月", "1990-03"),
        ("1990", "1990"),
        ("199003", "1990-03"),
        ("19900000", "1990"),
        ("19900300", "1990-03"),
        ("19900305103000", "1990-03-05"),
        ("１９９００３０５", "1990-03-05"),
        ("00000000", "absent"),
        ("00010101", "left out"),
        ("99991231", "left out"),
        ("19901305", "left out"),
        ("35岁", "left out"),
    ];
    compare(&cases, |sent| patient(&format!("||P1||||{sent}"), "birth_date"));
}

#[test]
fn points_in_time() {
    let cases = [
        ("20240305103000", "2024-03-05T10:30:00+08:00"),
        ("202403051030", "2024-03-05T10:30:00+08:00"),
        ("2024030510", "2024-03-05T10:00:00+08:00"),
        ("20240305", "2024-03-05"),
        ("20240305103000.123", "2024-03-05T10:30:00.123+08:00"),
        ("20240305103000+0900", "2024-03-05T10:30:00+09:00"),
        ("20240305023000Z", "2024-03-05T02:30:00+00:00"),
        ("2024-03-05 10:30:00", "2024-03-05T10:30:00+08:00"),
        ("2024-03-05T10:30:00+08:00", "2024-03-05T10:30:00+08:00"),
        ("2024/3/5 8:05", "2024-03-05T08:05:00+08:00"),
        ("2024年3月5日 10时30分", "2024-03-05T10:30:00+08:00"),
        ("2024年3月5日10:30", "2024-03-05T10:30:00+08:00"),
        ("19880701080000", "1988-07-01T08:00:00+09:00"),
        ("20240305240000", "left out"),
    ];
    compare(&cases, |sent| patient(&format!("||P1||||||||||||||||||||||||||{sent}"), "deceased_at"));
}
