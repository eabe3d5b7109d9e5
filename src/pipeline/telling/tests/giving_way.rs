//! Patients of a server that give way to one another.

use serde_json::{Value as Json, json};

use super::{MAPPING, Server, person, visit_of_patient};

fn replaced_by(patient: &str) -> Json {
    json!({"link": [{"other": {"reference": patient}, "type": "replaced-by"}]})
}

#[test]
fn a_merge_that_the_server_takes_back_is_undone_with_all_that_went_along() {
    let mut server = Server::new();
    let (first, second) = (json!({"name": [{"text": "张三"}]}), json!({"name": [{"text": "李四"}]}));
    server.has(&[
        ("Patient/1", first.clone()),
        ("Patient/2", second.clone()),
        ("Encounter/1", visit_of_patient("Patient/1")),
        ("Encounter/2", visit_of_patient("Patient/2")),
    ]);
    let before = (server.one_id("1"), server.one_id("2"));
    assert_ne!(before.0, before.1);
    server.has(&[("Patient/1", replaced_by("Patient/2"))]);
    assert_eq!((server.one_id("1"), server.one_id("2")), (before.1.clone(), before.1.clone()));
    // A visit of the time between.
    server.has(&[("Encounter/3", visit_of_patient("Patient/1"))]);
    assert_eq!(server.visit("3"), "planned -, of emr|2");
    server.events();
    server.has(&[("Patient/1", first.clone())]);
    assert_eq!((server.one_id("1"), server.one_id("2")), before);
    assert!(server.events().contains(&"patient.split".to_owned()));
    for (visit, patient) in [("1", "emr|1"), ("2", "emr|2"), ("3", "emr|1")] {
        assert_eq!(server.visit(visit), format!("planned -, of {patient}"));
    }
    // The other way round now, and once more to and fro.
    server.has(&[("Patient/2", replaced_by("Patient/1"))]);
    assert_eq!(server.one_id("2"), before.0);
    server.has(&[("Patient/1", first), ("Patient/2", second)]);
    assert_eq!((server.one_id("1"), server.one_id("2")), before);
}

#[test]
fn a_patient_that_gives_way_to_another_one_than_before_leaves_the_first() {
    let mut server = Server::new();
    let named = |name: &str| json!({"name": [{"text": name}]});
    server.has(&[("Patient/1", named("张三")), ("Patient/2", named("李四")), ("Patient/3", named("王五"))]);
    server.has(&[("Encounter/1", visit_of_patient("Patient/1")), ("Patient/1", replaced_by("Patient/2"))]);
    assert_eq!(server.one_id("1"), server.one_id("2"));
    server.has(&[("Patient/1", replaced_by("Patient/3"))]);
    assert_eq!(server.one_id("1"), server.one_id("3"));
    assert_ne!(server.one_id("1"), server.one_id("2"));
    assert_eq!(server.visit("1"), "planned -, of emr|3");
}

#[test]
fn a_patient_that_was_known_as_replaced_alone_is_somebody_when_it_no_longer_is() {
    let mut server = Server::new();
    server.has(&[("Patient/2", json!({"name": [{"text": "李四"}]})), ("Patient/1", replaced_by("Patient/2"))]);
    assert_eq!(server.one_id("1"), server.one_id("2"));
    server.has(&[("Patient/1", json!({"name": [{"text": "张三"}]}))]);
    assert_ne!(server.one_id("1"), server.one_id("2"));
}

/// [`person`] with a number of another authority, who gives way to `to`.
fn gives_way(to: &str, mut content: Json) -> Json {
    content["link"] = replaced_by(to)["link"].clone();
    content
}

pub(super) fn numbered(system: &str, number: &str, name: &str, born: &str) -> Json {
    let mut content = person(number, name, born);
    content["identifier"][0]["system"] = json!(system);
    content
}

fn zhang() -> Json {
    person("M1", "张三", "1980-01-01")
}

fn li() -> Json {
    numbered("LAB", "7", "李四", "1991-02-02")
}

