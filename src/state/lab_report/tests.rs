use crate::record::{Value, json};
use proptest::prelude::*;

use super::*;

/// One message, written `time report-status code=value:result-status …`. `-` is no status; a value may end in `!` (critical).
/// A code may have a sub-id (`CULT.1=…`). Arrival is the message's place in the history.
fn message(text: &str) -> (i64, Fields) {
    let mut words = text.split_whitespace();
    let time = words.next().unwrap();
    let mut patch = Fields::new();
    patch.insert("filler_order_number", json!("L1"));
    patch.insert("updated_at", json!(format!("2024-03-05T{time:0>2}:00:00+08:00")));
    patch.insert("conclusion", json!(format!("as of {time}")));
    match words.next() {
        Some("-") | None => {}
        Some(status) => drop(patch.insert("status", json!(long(status)))),
    }
    let results: Vec<Value> = words.map(result).collect();
    if !results.is_empty() {
        patch.insert("results", json!(results));
    }
    (time.parse().unwrap(), patch)
}

fn result(text: &str) -> Value {
    let (code, rest) = text.split_once('=').unwrap();
    let (value, status) = rest.split_once(':').unwrap_or((rest, ""));
    let (code, sub_id) = code.split_once('.').map_or((code, None), |(code, sub_id)| (code, Some(sub_id)));
    let mut result = json!({"code": code});
    let object = result.as_object_mut().unwrap();
    if let Some(sub_id) = sub_id {
        object.insert("sub_id", json!(sub_id));
    }
    if !status.is_empty() {
        object.insert("status", json!(long(status)));
    }
    let (value, critical) = value.strip_suffix('!').map_or((value, false), |value| (value, true));
    if !value.is_empty() {
        object.insert("value_number", serde_json::from_str(value).unwrap());
        object.insert("critical", json!(critical));
        object.insert("abnormal", json!(critical));
    }
    result
}

/// Statuses by their letters in OBX-11.
fn long(letter: &str) -> &'static str {
    match letter {
        "F" => "final",
        "P" => "preliminary",
        "C" => "corrected",
        "D" => "entered_in_error",
        "X" => "cancelled",
        "U" => "final_without_value",
        "A" => "partial",
        "I" => "registered",
        other => panic!("no such status: {other}"),
    }
}

fn run<'a>(messages: impl IntoIterator<Item = (usize, &'a str)>) -> (LabReportState, Vec<&'static str>) {
    let mut state = LabReportState::default();
    let mut events = Vec::new();
    for (arrival, text) in messages {
        let (at, patch) = message(text);
        let applied = state.apply(patch, Moment { at, arrival: arrival as i64 });
        assert_eq!(applied.changed.is_empty(), applied.happenings.is_empty());
        assert_eq!(applied.record, state.record());
        events.extend(applied.happenings.iter().map(|happening| happening.kind.name().trim_start_matches("lab.")));
    }
    (state, events)
}

/// The report's status, then each result as `code=value:status`, `!` where critical.
fn shown(state: &LabReportState) -> String {
    let record = state.record();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("-").to_owned();
    let critical = |fields: &Fields| if fields.get("critical") == Some(&json!(true)) { "!" } else { "" };
    let mut words = vec![format!("{}{}", text(record.get("status")), critical(&record))];
    for result in record.get("results").and_then(Value::as_array).into_iter().flatten() {
        let result = result.as_object().unwrap();
        let sub_id = result.get("sub_id").map(|sub_id| format!(".{}", sub_id.as_str().unwrap())).unwrap_or_default();
        let value = result.get("value_number").map(Value::to_string).unwrap_or_default();
        let (code, status) = (text(result.get("code")), text(result.get("status")));
        words.push(format!("{code}{sub_id}={value}{}:{status}", critical(result)));
    }
    words.join(" ")
}

/// A history in the order of arrival, what it ends in, and the events it makes. The reverse order must end in the same, and
/// the whole history once more must make no event.
fn check(history: &[&str], expected: &str, expected_events: &[&str]) {
    let messages: Vec<(usize, &str)> = history.iter().copied().enumerate().collect();
    let (state, events) = run(messages.clone());
    assert_eq!(shown(&state), expected, "{history:?}");
    assert_eq!(events, expected_events, "{history:?}");
    let (backwards, _) = run(messages.iter().rev().copied());
    assert_eq!(backwards, state, "{history:?}");
    let (_, again) = run(messages.iter().chain(&messages).copied());
    assert_eq!(again, events, "a repeat made an event: {history:?}");
}

