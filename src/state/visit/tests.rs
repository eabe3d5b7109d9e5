use crate::record::{Value, json};
use proptest::prelude::*;

use super::*;
use crate::record::schema::{VISIT_EVENTS, VISIT_STATUSES};

/// One message, written `event@time field=value …` (`-` for no event, `""` for null); arrival is its place in the history.
fn message(text: &str) -> (i64, Fields) {
    let mut words = text.split_whitespace();
    let (event, time) = words.next().unwrap().split_once('@').unwrap();
    let mut patch = Fields::new();
    patch.insert("number", json!("V1"));
    patch.insert("updated_at", json!(clock(time)));
    if event != "-" {
        patch.insert("event", json!(event));
    }
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        let value = match (name, value) {
            (_, "\"\"") => Value::Null,
            ("department", _) => json!({"code": value}),
            (name, _) if name.ends_with("_at") => json!(clock(value)),
            _ => json!(value),
        };
        patch.insert(name, value);
    }
    (time.parse().unwrap(), patch)
}

/// `9` is nine o'clock; anything longer is itself.
fn clock(hour: &str) -> String {
    if hour.len() > 2 { hour.to_owned() } else { format!("2024-03-05T{hour:0>2}:00:00+08:00") }
}

fn moment(at: i64, arrival: usize) -> Moment {
    Moment { at, arrival: arrival as i64 }
}

/// Applies messages in the order given; their arrivals are the numbers beside them. Returns events as `type` or
/// `type<arrival`, where arrival is the message whose event is taken back.
fn run<'a>(messages: impl IntoIterator<Item = (usize, &'a str)>) -> (VisitState, Vec<String>) {
    let mut state = VisitState::default();
    let mut events = Vec::new();
    for (arrival, text) in messages {
        let (at, patch) = message(text);
        let applied = state.apply(patch, moment(at, arrival));
        assert_eq!(applied.changed.is_empty(), applied.happenings.is_empty());
        assert_eq!(applied.record, state.record());
        for happening in applied.happenings {
            let reverses = happening.reverses.map(|event| format!("<{}", event.id)).unwrap_or_default();
            events.push(format!("{}{reverses}", happening.kind.name().trim_start_matches("visit.")));
            state.remember(arrival as i64, Published { kind: happening.kind, id: arrival.to_string() });
        }
    }
    (state, events)
}

/// The record's `status` and further fields, as the history writes them.
fn shown(state: &VisitState) -> String {
    let record = state.record();
    let mut words = Vec::new();
    for name in ["status", "class", "department", "ward", "room", "bed", "scheduled_at", "started_at", "ended_at"] {
        let Some(value) = record.get(name) else { continue };
        let text = value.as_str().or_else(|| value["code"].as_str()).unwrap();
        let hour = text.strip_prefix("2024-03-05T").map(|rest| rest[..2].trim_start_matches('0'));
        let text = hour.unwrap_or(text);
        words.push(if name == "status" { text.to_owned() } else { format!("{name}={text}") });
    }
    words.join(" ")
}

/// A history in the order of arrival, what it ends in, and the events it makes. Every other order of the same messages must
/// end in the same.
fn check(history: &[&str], expected: &str, expected_events: &[&str]) {
    let messages: Vec<(usize, &str)> = history.iter().copied().enumerate().collect();
    let (state, events) = run(messages.clone());
    assert_eq!(shown(&state), expected, "{history:?}");
    assert_eq!(events, expected_events, "{history:?}");
    for order in orders(&messages) {
        let (other, _) = run(order.clone());
        assert_eq!(other.record(), state.record(), "{order:?}");
    }
    let (_, again) = run(messages.iter().chain(&messages).copied());
    assert_eq!(again, events, "a repeat made an event: {history:?}");
}

fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.len() <= 1 {
        return vec![items.to_vec()];
    }
    (0..items.len())
        .flat_map(|first| {
            let mut rest = items.to_vec();
            let item = rest.remove(first);
            orders(&rest).into_iter().map(move |order| [vec![item.clone()], order].concat())
        })
        .collect()
}