#[test]
fn patients_whose_numbers_are_of_two_authorities_are_merged_and_parted_by_their_server() {
    let mut server = Server::new();
    server.has(&[
        ("Patient/1", zhang()),
        ("Patient/2", li()),
        ("Encounter/1", visit_of_patient("Patient/1")),
        ("Encounter/2", visit_of_patient("Patient/2")),
    ]);
    let ids = |server: &Server| (server.one_id_of("Patient/1"), server.one_id_of("Patient/2"));
    let before = ids(&server);
    assert_ne!(before.0, before.1);
    for _ in 0..2 {
        server.has(&[("Patient/2", gives_way("Patient/1", li()))]);
        assert_eq!(ids(&server), (before.0.clone(), before.0.clone()));
        server.has(&[("Encounter/2", visit_of_patient("Patient/2"))]);
        assert_eq!(server.visit("2"), "planned -, of HIS|M1");
        server.has(&[("Patient/2", li())]);
        assert_eq!(ids(&server), before);
        assert_eq!(
            (server.visit("1").as_str(), server.visit("2").as_str()),
            ("planned -, of HIS|M1", "planned -, of LAB|7")
        );
    }
    // One that has no number any more, as servers leave what they have merged.
    server.has(&[("Patient/2", json!({"active": false, "link": replaced_by("http://h/fhir/Patient/1")["link"]}))]);
    assert_eq!(ids(&server), before, "another server's Patient is nobody here");
    server.has(&[("Patient/2", json!({"active": false, "link": replaced_by("Patient/1")["link"]}))]);
    assert_eq!(ids(&server), (before.0.clone(), before.0.clone()));
}

#[test]
fn a_third_patient_of_the_number_does_not_go_along_whatever_comes_first() {
    let wang = || person("M4", "王五", "1985-05-05");
    let retired = || gives_way("Patient/3", person("M4", "欧阳丽", "2004-06-05"));
    let other = || person("M3", "郑丽", "1993-08-22");
    let mut outcomes = Vec::new();
    for order in [["4", "2", "3"], ["2", "4", "3"], ["3", "2", "4"], ["2", "3", "4"], ["4", "3", "2"], ["3", "4", "2"]]
    {
        for at_once in [true, false] {
            let mut server = Server::new();
            let all = order.map(|id| match id {
                "2" => ("Patient/2", wang()),
                "4" => ("Patient/4", retired()),
                _ => ("Patient/3", other()),
            });
            if at_once {
                server.has(&all);
            } else {
                all.iter().for_each(|one| server.has(std::slice::from_ref(one)));
            }
            server.has(&[
                ("Encounter/2", visit_of_patient("Patient/2")),
                ("Encounter/3", visit_of_patient("Patient/3")),
                ("Encounter/4", visit_of_patient("Patient/4")),
            ]);
            assert_eq!(server.one_id_of("Patient/4"), server.one_id_of("Patient/3"), "{order:?} {at_once}");
            assert_ne!(server.one_id_of("Patient/2"), server.one_id_of("Patient/3"), "{order:?} {at_once}");
            outcomes.push(["2", "3", "4"].map(|visit| (server.visit(visit), server.visit_name(visit))));
        }
    }
    assert_eq!(outcomes[0].clone().map(|(_, name)| name), ["王五", "郑丽", "郑丽"]);
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
}

#[test]
fn one_gives_way_to_another_of_the_same_number_and_is_told_apart_again_afterwards() {
    let mut server = Server::new();
    let (first, second) = (person("M1", "张三", "1980-01-01"), person("M1", "李四", "1991-02-02"));
    server.has(&[("Patient/1", first), ("Patient/2", second.clone()), ("Encounter/2", visit_of_patient("Patient/2"))]);
    let ids = |server: &Server| (server.one_id_of("Patient/1"), server.one_id_of("Patient/2"));
    let before = ids(&server);
    assert_ne!(before.0, before.1);
    for _ in 0..2 {
        server.has(&[("Patient/2", gives_way("Patient/1", second.clone()))]);
        assert_eq!(ids(&server), (before.0.clone(), before.0.clone()));
        server.has(&[("Encounter/2", visit_of_patient("Patient/2"))]);
        assert_eq!(server.visit_name("2"), "张三");
        server.has(&[("Patient/2", second.clone())]);
        assert_eq!(ids(&server), before);
        assert_eq!(server.visit_name("2"), "李四");
    }
    // Both are one record: there is nothing to merge, and nothing to refuse.
    server.has(&[("Patient/5", gives_way("Patient/1", person("M1", "张三", "1980-01-01")))]);
    assert_eq!(server.one_id_of("Patient/5"), before.0);
}