#[test]
fn a_report_from_announcement_to_final() {
    check(
        &["1 I", "2 P WBC=5.1:P", "3 F WBC=5.2:F RBC=4.0:F"],
        "final WBC=5.2:final RBC=4.0:final",
        &["registered", "preliminary", "resulted"],
    );
    check(&["1 A WBC=5.1:F RBC=:I", "2 F RBC=4:F"], "final WBC=5.1:final RBC=4:final", &["preliminary", "resulted"]);
}

#[test]
fn a_preliminary_message_after_the_final_one_is_history() {
    check(&["3 F WBC=5.2:F", "5 P WBC=9.9:P"], "final WBC=5.2:final", &["resulted"]);
    let (state, _) = run([(0, "3 F WBC=5.2:F"), (1, "5 P WBC=9.9:P RBC=4:P")]);
    assert_eq!(shown(&state), "final WBC=5.2:final RBC=4:preliminary", "what is missing is filled");
    assert_eq!(state.record()["conclusion"], "as of 3");
}

#[test]
fn a_correction_replaces_and_the_report_is_corrected() {
    check(
        &["1 F WBC=5.2:F RBC=4:F", "2 F WBC=6.2:C"],
        "corrected WBC=6.2:corrected RBC=4:final",
        &["resulted", "corrected"],
    );
    check(&["2 C WBC=6.2:C", "1 F WBC=5.2:F"], "corrected WBC=6.2:corrected", &["corrected"]);
    // Many laboratories leave OBR-22 as it was.
    check(&["1 C WBC=6.2:C", "1 F WBC=5.2:F"], "corrected WBC=6.2:corrected", &["corrected"]);
    // The report says so, its results do not.
    check(&["1 F WBC=5.2:F", "2 C WBC=6.2:F"], "corrected WBC=6.2:final", &["resulted", "corrected"]);
}

#[test]
fn final_without_value_keeps_the_value_held() {
    check(&["1 P WBC=5.1:P", "2 F WBC=:U"], "final WBC=5.1:final", &["preliminary", "resulted"]);
    check(&["2 F WBC=:U", "1 P WBC=5.1:P"], "final WBC=5.1:final", &["resulted", "resulted"]);
    // What is preliminary after it is history, whichever comes first.
    check(
        &["1 P WBC=5.1:P", "3 P WBC=7:P", "2 F WBC=:U"],
        "final WBC=5.1:final",
        &["preliminary", "preliminary", "resulted"],
    );
    // What has a word of its own on the value stands against it.
    check(&["1 F WBC=5.1:F", "2 F WBC=:U"], "final WBC=5.1:final", &["resulted", "resulted"]);
    check(&["1 F WBC=5.1:F", "3 F WBC=:X", "2 F WBC=:U"], "final WBC=:cancelled", &["resulted", "resulted"]);
}

#[test]
fn what_is_cancelled_or_entered_in_error_has_no_value() {
    check(
        &["1 F WBC=5.1!:F RBC=4:F", "2 F WBC=5.1!:X"],
        "final WBC=:cancelled RBC=4:final",
        &["resulted", "critical", "resulted"],
    );
    check(&["1 F WBC=5.1:F", "2 C WBC=5.1:D"], "corrected WBC=:entered_in_error", &["resulted", "corrected"]);
    check(&["1 F WBC=5.1!:F", "2 X"], "cancelled WBC=5.1!:final", &["resulted", "critical", "cancelled"]);
    check(&["1 - WBC=1:I"], "registered WBC=:registered", &["registered"]);
}

#[test]
fn a_report_without_a_status_has_the_one_of_its_results() {
    check(&["1 - WBC=5.1:F RBC=4:P"], "partial WBC=5.1:final RBC=4:preliminary", &["preliminary"]);
    check(&["1 - WBC=5.1:F"], "final WBC=5.1:final", &["resulted"]);
    check(&["1 - WBC=5.1"], "- WBC=5.1:-", &["registered"]);
    check(&["1 -"], "-", &["registered"]);
    // Announced with a status, resulted without.
    check(&["1 I", "2 - WBC=5.1:F"], "final WBC=5.1:final", &["registered", "resulted"]);
    // More is to come, says the report.
    check(&["1 P WBC=5.1:F"], "preliminary WBC=5.1:final", &["preliminary"]);
}

