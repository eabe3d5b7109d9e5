//! Bytes first, characters second: names arrive whole in every character set, and what does not decode cleanly is refused
//! and kept as it came.

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::hl7::{Ack, encoded, gb18030, labelled, pid, registration, segment};
use crate::support::http::query;
use crate::support::site::{Site, configuration};

/// Characters of names whose second byte in GBK is a delimiter of HL7.
const TRAIL_BYTE_NAMES: [char; 12] = ['瑋', '珅', '鍇', '昞', '誠', '錦', '玘', '璣', '琟', '葉', '瑍', '銅'];

fn trail_byte(character: char) -> u8 {
    let bytes = gb18030(&character.to_string());
    assert_eq!(bytes.len(), 2, "{character}");
    bytes[1]
}

/// A registration labelled `label`, as text.
fn registration_labelled(id: &str, number: &str, name: &str, label: &str) -> String {
    let evn = segment("EVN", &[(1, "A28"), (2, "20240305080000")]);
    labelled("ADT^A28", id, "20240305080000", label, &[evn, pid(number, name)])
}

fn assert_refused_and_kept(daemon: &Daemon<'_>, id: &str, answer: &Ack) {
    assert!(["AE", "AR"].contains(&answer.code()), "{}", answer.text());
    assert!(answer.has_error(), "{}", answer.text());
    assert_eq!(answer.control_id(), id);
    let failed = daemon.site.messages(&["--state", "failed"]);
    assert!(failed.iter().any(|message| message["control_id"] == id), "{id} is not among {failed:?}");
}

#[test]
fn names_whose_second_bytes_are_delimiters_arrive_whole() {
    let site = Site::new();
    let daemon = site.start();
    let mut delimiters_seen = std::collections::BTreeSet::new();
    for (index, character) in TRAIL_BYTE_NAMES.into_iter().enumerate() {
        delimiters_seen.insert(trail_byte(character));
        let (id, number) = (format!("C{index}"), format!("P{index}"));
        let name = format!("{character}^{character}{character}");
        let bytes = gb18030(&registration_labelled(&id, &number, &name, "GB 18030-2000"));
        daemon.accept("his", bytes);
        let person = daemon.person(&format!("HIS|{number}"));
        assert_eq!(person["family_name"], character.to_string());
        assert_eq!(person["given_name"], format!("{character}{character}"));
    }
    assert_eq!(delimiters_seen.into_iter().collect::<Vec<_>>(), b"\\^|~", "the test's own premise");
    let feed = serde_json::to_string(&daemon.feed()).unwrap();
    assert!(!feed.contains('\u{fffd}'));
}

#[test]
fn rare_characters_of_four_bytes_arrive_whole() {
    let site = Site::new();
    let daemon = site.start();
    let bytes = gb18030(&registration_labelled("C1", "P1", "䶮^㛃𠮷", "GB18030"));
    daemon.accept("his", bytes);
    assert_eq!(daemon.person("HIS|P1")["name"], "䶮㛃𠮷");
}

#[test]
fn every_label_seen_in_practice_is_understood() {
    let site = Site::new();
    let daemon = site.start();
    let utf8 = ["UNICODE UTF-8", "UNICODE", "UTF-8", "UTF8", "unicode utf-8", ""];
    let chinese = ["GB 18030-2000", "GB18030", "GBK", "GB2312", "gb 18030-2000", ""];
    let check = |index: usize, label: &str, bytes: &dyn Fn(&str) -> Vec<u8>| {
        let number = format!("P{index}");
        let text = registration_labelled(&format!("C{index}"), &number, "欧阳^建国", label);
        let answer = daemon.send("his", bytes(&text));
        assert_eq!(answer.code(), "AA", "{label:?}: {}", answer.text());
        assert_eq!(daemon.person(&format!("HIS|{number}"))["name"], "欧阳建国", "{label:?}");
    };
    for (index, label) in utf8.into_iter().enumerate() {
        check(index, label, &|text| text.as_bytes().to_vec());
    }
    for (index, label) in chinese.into_iter().enumerate() {
        check(100 + index, label, &gb18030);
    }
    // Somebody else, or the golden record would choose between the two spellings of one name.
    let traditional = registration_labelled("B1", "B1", "歐陽^建國", "BIG-5").replace("19800102", "19550607");
    daemon.accept("his", encoded(encoding_rs::BIG5, &traditional));
    assert_eq!(daemon.person("HIS|B1")["name"], "歐陽建國");
}