#[test]
fn a_chain_is_followed_whatever_comes_first_and_who_give_way_to_each_other_wait_for_nobody() {
    let mut server = Server::new();
    let named = |name: &str| json!({"name": [{"text": name}]});
    server.has(&[
        ("Patient/1", gives_way("Patient/2", named("张三"))),
        ("Patient/2", gives_way("Patient/3", named("李四"))),
        ("Patient/3", named("王五")),
        ("Patient/4", gives_way("Patient/5", named("赵六"))),
        ("Patient/5", gives_way("Patient/4", named("钱七"))),
    ]);
    let one_id = |id: &str| server.one_id_of(&format!("Patient/{id}"));
    assert_eq!((one_id("1"), one_id("2")), (one_id("3"), one_id("3")));
    assert_eq!(one_id("4"), one_id("5"));
    assert_ne!(one_id("3"), one_id("4"));
}

#[test]
fn who_was_told_apart_from_somebody_who_gives_way_by_now_goes_along() {
    let mut server = Server::new();
    let (sun, wu, ouyang) = (
        |number: &str| person(number, "孙丽", "1962-04-09"),
        || person("M2", "吴丽", "1985-01-17"),
        || person("M4", "欧阳丽", "2004-06-05"),
    );
    server.has(&[("Patient/0", sun("M0")), ("Patient/2", wu()), ("Patient/4", ouyang())]);
    // Two numbers in turn that are somebody else's.
    server.has(&[("Patient/0", sun("M4"))]);
    server.has(&[("Patient/0", sun("M2"))]);
    let before = server.one_id_of("Patient/2");
    server.has(&[("Patient/4", gives_way("Patient/2", ouyang()))]);
    assert_eq!(server.one_id_of("Patient/4"), before);
    server.has(&[("Patient/2", gives_way("Patient/0", wu()))]);
    let all = |server: &Server| ["0", "2", "4"].map(|id| server.one_id_of(&format!("Patient/{id}")));
    let [first, second, third] = all(&server);
    assert_eq!((&second, &third), (&first, &first));
    server.has(&[("Patient/2", wu())]);
    assert_eq!(all(&server), [first, before.clone(), before]);
}

#[test]
fn what_another_source_owns_it_alone_merges_and_what_is_said_of_the_person_is_told() {
    let mut server = Server::new();
    let first = numbered("OTHERS", "1", "张三", "1980-01-01");
    let second = |name: &str| numbered("OTHERS", "2", name, "1991-02-02");
    server.has(&[("Patient/1", first.clone()), ("Patient/2", second("李四")), ("Patient/3", li())]);
    server.has(&[("Patient/2", gives_way("Patient/1", second("李四方")))]);
    let ids = |server: &Server| (server.one_id_of("Patient/1"), server.one_id_of("Patient/2"));
    assert_ne!(ids(&server).0, ids(&server).1);
    assert_eq!(server.patients()[1], "OTHERS|2: 李四方 -");
    assert_eq!(server.cases(), ["possible_match OTHERS|1 OTHERS|2"]);
    // Its number is another one: of either side, and back.
    for (first_number, second_number) in [("EMR", "OTHERS"), ("OTHERS", "EMR")] {
        server.has(&[("Patient/1", numbered(first_number, "1", "张三", "1980-01-01"))]);
        server.has(&[("Patient/2", gives_way("Patient/1", numbered(second_number, "2", "李四方", "1991-02-02")))]);
        assert_eq!(ids(&server).0, ids(&server).1, "{first_number} {second_number}");
        assert_eq!(server.cases(), Vec::<String>::new());
        server.has(&[("Patient/2", second("李四方"))]);
        assert_ne!(ids(&server).0, ids(&server).1);
        server.has(&[("Patient/1", first.clone()), ("Patient/2", gives_way("Patient/1", second("李四方")))]);
        assert_ne!(ids(&server).0, ids(&server).1);
    }
    // The other side alone changes: nothing new comes of who gives way.
    server.has(&[("Patient/1", zhang())]);
    assert_eq!(ids(&server).0, ids(&server).1);
    // What says nothing of its numbers it may say.
    server.has(&[("Patient/3", gives_way("Patient/1", li()))]);
    assert_eq!(server.one_id_of("Patient/3"), server.one_id_of("Patient/1"));
}