#[test]
fn a_result_without_a_status_has_the_one_of_its_report() {
    check(&["1 F WBC=5.1"], "final WBC=5.1:final", &["resulted"]);
    check(&["1 A WBC=5.1"], "partial WBC=5.1:preliminary", &["preliminary"]);
    check(&["1 F WBC=5.1", "2 P WBC=6"], "final WBC=5.1:final", &["resulted"]);
}

#[test]
fn results_are_told_apart_by_code_sub_id_and_ordinal() {
    check(
        &["1 F CULT.1=1:F CULT.2=2:F NOTE=1:F NOTE=2:F", "2 C NOTE=1:F NOTE=7:C", "3 F CULT.2=5:C"],
        "corrected CULT.1=1:final CULT.2=5:corrected NOTE=1:final NOTE=7:corrected",
        &["resulted", "corrected", "corrected"],
    );
}

#[test]
fn results_keep_the_order_of_their_first_message_and_missing_ones_stay() {
    check(
        &["2 F C=3:F A=1:F", "1 P B=2:P C=1:P"],
        "final B=2:preliminary C=3:final A=1:final",
        &["resulted", "resulted"],
    );
}

#[test]
fn a_whole_statement_leaves_nothing_of_what_was_said_before() {
    let mut state = LabReportState::default();
    let whole = |state: &mut LabReportState, text: &str, arrival| {
        let (at, patch) = message(text);
        let happened = state.apply_whole(patch, Moment { at, arrival }).happenings;
        happened.iter().map(|happening| happening.kind.name()).collect::<Vec<_>>()
    };
    assert_eq!(whole(&mut state, "1 F WBC=5:F HGB=99!:F", 1), ["lab.resulted", "lab.critical"]);
    // Preliminary again, and a result is gone from the server.
    assert_eq!(whole(&mut state, "2 P WBC=5:P", 2), ["lab.preliminary"]);
    assert_eq!(shown(&state), "preliminary WBC=5:preliminary");
    // The same again, and what is older, say nothing new.
    assert_eq!(whole(&mut state, "2 P WBC=5:P", 3), Vec::<&str>::new());
    assert_eq!(whole(&mut state, "1 F WBC=7:F", 1), Vec::<&str>::new());
    // What is critical is announced when it appears, not each time it is said.
    assert_eq!(whole(&mut state, "3 F HGB=99!:F", 4), ["lab.resulted", "lab.critical"]);
    assert_eq!(whole(&mut state, "4 F HGB=99!:F WBC=5:F", 5), ["lab.resulted"]);
}

#[test]
fn a_critical_value_is_announced_once() {
    check(&["1 P K=7.1!:P", "2 F K=7.10!:F"], "final! K=7.10!:final", &["preliminary", "critical", "resulted"]);
    check(
        &["1 P K=7.1!:P", "2 F K=7.4!:F"],
        "final! K=7.4!:final",
        &["preliminary", "critical", "resulted", "critical"],
    );
    check(&["2 F K=4:F", "1 P K=7.1!:P"], "final K=4:final", &["resulted"]);
    check(
        &["1 F K=7.1!:F", "2 C K=4:C", "3 C K=7.1!:C"],
        "corrected! K=7.1!:corrected",
        &["resulted", "critical", "corrected", "corrected", "critical"],
    );
}

#[test]
fn abnormal_is_known_only_if_a_result_says_so() {
    let record = |results: Value| {
        let patch = json!({"status": "final", "results": results}).as_object().unwrap().clone();
        LabReportState::default().apply(patch, Moment { at: 1, arrival: 1 }).record.get("abnormal").cloned()
    };
    assert_eq!(record(json!([{"code": "A"}])), None);
    assert_eq!(record(json!([{"code": "A"}, {"code": "B", "abnormal": false}])), Some(json!(false)));
    assert_eq!(record(json!([{"code": "A", "abnormal": true}, {"code": "B", "abnormal": false}])), Some(json!(true)));
}