#[test]
fn a_whole_statement_clears_what_it_leaves_out_and_moves_the_status_either_way() {
    let mut state = VisitState::default();
    let mut whole = |text: &str, arrival| {
        let (at, patch) = message(text);
        let applied = state.apply_whole(patch, moment(at, arrival));
        let kinds: Vec<&str> = applied.happenings.iter().map(|happening| happening.kind.name()).collect();
        (kinds.join(" "), applied.record)
    };
    let (event, _) = whole("-@1 status=in_progress class=inpatient ward=W1 bed=02 reason=fever", 1);
    assert_eq!(event, "visit.admitted");
    let (event, record) = whole("-@2 status=finished class=inpatient ended_at=2", 2);
    assert_eq!(event, "visit.discharged");
    assert!(["ward", "bed", "reason"].iter().all(|name| !record.contains_key(name)), "{record:?}");
    // The server takes the discharge back.
    let (_, record) = whole("-@3 status=in_progress class=inpatient", 3);
    assert_eq!(record.get("status"), Some(&json!("in_progress")));
    assert!(!record.contains_key("ended_at"));
    // Of one source time the one that came later stands.
    let (event, _) = whole("-@3 status=entered_in_error class=inpatient", 4);
    assert_eq!(event, "visit.cancelled");
    let (event, _) = whole("-@3 status=entered_in_error class=inpatient", 5);
    assert_eq!(event, "");
}

#[test]
fn the_codes_are_those_of_the_schema() {
    for name in VISIT_EVENTS {
        assert!(code::<Verb>(Some(json!(name))).is_some(), "{name}");
    }
    for name in VISIT_STATUSES {
        assert_eq!(code::<Status>(Some(json!(name))).unwrap().name(), *name);
    }
}

#[test]
fn a_stay_from_admission_to_discharge() {
    check(
        &[
            "scheduled@1 class=inpatient scheduled_at=8",
            "admitted@8 class=inpatient ward=W1 bed=01 started_at=8",
            "transferred@9 ward=W2 bed=07",
            "-@10 attending=x",
            "discharged@11 ended_at=11",
        ],
        "finished class=inpatient ward=W2 bed=07 scheduled_at=8 started_at=8 ended_at=11",
        &["scheduled", "admitted", "transferred", "updated", "discharged"],
    );
}

#[test]
fn late_admission_does_not_reopen_a_discharged_visit() {
    check(
        &["discharged@5 ended_at=5", "admitted@1 started_at=1 ward=W1"],
        "finished ward=W1 started_at=1 ended_at=5",
        &["discharged", "updated"],
    );
    check(
        &["admitted@1 started_at=1", "discharged@5 ended_at=5", "admitted@7 started_at=1"],
        "finished started_at=1 ended_at=5",
        &["admitted", "discharged"],
    );
    check(
        &["admitted@1", "discharged@5", "admitted@7 ward=W1"],
        "finished ward=W1 ended_at=5",
        &["admitted", "discharged", "updated"],
    );
}

#[test]
fn a_new_stay_under_an_old_number_opens_it_again() {
    check(
        &["admitted@1 started_at=1", "discharged@5 ended_at=5", "admitted@7 started_at=7"],
        "in_progress started_at=7",
        &["admitted", "discharged", "admitted"],
    );
    // The first discharge comes late: it ends the first stay, not the second.
    check(
        &["admitted@1 started_at=1", "admitted@7 started_at=7", "discharged@5 ended_at=5"],
        "in_progress started_at=7",
        &["admitted", "updated"],
    );
    check(
        &["admitted@1 started_at=1", "discharged@5", "admitted@7 started_at=7", "discharged@9"],
        "finished started_at=7 ended_at=9",
        &["admitted", "discharged", "admitted", "discharged"],
    );
    // A date cannot tell whether it is before or after a time of the same day.
    check(
        &["discharged@5 ended_at=5", "admitted@7 started_at=2024-03-05"],
        "finished started_at=2024-03-05 ended_at=5",
        &["discharged", "updated"],
    );
}