#[test]
fn what_was_not_the_servers_to_say_is_done_once_its_owner_or_somebody_says_so() {
    let mut server = Server::new();
    let (first, second) =
        (numbered("OTHERS", "1", "张三", "1980-01-01"), numbered("OTHERS", "2", "李四", "1991-02-02"));
    server.has(&[("Patient/1", first), ("Patient/2", gives_way("Patient/1", second.clone()))]);
    server.has(&[("Encounter/2", visit_of_patient("Patient/2"))]);
    assert_eq!(server.visit("2"), "planned -, of OTHERS|2");
    let (one, other) = (server.one_id_of("Patient/1"), server.one_id_of("Patient/2"));
    server.decides_to_merge(&one, &other);
    assert_eq!(server.one_id_of("Patient/2"), one);
    server.tell();
    server.has(&[("Encounter/2", visit_of_patient("Patient/2"))]);
    assert_eq!(server.visit("2"), "planned -, of OTHERS|1");
    server.has(&[("Patient/2", second)]);
    server.has(&[("Encounter/2", visit_of_patient("Patient/2"))]);
    assert_eq!(server.visit("2"), "planned -, of OTHERS|2");
}

/// [`person`] who gives way to these.
fn gives_way_to_all(all: &[&str], mut content: Json) -> Json {
    let link = |to: &&str| replaced_by(to)["link"][0].clone();
    content["link"] = all.iter().map(link).collect();
    content
}

#[test]
fn who_is_replaced_by_several_is_its_own_until_they_are_one() {
    let mut server = Server::new();
    let wang = || person("M3", "王五", "1985-05-05");
    server.has(&[("Patient/1", zhang()), ("Patient/2", li()), ("Patient/3", wang())]);
    let one_id = |server: &Server, id: &str| server.one_id_of(&format!("Patient/{id}"));
    let all = |server: &Server| ["1", "2", "3"].map(|id| one_id(server, id));
    let before = all(&server);
    server.has(&[("Patient/3", gives_way_to_all(&["Patient/1", "Patient/2"], wang()))]);
    assert_eq!(all(&server), before);
    assert_eq!(server.cases(), ["possible_match HIS|M1 HIS|M3", "possible_match LAB|7 HIS|M3"]);
    // They are one, and two again.
    for _ in 0..2 {
        server.has(&[("Patient/2", gives_way("Patient/1", li()))]);
        assert_eq!(all(&server), [before[0].clone(), before[0].clone(), before[0].clone()]);
        assert_eq!(server.cases(), Vec::<String>::new());
        server.has(&[("Patient/2", li())]);
        assert_eq!(all(&server), before);
    }
    // One of them is there no more.
    server.loses("Patient/2");
    assert_eq!(one_id(&server, "3"), before[0]);
    server.has(&[("Patient/2", li())]);
    assert_eq!(one_id(&server, "3"), before[2]);
    // Of one that was replaced by one alone.
    server.has(&[("Patient/3", gives_way("Patient/2", wang()))]);
    assert_eq!(one_id(&server, "3"), before[1]);
    server.has(&[("Patient/3", gives_way_to_all(&["Patient/1", "Patient/2"], person("M3", "王五常", "1985-05-05")))]);
    assert_eq!(all(&server), before);
    assert!(server.patients().contains(&"HIS|M3: 王五常 -".to_owned()));
}

