use super::*;
use crate::store::fixtures::{store, write};

fn name(text: &str) -> ResourceName {
    let (kind, id) = text.split_once('/').unwrap();
    ResourceName { kind: kind.to_owned(), id: id.to_owned() }
}

fn read(text: &str, body: &str, references: &[&str]) -> ReadResource {
    ReadResource {
        name: name(text),
        version: Some("1".to_owned()),
        updated_at: Some(10),
        digest: ContentDigest::of(body.as_bytes()),
        body: PackedBytes::pack(body.as_bytes()),
        references: references.iter().map(|reference| name(reference)).collect(),
        refresh_at: None,
        unreadable: None,
    }
}

fn put(transaction: &Transaction<'_>, source: &str, read: &ReadResource) -> Result<i64, StoreError> {
    let known = get(transaction, source, &read.name)?.map(|known| known.row);
    super::put(transaction, source, read, known)
}

fn missing(reader: &Reader<'_>, source: &str) -> Result<Vec<ResourceName>, StoreError> {
    Ok(wanted(reader, source, 0, 9)?.into_iter().map(|(name, _)| name).collect())
}

fn names(resources: Vec<Resource>) -> Vec<String> {
    resources.into_iter().map(|resource| format!("{} {}", resource.name, resource.state.name())).collect()
}

#[test]
fn what_is_named_is_known_before_it_is_read() {
    let (_directory, store) = store();
    let encounter = read("Encounter/1", "{}", &["Patient/1", "Location/7"]);
    let row = write(&store, move |t| put(t, "emr", &encounter));
    let look =
        |row| store.read(move |r| Ok((names(named_by(r, row)?), missing(r, "emr")?, missing(r, "other")?))).unwrap();
    let (named, missing, elsewhere) = look(row);
    assert_eq!(named, ["Patient/1 unread", "Location/7 unread"]);
    assert_eq!((missing, elsewhere), (vec![name("Patient/1"), name("Location/7")], vec![]));
    write(&store, move |t| put(t, "emr", &read("Patient/1", "{\"a\":1}", &[])));
    // The new version names its patient no more.
    write(&store, move |t| put(t, "emr", &read("Encounter/1", "{}", &["Location/8"])));
    let (named, missing, _) = look(row);
    assert_eq!((named, missing), (vec!["Location/8 unread".to_owned()], vec![name("Location/8")]));
    let patient = store.read(|r| get(r, "emr", &name("Patient/1"))).unwrap().unwrap();
    assert_eq!(patient.state, ResourceState::Present);
    assert_eq!(store.read(|r| body(r, patient.row)).unwrap().unwrap(), b"{\"a\":1}");
    assert_eq!(store.read(|r| naming(r, patient.row)).unwrap(), []);
}

#[test]
fn what_the_server_has_no_more_has_no_body_and_names_nothing() {
    let (_directory, store) = store();
    let row = write(&store, |t| put(t, "emr", &read("Encounter/1", "{}", &["Patient/1"])));
    write(&store, |t| remove(t, "emr", &name("Encounter/1"), ResourceState::Deleted, Some(20)));
    let found = store.read(|r| Ok((get(r, "emr", &name("Encounter/1"))?, body(r, row)?, missing(r, "emr")?)));
    let (resource, body, missing) = found.unwrap();
    let resource = resource.unwrap();
    assert_eq!((resource.state, resource.updated_at, body), (ResourceState::Deleted, Some(20), None));
    assert_eq!(missing, []);
    assert_eq!(store.read(|r| held(r, "emr", "Encounter", "", 9)).unwrap(), []);
}