#[test]
fn a_discharge_before_its_admission_then_an_update_and_a_cancelled_discharge() {
    check(
        &[
            "discharged@5 ended_at=5",
            "admitted@1 started_at=1 ward=W1",
            "-@6 ward=W1 reason=x",
            "discharge_cancelled@7",
        ],
        "in_progress ward=W1 started_at=1",
        &["discharged", "updated", "updated", "updated<0"],
    );
}

#[test]
fn a_cancelled_discharge_opens_the_visit_and_names_the_discharge() {
    check(
        &["admitted@1", "discharged@5 ended_at=5", "discharge_cancelled@6"],
        "in_progress",
        &["admitted", "discharged", "updated<1"],
    );
    // The cancellation overtakes the discharge: consumers never see one, nothing is to be taken back.
    check(&["admitted@1", "discharge_cancelled@6", "discharged@5 ended_at=5"], "in_progress", &["admitted"]);
    // Discharged again: a discharge of its own, with its own end.
    check(
        &["admitted@1", "discharged@5 ended_at=5", "discharge_cancelled@6 ended_at=\"\"", "discharged@9"],
        "finished ended_at=9",
        &["admitted", "discharged", "updated<1", "discharged"],
    );
    // The cancellation comes after the second discharge: what consumers see stays true.
    check(
        &["admitted@1", "discharged@5 ended_at=5", "discharged@9 ended_at=9", "discharge_cancelled@6"],
        "finished ended_at=9",
        &["admitted", "discharged", "updated"],
    );
    check(
        &["arrived@1 class=outpatient", "discharged@2", "discharge_cancelled@3"],
        "arrived class=outpatient",
        &["arrived", "completed", "updated<1"],
    );
    // A second discharge said the same; the one that consumers saw is the one taken back.
    check(
        &["admitted@1", "discharged@5 ended_at=5", "discharged@6 ended_at=4", "discharge_cancelled@7"],
        "in_progress",
        &["admitted", "discharged", "updated", "updated<1"],
    );
}

#[test]
fn an_update_never_changes_a_status_nor_revives_a_deleted_visit() {
    check(&["-@1 ward=W1"], "ward=W1", &["updated"]);
    check(
        &["admitted@1", "discharged@5 ended_at=5", "-@6 ward=W9"],
        "finished ward=W9 ended_at=5",
        &["admitted", "discharged", "updated"],
    );
    check(
        &["admitted@1", "deleted@5", "-@6 ward=W9"],
        "entered_in_error ward=W9",
        &["admitted", "cancelled<0", "updated"],
    );
    check(&["deleted@5", "admitted@1", "discharged@6"], "entered_in_error", &["cancelled"]);
    check(&["deleted@5", "admitted@8"], "in_progress", &["cancelled", "admitted"]);
}

#[test]
fn the_end_is_shown_only_when_finished_and_a_newer_message_corrects_it() {
    check(&["admitted@1", "-@2 ended_at=9"], "in_progress", &["admitted"]);
    check(
        &["admitted@1", "discharged@5 ended_at=5", "-@6 ended_at=4"],
        "finished ended_at=4",
        &["admitted", "discharged", "updated"],
    );
    // A planned end, said before, is no better than the time of the discharge.
    check(&["admitted@1", "-@2 ended_at=9", "discharged@5"], "finished ended_at=5", &["admitted", "discharged"]);
    check(
        &["discharged@5 ended_at=\"\"", "discharged@5 ended_at=\"\"", "-@5 ended_at=4"],
        "finished ended_at=4",
        &["discharged", "updated"],
    );
    check(&["discharged@5 ended_at=4", "discharged@6", "-@7 ended_at=\"\""], "finished", &["discharged", "updated"]);
}

#[test]
fn a_cancelled_admission_names_the_admission() {
    check(&["admitted@1", "admit_cancelled@2"], "cancelled", &["admitted", "cancelled<0"]);
    check(
        &["arrived@1 class=outpatient", "admit_cancelled@2"],
        "cancelled class=outpatient",
        &["arrived", "cancelled<0"],
    );
    check(&["admit_cancelled@2", "admitted@1 ward=W1"], "cancelled ward=W1", &["cancelled", "updated"]);
    check(&["admitted@1", "admit_cancelled@2", "admitted@3"], "in_progress", &["admitted", "cancelled<0", "admitted"]);
    check(
        &["admitted@1", "admit_cancelled@2", "admitted@3", "admit_cancelled@4"],
        "cancelled",
        &["admitted", "cancelled<0", "admitted", "cancelled<2"],
    );
    check(
        &["admitted@1", "discharged@2", "admit_cancelled@3"],
        "cancelled",
        &["admitted", "discharged", "cancelled<0"],
    );
}