#[test]
fn of_two_patients_that_are_one_record_and_are_replaced_by_two_neither_goes_along_whatever_comes_first() {
    let wang = || person("M3", "王五", "1985-05-05");
    for order in [["3", "4"], ["4", "3"]] {
        let mut server = Server::new();
        server.has(&[("Patient/1", zhang()), ("Patient/2", li()), ("Patient/3", wang()), ("Patient/4", wang())]);
        let before = server.one_id_of("Patient/3");
        assert_eq!(server.one_id_of("Patient/4"), before);
        for id in order {
            let to = if id == "3" { "Patient/1" } else { "Patient/2" };
            server.has(&[(&format!("Patient/{id}"), gives_way(to, wang()))]);
        }
        assert_eq!(server.one_id_of("Patient/3"), before, "{order:?}");
        server.has(&[("Patient/3", wang())]);
        assert_eq!(server.one_id_of("Patient/3"), server.one_id_of("Patient/2"), "{order:?}");
        server.has(&[("Patient/3", gives_way("Patient/2", wang()))]);
        assert_eq!(server.one_id_of("Patient/3"), server.one_id_of("Patient/2"), "{order:?}");
        server.has(&[("Patient/4", gives_way("Patient/1", wang()))]);
        assert_eq!(server.one_id_of("Patient/4"), before, "{order:?}");
        server.loses("Patient/3");
        assert_eq!(server.one_id_of("Patient/4"), server.one_id_of("Patient/1"), "{order:?}");
    }
}

#[test]
fn who_give_way_to_each_other_with_numbers_of_two_authorities_are_one() {
    let mut server = Server::new();
    server.has(&[("Patient/1", gives_way("Patient/2", zhang())), ("Patient/2", gives_way("Patient/1", li()))]);
    assert_eq!(server.one_id_of("Patient/1"), server.one_id_of("Patient/2"));
    let mut names = server.patients();
    names.sort();
    assert_eq!(names, ["HIS|M1: 张三 -", "LAB|7: 李四 -"]);
}

#[test]
fn who_gave_way_to_a_patient_that_is_deleted_stands_for_itself() {
    let mut server = Server::new();
    server.has(&[("Patient/1", zhang()), ("Patient/2", li()), ("Encounter/2", visit_of_patient("Patient/2"))]);
    let before = server.one_id_of("Patient/2");
    server.has(&[("Patient/2", gives_way("Patient/1", li()))]);
    assert_ne!(server.one_id_of("Patient/2"), before);
    server.loses("Patient/1");
    assert_eq!((server.one_id_of("Patient/2"), server.visit("2").as_str()), (before, "planned -, of LAB|7"));
    assert_eq!(server.patients(), ["HIS|M1: 张三 - deleted", "LAB|7: 李四 -"]);
    server.has(&[("Patient/1", zhang())]);
    assert_eq!(server.one_id_of("Patient/2"), server.one_id_of("Patient/1"));
}

#[test]
fn of_two_patients_that_are_one_record_the_one_that_is_left_decides_whether_it_gives_way() {
    let mut server = Server::new();
    server.has(&[("Patient/1", zhang()), ("Patient/2", li()), ("Patient/3", li())]);
    assert_eq!(server.one_id_of("Patient/2"), server.one_id_of("Patient/3"));
    let before = server.one_id_of("Patient/3");
    let merged = server.one_id_of("Patient/1");
    server.has(&[("Patient/2", gives_way("Patient/1", li()))]);
    assert_eq!(server.one_id_of("Patient/3"), merged);
    server.has(&[("Patient/2", li())]);
    assert_eq!(server.one_id_of("Patient/3"), before);
    server.has(&[("Patient/2", gives_way("Patient/1", li()))]);
    server.loses("Patient/2");
    assert_eq!(server.one_id_of("Patient/3"), before);
    server.has(&[("Patient/2", gives_way("Patient/1", li())), ("Patient/3", gives_way("Patient/1", li()))]);
    server.has(&[("Patient/2", li())]);
    assert_eq!(server.one_id_of("Patient/3"), merged);
}