#[test]
fn records_of_one_message_with_one_key_are_one_report() {
    let patches = vec![message("1 F WBC=5:F").1, message("1 P WBC=6 CRP=1").1];
    let combined = combine(patches);
    assert_eq!(combined["status"], "partial");
    assert_eq!(combined["conclusion"], "as of 1");
    let mut state = LabReportState::default();
    let applied = state.apply(combined, Moment { at: 1, arrival: 1 });
    assert_eq!(applied.happenings.len(), 1);
    assert_eq!(shown(&state), "partial WBC=5:final WBC=6:preliminary CRP=1:preliminary");

    let unstated = combine(vec![message("1 - A=1:F").1, message("1 - B=1:U").1]);
    assert_eq!(unstated.get("status"), None);
    assert_eq!(unstated["results"][1]["status"], "final_without_value");
    assert_eq!(combine(vec![message("1 F A=1:F").1]), message("1 F A=1:F").1);
}

#[test]
fn the_visit_is_known_and_not_published() {
    let mut state = LabReportState::default();
    let patch = json!({"visit_number": "V1", "visit_source": "his", "status": "final"});
    let applied = state.apply(patch.as_object().unwrap().clone(), Moment { at: 1, arrival: 1 });
    assert_eq!((state.visit_number(), state.visit_source()), (Some("V1"), Some("his")));
    assert_eq!(Value::Object(applied.record), json!({"status": "final"}));
}

#[test]
fn the_stored_form_is_short() {
    let (state, _) = run([(12, "1 F K=7.10!:F")]);
    let expected = r#"{"l":[[[2,1,12],{"conclusion":"as of 1","filler_order_number":"L1","updated_at":"2024-03-05T01:00:00+08:00"}]],"s":[2,1,0,12,"final"],"r":{"K":{"i":0,"h":[{"t":1,"n":12,"s":"final","v":{"abnormal":true,"code":"K","critical":true,"value_number":7.10}}]}}}"#;
    assert_eq!(serde_json::to_string(&state).unwrap(), expected);
    assert_eq!(serde_json::from_str::<LabReportState>(expected).unwrap(), state);
}

#[test]
fn a_result_keeps_a_bounded_number_of_preliminary_values() {
    let messages: Vec<String> = (0..30).map(|time| format!("{time} P K={time}:P")).collect();
    let (state, _) = run(messages.iter().map(String::as_str).enumerate());
    let (backwards, _) = run(messages.iter().map(String::as_str).enumerate().rev());
    assert_eq!(state, backwards);
    assert_eq!(shown(&state), "preliminary K=29:preliminary");
    assert!(serde_json::to_string(&state).unwrap().len() < 2000);
}

fn any_message() -> impl Strategy<Value = String> {
    let result = (prop::sample::select(vec!["A", "B", "B.1"]), prop::sample::select(vec!["1", "2!", ""]), any_status())
        .prop_map(|(code, value, status)| format!("{code}={value}:{status}"));
    (0..5, prop_oneof![1 => Just("-".to_owned()), 3 => any_status()], prop::collection::vec(result, 0..4))
        .prop_map(|(time, status, results)| format!("{time} {status} {}", results.join(" ")))
}

fn any_status() -> impl Strategy<Value = String> {
    // A report is never U.
    prop::sample::select(vec!["F", "P", "C", "D", "X", "U", "I", "P", "U"]).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_order_and_any_repeat_ends_in_the_same_state(
        (messages, shuffled) in prop::collection::vec(any_message(), 1..8)
            .prop_map(|messages| messages.into_iter().enumerate().collect::<Vec<_>>())
            .prop_flat_map(|messages| {
                let twice = [messages.clone(), messages.clone()].concat();
                (Just(messages), Just(twice).prop_shuffle())
            })
    ) {
        let run = |messages: &[(usize, String)]| run(messages.iter().map(|(arrival, text)| (*arrival, text.as_str()))).0;
        let expected = run(&messages);
        prop_assert_eq!(run(&shuffled), expected.clone());
        let text = serde_json::to_string(&expected).unwrap();
        prop_assert_eq!(serde_json::from_str::<LabReportState>(&text).unwrap(), expected.clone());
        prop_assert_eq!(crate::record::schema::violations(Kind::LabReport, &expected.record()), [""; 0]);
    }
}