#[test]
fn a_cancelled_admission_of_a_patient_who_had_arrived_leaves_the_arrival() {
    check(
        &["arrived@1 class=emergency ward=E", "-@2 bed=05 ward=E", "admitted@3 ward=W1", "admit_cancelled@4"],
        "arrived class=emergency ward=E bed=05",
        &["arrived", "updated", "admitted", "updated<2"],
    );
    check(
        &["arrived@1", "admitted@2", "admit_cancelled@3", "admit_cancelled@4"],
        "cancelled",
        &["arrived", "admitted", "updated<1", "cancelled<0"],
    );
    // Said twice, it is one admission.
    check(
        &["arrived@1", "arrived@2", "admitted@3", "admitted@4", "admit_cancelled@5"],
        "arrived",
        &["arrived", "admitted", "updated<2"],
    );
    // A new stay has nothing of the one before to go back to.
    check(
        &[
            "arrived@1",
            "admitted@2 ward=W1",
            "transferred@3 ward=W2",
            "discharged@4 ended_at=4",
            "admitted@6 started_at=6",
        ],
        "in_progress ward=W2 started_at=6",
        &["arrived", "admitted", "transferred", "discharged", "admitted"],
    );
    check(
        &[
            "arrived@1",
            "transferred@3 ward=W2",
            "discharged@4 ended_at=4",
            "admitted@6 started_at=6",
            "transfer_cancelled@7",
            "admit_cancelled@8",
        ],
        "cancelled ward=W2 started_at=6",
        &["arrived", "transferred", "discharged", "admitted", "cancelled<3"],
    );
}

#[test]
fn a_cancelled_transfer_gives_the_place_before_it_back() {
    check(
        &["admitted@1 ward=W1 bed=01 department=D1", "transferred@2 ward=W2 department=D2", "transfer_cancelled@3"],
        "in_progress department=D1 ward=W1 bed=01",
        &["admitted", "transferred", "updated<1"],
    );
    // The cancellation gives a place of its own.
    check(
        &["admitted@1 ward=W1 bed=01", "transferred@2 ward=W2 bed=02", "transfer_cancelled@3 ward=W1 bed=05"],
        "in_progress ward=W1 bed=05",
        &["admitted", "transferred", "updated<1"],
    );
    // What an update said of the new place goes with it; what is said since stays.
    check(
        &["admitted@1 ward=W1", "transferred@2 ward=W2", "-@3 ward=W2 bed=09", "transfer_cancelled@4"],
        "in_progress ward=W1",
        &["admitted", "transferred", "updated", "updated<1"],
    );
    check(
        &["admitted@1 ward=W1", "transferred@2 ward=W2", "transfer_cancelled@4", "-@5 ward=W3"],
        "in_progress ward=W3",
        &["admitted", "transferred", "updated<1", "updated"],
    );
    // An update moved the patient before the transfer: that place comes back, not the one of the admission.
    check(
        &[
            "admitted@1 ward=W1 bed=01",
            "-@2 ward=W5",
            "-@3 department=D5",
            "transferred@4 ward=W2",
            "transfer_cancelled@5",
        ],
        "in_progress department=D5 ward=W5",
        &["admitted", "updated", "updated", "transferred", "updated<3"],
    );
    check(
        &["admitted@1 ward=W1", "-@2 ward=\"\"", "transferred@4 ward=W2", "transfer_cancelled@5"],
        "in_progress",
        &["admitted", "updated", "transferred", "updated<2"],
    );
    // Only transfers are cancelled, the last one first, and each once.
    check(
        &["admitted@1 ward=W1", "transferred@2 ward=W2", "-@3 ward=W7", "transfer_cancelled@4", "transfer_cancelled@5"],
        "in_progress ward=W1",
        &["admitted", "transferred", "updated", "updated<1"],
    );
    // Two transfers, one cancelled; and two, both cancelled.
    check(
        &["admitted@1 ward=W1", "transferred@2 ward=W2", "transferred@3 ward=W3", "transfer_cancelled@4"],
        "in_progress ward=W2",
        &["admitted", "transferred", "transferred", "updated<2"],
    );
    check(
        &[
            "admitted@1 ward=W1",
            "transferred@2 ward=W2",
            "transferred@3 ward=W3",
            "transfer_cancelled@4",
            "transfer_cancelled@5",
        ],
        "in_progress ward=W1",
        &["admitted", "transferred", "transferred", "updated<2", "updated<1"],
    );
    // The cancellation overtakes the transfer.
    check(
        &["admitted@1 ward=W1", "transfer_cancelled@3", "transferred@2 ward=W2"],
        "in_progress ward=W1",
        &["admitted"],
    );
}