#[test]
fn a_mapping_may_leave_out_what_is_said_of_who_gave_way() {
    let skip = "[patient]\nskip = [{ when = \"link.exists()\", reason = \"replaced\" }]";
    let mut server = Server::with(&MAPPING.replace("[patient]", skip));
    server.has(&[("Patient/2", gives_way("Patient/1", li())), ("Patient/1", zhang())]);
    server.has(&[("Encounter/2", visit_of_patient("Patient/2"))]);
    assert_eq!((server.visit("2").as_str(), server.visit_name("2").as_str()), ("planned -, of HIS|M1", "张三"));
    assert_eq!(server.one_id_of("Patient/2"), server.one_id_of("Patient/1"));
    server.has(&[("Patient/2", li())]);
    assert_ne!(server.one_id_of("Patient/2"), server.one_id_of("Patient/1"));
    assert_eq!(server.visit("2"), "planned -, of LAB|7");
}

#[test]
fn what_was_asked_because_of_a_link_is_asked_no_longer_when_the_link_is_taken_back_and_again_when_it_is_there_again() {
    let mut server = Server::new();
    let first = || numbered("OTHERS", "1", "张三", "1980-01-01");
    let second = || numbered("OTHERS", "2", "李四", "1991-02-02");
    let wang = || person("M3", "王五", "1985-05-05");
    server.has(&[("Patient/1", first()), ("Patient/2", second()), ("Patient/4", li()), ("Patient/3", wang())]);
    let none = Vec::<String>::new();
    for _ in 0..2 {
        // Not the server's to say.
        server.has(&[("Patient/2", gives_way("Patient/1", second()))]);
        assert_eq!(server.cases(), ["possible_match OTHERS|1 OTHERS|2"]);
        server.has(&[("Patient/2", second())]);
        assert_eq!(server.cases(), none);
        // To two, then to one, to whom it goes.
        server.has(&[("Patient/3", gives_way_to_all(&["Patient/1", "Patient/4"], wang()))]);
        assert_eq!(server.cases(), ["possible_match OTHERS|1 HIS|M3", "possible_match LAB|7 HIS|M3"]);
        server.has(&[("Patient/3", gives_way("Patient/4", wang()))]);
        assert_eq!((server.one_id_of("Patient/3"), server.cases()), (server.one_id_of("Patient/4"), none.clone()));
        server.has(&[("Patient/3", wang())]);
        assert_ne!(server.one_id_of("Patient/3"), server.one_id_of("Patient/4"));
        assert_eq!(server.cases(), none);
    }
    // Whoever gave way is gone, or whoever it gave way to.
    for (given, back) in [("Patient/2", gives_way("Patient/1", second())), ("Patient/1", first())] {
        server.has(&[("Patient/2", gives_way("Patient/1", second()))]);
        assert_eq!(server.cases().len(), 1);
        server.loses(given);
        assert_eq!(server.cases(), none, "{given}");
        server.has(&[(given, back)]);
        assert_eq!(server.cases().len(), 1, "{given}");
    }
}

#[test]
fn what_both_say_of_themselves_is_still_asked_when_a_link_is_taken_back() {
    let mut server = Server::new();
    // The same name and birthday, and no more.
    let alike = |system: &str, number: &str| numbered(system, number, "张伟", "1980-01-02");
    server.has(&[("Patient/1", alike("LAB", "7")), ("Patient/2", zhang()), ("Patient/3", alike("HIS", "M3"))]);
    let asked = server.cases();
    assert_eq!(asked, ["possible_match LAB|7 HIS|M3"]);
    server.has(&[("Patient/3", gives_way_to_all(&["Patient/1", "Patient/2"], alike("HIS", "M3")))]);
    assert_eq!(server.cases().len(), 2);
    server.has(&[("Patient/3", alike("HIS", "M3"))]);
    assert_eq!(server.cases(), asked);
}