#[test]
fn a_source_may_force_its_character_set() {
    let site = Site::configured(&configuration(r#", charset = "GB18030""#, ""));
    let daemon = site.start();
    // The label lies, the configuration knows better: that is what the setting is for.
    let bytes = gb18030(&registration_labelled("C1", "P1", "张^瑋", "UNICODE UTF-8"));
    daemon.accept("his", bytes);
    assert_eq!(daemon.person("HIS|P1")["name"], "张瑋");
}

#[test]
fn mislabelled_text_is_refused_kept_and_shown_and_the_next_message_works() {
    let site = Site::new();
    let daemon = site.start();
    let chinese_called_utf8 = gb18030(&registration_labelled("M1", "P1", "张^瑋", "UNICODE UTF-8"));
    let chinese_called_ascii = gb18030(&registration_labelled("M2", "P2", "李^娜", "ASCII"));
    let utf8_called_chinese = registration_labelled("M3", "P3", "王^秀英", "GB 18030-2000").into_bytes();
    let utf8_called_latin = registration_labelled("M4", "P4", "赵^敏", "8859/1").into_bytes();
    let mut cut = registration_labelled("M5", "P5", "孙^立", "UNICODE UTF-8").into_bytes();
    let place = cut.windows(3).position(|bytes| bytes == "孙".as_bytes()).unwrap();
    cut.remove(place + 1);
    let mut half = gb18030(&registration_labelled("M6", "P6", "周", "GB 18030-2000"));
    let place = half.windows(2).position(|bytes| bytes == gb18030("周")).unwrap();
    half.remove(place);
    half[place] = 0xFF;
    let cases = [chinese_called_utf8, chinese_called_ascii, utf8_called_chinese, utf8_called_latin, cut, half];
    for (index, bytes) in cases.iter().enumerate() {
        let id = format!("M{}", index + 1);
        assert_refused_and_kept(&daemon, &id, &daemon.send("his", bytes));
        daemon.accept("his", registration(&format!("G{index}"), &format!("G{index}"), "钱^多多"));
    }
    let feed = serde_json::to_string(&daemon.feed()).unwrap();
    assert!(!feed.contains('\u{fffd}') && !feed.contains("\"P1\""), "nothing of a refused message reaches the feed");
}

#[test]
fn a_refused_message_is_kept_byte_for_byte() {
    let site = Site::new();
    let bytes = gb18030(&registration_labelled("M1", "P1", "张^瑋", "UNICODE UTF-8"));
    let daemon = site.start();
    daemon.send("his", &bytes);
    daemon.kill();
    // The store's own file, read by an independent SQLite and LZ4: no code of the product between the bytes and the test.
    let store = rusqlite::Connection::open(site.path("data/heyi.db")).unwrap();
    let raw: Vec<Vec<u8>> = blobs(&store);
    assert!(raw.contains(&bytes), "no blob of the store is the message as it was sent");
}

/// Every blob of the store, decompressed where it is compressed.
fn blobs(store: &rusqlite::Connection) -> Vec<Vec<u8>> {
    let names = |sql: &str| -> Vec<String> {
        let mut statement = store.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut found = Vec::new();
    for table in names("SELECT name FROM sqlite_schema WHERE type = 'table'") {
        for column in names(&format!("SELECT name FROM pragma_table_info('{table}')")) {
            let sql = format!("SELECT \"{column}\" FROM \"{table}\" WHERE typeof(\"{column}\") = 'blob'");
            let mut statement = store.prepare(&sql).unwrap();
            for blob in statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap() {
                let blob = blob.unwrap();
                // Other blobs begin with a length that no LZ4 block of this size can have.
                let length = blob.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
                if length < 256 * blob.len() {
                    found.extend(lz4_flex::block::decompress_size_prepended(&blob));
                }
                found.push(blob);
            }
        }
    }
    found
}

#[test]
fn a_chinese_name_is_found_by_a_query() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", gb18030(&registration_labelled("C1", "P1", "欧阳^珅", "GB 18030-2000")));
    daemon.accept("his", registration("C2", "P2", "欧阳^娜"));
    let found = daemon.json(&format!("/v1/persons?name={}&birth_date=1980-01-02", query("欧阳珅")));
    let persons = found["persons"].as_array().unwrap();
    assert_eq!(persons.iter().map(|person| person["name"].as_str().unwrap()).collect::<Vec<_>>(), ["欧阳珅"]);
    let numbers: Vec<&Value> = persons[0]["identifiers"].as_array().unwrap().iter().collect();
    assert!(numbers.iter().any(|number| number["value"] == "P1" && number["system"] == "HIS"), "{numbers:?}");
}

#[test]
fn escapes_in_chinese_text_are_read() {
    let site = Site::new();
    let daemon = site.start();
    let name = r"张\T\李^三\S\四";
    daemon.accept("his", gb18030(&registration_labelled("C1", "P1", name, "GB 18030-2000")));
    let person = daemon.person("HIS|P1");
    assert_eq!((person["family_name"].as_str(), person["given_name"].as_str()), (Some("张&李"), Some("三^四")));
}