#[test]
fn late_movements_find_their_place() {
    check(
        &["transferred@3 ward=W2", "admitted@1 ward=W1 started_at=1"],
        "in_progress ward=W2 started_at=1",
        &["transferred", "updated"],
    );
    check(
        &["admitted@1 ward=W1", "transferred@5 ward=W3", "transferred@3 ward=W2"],
        "in_progress ward=W3",
        &["admitted", "transferred"],
    );
}

#[test]
fn a_registered_patient_who_is_admitted() {
    check(
        &["arrived@1 class=emergency", "admitted@2 class=inpatient", "arrived@3 class=outpatient"],
        "in_progress class=outpatient",
        &["arrived", "admitted", "updated"],
    );
    check(
        &["admitted@1 class=outpatient", "discharged@2"],
        "finished class=outpatient ended_at=2",
        &["arrived", "completed"],
    );
    check(&["arrived@1 class=outpatient", "admitted@2"], "in_progress class=outpatient", &["arrived", "updated"]);
}

#[test]
fn appointments() {
    check(
        &["scheduled@1 scheduled_at=9", "rescheduled@2 scheduled_at=10", "arrived@10", "discharged@11"],
        "finished scheduled_at=10 ended_at=11",
        &["scheduled", "rescheduled", "arrived", "discharged"],
    );
    // The change overtakes the booking: one appointment, at the newer time.
    check(
        &["rescheduled@2 scheduled_at=10", "scheduled@1 scheduled_at=9 reason=x"],
        "planned scheduled_at=10",
        &["scheduled", "updated"],
    );
    // S14 without an event of its own, with another time.
    check(
        &["scheduled@1 scheduled_at=9", "-@2 scheduled_at=11"],
        "planned scheduled_at=11",
        &["scheduled", "rescheduled"],
    );
    check(&["scheduled@1", "cancelled@2"], "cancelled", &["scheduled", "cancelled"]);
    check(&["cancelled@2", "scheduled@1 scheduled_at=9"], "cancelled scheduled_at=9", &["cancelled", "updated"]);
    check(&["scheduled@1", "cancelled@2", "scheduled@3"], "planned", &["scheduled", "cancelled", "scheduled"]);
    check(&["scheduled@1", "no_show@2"], "no_show", &["scheduled", "no_show"]);
    check(&["scheduled@1", "cancelled@2", "no_show@3"], "cancelled", &["scheduled", "cancelled"]);
    check(&["scheduled@1", "no_show@2", "arrived@3"], "arrived", &["scheduled", "no_show", "arrived"]);
    // The appointment is closed while the visit runs.
    check(&["scheduled@1", "admitted@2", "cancelled@3"], "in_progress", &["scheduled", "admitted"]);
    check(&["arrived@2", "scheduled@3 scheduled_at=9"], "arrived scheduled_at=9", &["arrived", "updated"]);
}

#[test]
fn a_status_sent_as_such_stands() {
    check(
        &["-@1 status=in_progress", "-@2 status=finished ended_at=2", "-@3 status=in_progress"],
        "in_progress",
        &["admitted", "discharged", "updated<1"],
    );
    check(&["-@2 status=finished ended_at=2", "-@1 status=in_progress"], "finished ended_at=2", &["discharged"]);
    check(&["-@1 status=finished"], "finished", &["discharged"]);
}