#[test]
fn who_gave_way_and_is_deleted_stays_there_and_is_its_own_when_it_comes_back() {
    for number in ["M2", "M9"] {
        let mut server = Server::new();
        let wu = |number: &str| person(number, "吴六", "1977-07-07");
        server.has(&[("Patient/1", zhang()), ("Patient/2", wu("M2"))]);
        let (first, second) = (server.one_id_of("Patient/1"), server.one_id_of("Patient/2"));
        server.has(&[("Patient/2", gives_way("Patient/1", wu("M2")))]);
        server.loses("Patient/2");
        assert_eq!(server.one_id_of("Patient/2"), first);
        server.has(&[("Patient/2", wu(number))]);
        assert_eq!([server.one_id_of("Patient/1"), server.one_id_of("Patient/2")], [first, second], "{number}");
    }
}

#[test]
fn a_patient_who_went_along_with_one_that_gave_way_and_is_deleted_is_its_own_again() {
    let mut server = Server::new();
    let same = |number: &str| {
        let mut content = person(number, "欧阳丽", "2004-06-05");
        content["identifier"][0]["system"] = serde_json::json!("LAB");
        content
    };
    server.has(&[("Patient/1", zhang()), ("Patient/2", same("7")), ("Patient/3", same("7"))]);
    server.has(&[("Patient/3", numbered("emr", "3", "欧阳丽", "2004-06-05"))]);
    server.has(&[("Patient/3", same("7"))]);
    let before = server.one_id_of("Patient/2");
    assert_eq!(server.one_id_of("Patient/3"), before);
    server.has(&[("Patient/3", gives_way("Patient/1", same("7")))]);
    server.loses("Patient/3");
    assert_eq!(server.one_id_of("Patient/2"), before);
    assert_ne!(server.one_id_of("Patient/1"), before);
}

#[test]
fn the_number_of_one_who_gave_way_and_is_deleted_is_the_next_patients_own() {
    let wang = || person("M5", "王五", "1985-05-05");
    // Another one, who had a number of its own or comes only now, and the same one anew.
    for (before, after) in [
        (Some(person("M3", "欧阳丽", "2004-06-05")), person("M5", "欧阳丽", "2004-06-05")),
        (None, person("M5", "欧阳丽", "2004-06-05")),
        (None, wang()),
    ] {
        let mut server = Server::new();
        server.has(&[("Patient/1", zhang()), ("Patient/2", wang()), ("Encounter/2", visit_of_patient("Patient/2"))]);
        server.has(&[("Patient/2", gives_way("Patient/1", wang()))]);
        server.loses("Patient/2");
        if let Some(before) = before {
            server.has(&[("Patient/3", before)]);
        }
        server.has(&[("Patient/3", after.clone()), ("Encounter/3", visit_of_patient("Patient/3"))]);
        assert_ne!(server.one_id_of("Patient/3"), server.one_id_of("Patient/1"), "{after}");
        assert_eq!(server.visit("3"), "planned -, of HIS|M5");
        assert_eq!(server.visit_name("3"), after["name"][0]["text"]);
    }
}

#[test]
fn what_is_about_a_deleted_patient_is_not_the_next_ones_of_its_number() {
    let mut server = Server::new();
    server.has(&[("Patient/1", zhang()), ("Encounter/1", visit_of_patient("Patient/1"))]);
    server.loses("Patient/1");
    server.has(&[("Patient/2", person("M1", "欧阳丽", "2004-06-05")), ("Encounter/2", visit_of_patient("Patient/2"))]);
    assert_eq!((server.visit_name("1"), server.visit_name("2")), ("张三".to_owned(), "欧阳丽".to_owned()));
    assert_ne!(server.one_id_of("Patient/1"), server.one_id_of("Patient/2"));
}