#[test]
fn a_mark_that_was_set_again_meanwhile_stays() {
    let (_directory, store) = store();
    let (visit, patient) = write(&store, |t| {
        let rows = (put(t, "emr", &read("Encounter/1", "{}", &[]))?, put(t, "emr", &read("Patient/1", "{}", &[]))?);
        mark_due(t, rows.0, 1, Mark::Anew, 5)?;
        mark_due(t, rows.1, 0, Mark::Anew, 5)?;
        Ok(rows)
    });
    let order = |after| store.read(|r| due(r, "emr", after, Ready::ALL, 9)).unwrap();
    let seen = order((-1, 0));
    assert_eq!(seen.iter().map(|(rank, due)| (*rank, due.row)).collect::<Vec<_>>(), [(0, patient), (1, visit)]);
    assert_eq!(order((0, patient)).len(), 1);
    let marks = seen[1].1.marks;
    write(&store, move |t| mark_due(t, visit, 1, Mark::Anew, 6));
    assert!(!write(&store, move |t| settle(t, visit, marks)));
    assert!(write(&store, move |t| settle(t, visit, marks + 1)));
    assert_eq!(store.read(|r| due_count(r, "emr")).unwrap(), 1);
}

#[test]
fn a_record_is_never_told_under_an_older_time() {
    let (_directory, store) = store();
    let row = write(&store, |t| put(t, "emr", &read("Encounter/1", "{}", &[])));
    for (number, at) in [("V1", 50), ("V2", 40)] {
        write(&store, move |t| told(t, row, Told { number: Some(number), record: None, at, message: Some(1) }));
    }
    let known = store.read(|r| get(r, "emr", &name("Encounter/1"))).unwrap().unwrap();
    assert_eq!((known.number.as_deref(), known.told_at), (Some("V2"), Some(50)));
}

#[test]
fn what_names_something_unread_waits_for_it_as_long_as_somebody_has_patience() {
    let (_directory, store) = store();
    write(&store, |t| {
        let row = put(t, "emr", &read("Encounter/1", "{}", &["Patient/1"]))?;
        mark_due(t, row, 1, Mark::Anew, 50)
    });
    let due_then = |since| {
        store.read(move |r| due(r, "emr", (-1, 0), Ready { patient_since: since, ..Ready::ALL }, 9)).unwrap().len()
    };
    assert_eq!((due_then(49), due_then(50)), (0, 1));
    write(&store, |t| remove(t, "emr", &name("Patient/1"), ResourceState::Absent, None));
    assert_eq!(due_then(0), 1);
}

#[test]
fn what_may_be_a_part_of_something_that_is_to_come_waits_until_it_was_told_once() {
    let (_directory, store) = store();
    let row = write(&store, |t| {
        let row = put(t, "emr", &read("Observation/1", "{}", &[]))?;
        mark_due(t, row, 4, Mark::Anew, 50)?;
        Ok(row)
    });
    let due_then = |since| {
        let ready = Ready { parts_from: 4, settled_since: since, ..Ready::ALL };
        store.read(move |r| due(r, "emr", (-1, 0), ready, 9)).unwrap().len()
    };
    assert_eq!((due_then(49), due_then(50)), (0, 1));
    write(&store, move |t| told(t, row, Told { number: Some("1"), record: None, at: 1, message: None }));
    assert_eq!(due_then(49), 1);
}

#[test]
fn what_was_to_be_asked_for_again_is_wanted_then_with_its_version() {
    let (_directory, store) = store();
    write(&store, |t| {
        put(t, "emr", &read("Encounter/1", "{}", &["Practitioner/1"]))?;
        put(t, "emr", &ReadResource { refresh_at: Some(100), ..read("Practitioner/1", "{}", &[]) })
    });
    let wanted_at = |now| store.read(move |r| wanted(r, "emr", now, 9)).unwrap();
    assert_eq!(wanted_at(99), []);
    assert_eq!(wanted_at(100), [(name("Practitioner/1"), Some("1".to_owned()))]);
    write(&store, |t| refresh(t, "emr", &name("Practitioner/1"), 200));
    assert_eq!(wanted_at(150), []);
}

#[test]
fn notes_are_kept_replaced_and_taken_away() {
    let (_directory, store) = store();
    for text in [Some("{\"mark\":1}"), Some("{\"mark\":2}"), None] {
        write(&store, move |t| put_note(t, "emr", "type/Patient", text));
        assert_eq!(store.read(|r| note(r, "emr", "type/Patient")).unwrap().as_deref(), text);
    }
}