#[test]
fn a_movement_sent_again_under_another_control_id_is_one_movement() {
    let (state, events) = run([(1, "admitted@1 ward=W1"), (2, "admitted@1 ward=W1"), (3, "admitted@1 ward=W1")]);
    assert_eq!(events, ["admitted"]);
    assert_eq!(state.movements.len(), 1);
}

#[test]
fn a_repeat_of_an_older_movement_of_the_same_time_does_not_turn_the_status_back() {
    check(&["admitted@1", "discharged@1", "admitted@1"], "finished ended_at=1", &["admitted", "discharged"]);
}

#[test]
fn the_beginning_of_a_long_course_is_not_forgotten() {
    let back_and_forth = (0..2 * EVENTS_KEPT).map(|turn| match turn % 2 {
        0 => format!("transferred@{} ward=X", turn + 10),
        _ => format!("transfer_cancelled@{}", turn + 10),
    });
    let start = ["arrived@1 ward=W1 bed=01", "-@2 ward=W2", "admitted@3 ward=W3 started_at=3"].map(str::to_owned);
    let messages: Vec<String> = start.into_iter().chain(back_and_forth).collect();
    let (state, _) = run(messages.iter().map(String::as_str).enumerate());
    assert_eq!(shown(&state), "in_progress ward=W3 started_at=3");
    assert_eq!(state.movements.len(), EVENTS_KEPT);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<VisitState>(&text).unwrap(), state);

    // The admission is still the one that is taken back, and what was before it comes back.
    let mut cancelled = state.clone();
    let (_, patch) = message("admit_cancelled@999");
    let applied = cancelled.apply(patch, moment(999, 9_999));
    assert_eq!(shown(&cancelled), "arrived ward=W2 started_at=3");
    assert_eq!(applied.happenings[0].reverses.as_ref().unwrap().id, "2");

    // What comes later than all that is kept moves nothing and fills what was never said.
    for late in ["discharged@4 ended_at=4", "transferred@5 ward=W9", "-@5 ward=W9", "arrived@1 ward=W1 bed=01"] {
        let mut same = state.clone();
        let (at, patch) = message(late);
        same.apply(patch, moment(at, 9_999));
        assert_eq!(shown(&same), shown(&state), "{late}");
    }
    let mut filled = state.clone();
    let (at, patch) = message("-@2 department=D1");
    filled.apply(patch, moment(at, 9_999));
    assert_eq!(shown(&filled), "in_progress department=D1 ward=W3 started_at=3");
}

#[test]
fn order_is_free_within_the_newest_movements() {
    let one = |turn| match turn % 5 {
        0 => format!("transferred@{turn} ward=W{turn}"),
        1 => format!("-@{turn} ward=W{turn}"),
        2 => format!("discharged@{turn}"),
        3 => format!("discharge_cancelled@{turn}"),
        _ => format!("transfer_cancelled@{turn}"),
    };
    let messages: Vec<String> = (0..EVENTS_KEPT + 100).map(one).collect();
    let numbered = || messages.iter().map(String::as_str).enumerate();
    let (state, _) = run(numbered());
    let (old, new): (Vec<_>, Vec<_>) = numbered().partition(|(turn, _)| *turn < 50);
    let (backwards, _) = run(old.into_iter().chain(new.into_iter().rev()));
    assert_eq!(state.movements.iter().filter(|movement| movement.is_event()).count(), EVENTS_KEPT);
    assert_eq!(backwards.record(), state.record());
}

#[test]
fn a_visit_that_is_only_updated_stays_small() {
    let messages: Vec<String> = (0..500).map(|turn| format!("-@{turn} ward=W{} department=D1", turn % 3)).collect();
    let (state, events) = run(messages.iter().map(String::as_str).enumerate());
    assert_eq!(events.len(), 500);
    assert_eq!(state.movements.len(), PLACES_KEPT + 1);
    assert_eq!(shown(&state), "department=D1 ward=W1");
}

#[test]
fn the_stored_form_is_short() {
    let (state, _) = run([(12, "admitted@1 ward=W1 started_at=1")]);
    let expected = r#"{"l":[[[0,1,12],{"number":"V1","started_at":"2024-03-05T01:00:00+08:00","updated_at":"2024-03-05T01:00:00+08:00"}]],"m":[{"t":1,"n":12,"e":"admitted","p":{"bed":null,"room":null,"ward":"W1"},"b":"2024-03-05T01:00:00+08:00","i":["visit.admitted","12"]}]}"#;
    assert_eq!(serde_json::to_string(&state).unwrap(), expected);
    assert_eq!(serde_json::from_str::<VisitState>(expected).unwrap(), state);
}

fn any_message() -> impl Strategy<Value = String> {
    let event = prop_oneof![
        2 => Just("-".to_owned()),
        5 => prop::sample::select(VISIT_EVENTS).prop_map(str::to_owned),
    ];
    let extra = prop::sample::select(vec![
        "",
        "ward=W1",
        "ward=W2 bed=02",
        "ward=\"\"",
        "department=D1",
        "started_at=3",
        "started_at=5 ward=W3",
        "ended_at=4",
        "ended_at=\"\"",
        "class=outpatient",
        "status=finished ended_at=4",
        "status=in_progress",
    ]);
    (event, 0..7, extra).prop_map(|(event, at, extra)| format!("{event}@{at} {extra}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_order_and_any_repeat_ends_in_the_same_state(
        (messages, shuffled) in prop::collection::vec(any_message(), 1..9)
            .prop_map(|messages| messages.into_iter().enumerate().collect::<Vec<_>>())
            .prop_flat_map(|messages| {
                let twice = [messages.clone(), messages.clone()].concat();
                (Just(messages), Just(twice).prop_shuffle())
            })
    ) {
        let texts = |messages: &[(usize, String)]| {
            let mut state = VisitState::default();
            for (arrival, text) in messages {
                let (at, patch) = message(text);
                state.apply(patch, moment(at, *arrival));
            }
            state
        };
        prop_assert_eq!(texts(&messages), texts(&shuffled));
        // What consumers saw does not steer what they see.
        let (with_events, _) = run(shuffled.iter().map(|(arrival, text)| (*arrival, text.as_str())));
        prop_assert_eq!(with_events.record(), texts(&messages).record());
    }

    #[test]
    fn a_visit_that_takes_in_another_is_as_if_all_had_been_said_of_it(
        messages in prop::collection::vec((any_message(), any::<bool>()), 1..9)
    ) {
        prop_assume!(messages.iter().any(|(_, is_of_one)| *is_of_one));
        let (mut all, mut one, mut other) = (VisitState::default(), VisitState::default(), VisitState::default());
        for (arrival, (text, is_of_one)) in messages.iter().enumerate() {
            let (at, patch) = message(text);
            let part = if *is_of_one { &mut one } else { &mut other };
            [&mut all, part].into_iter().for_each(|state| drop(state.apply(patch.clone(), moment(at, arrival))));
        }
        let applied = one.absorb(other);
        prop_assert_eq!(&applied.record, &one.record());
        prop_assert_eq!(applied.changed.is_empty(), applied.happenings.is_empty());
        prop_assert_eq!(one, all);
    }

    #[test]
    fn an_update_never_moves_a_status(messages in prop::collection::vec(any_message(), 1..8), at in 0..7_i64) {
        let (mut state, _) = run(messages.iter().map(String::as_str).enumerate());
        let before = state.record().get("status").cloned();
        let (_, patch) = message("-@0 ward=W5 ended_at=6 started_at=6 class=inpatient");
        state.apply(patch, moment(at, 99));
        prop_assert_eq!(state.record().get("status").cloned(), before);
    }

    #[test]
    fn an_end_is_shown_of_finished_visits_only(messages in prop::collection::vec(any_message(), 1..8)) {
        let (state, _) = run(messages.iter().map(String::as_str).enumerate());
        let record = state.record();
        prop_assert!(record.get("ended_at").is_none() || record["status"] == "finished");
        prop_assert!(record.values().all(|value| !value.is_null()));
    }
}
