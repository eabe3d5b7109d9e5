//! The model of matching: learned from the site's own records, compared, switched by people; whatever it says, it moves nobody by itself.

use serde_json::{Value, json};

use crate::support::hl7::{adt, resident_number, segment};
use crate::support::site::Site;

const SURNAMES: [&str; 12] = ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙"];
const GIVEN: [&str; 10] = ["伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "洋", "艳"];

/// A registration of `authority|number`; empty texts are left out.
fn registered(
    authority: &str,
    number: &str,
    name: &str,
    birth: &str,
    sex: &str,
    resident: &str,
    phone: &str,
) -> String {
    let own = format!("{number}^^^{authority}^MR");
    let numbers = if resident.is_empty() { own } else { format!("{own}~{resident}^^^MPS^NNCHN") };
    let pid = segment("PID", &[(3, &numbers), (5, name), (7, birth), (8, sex), (13, phone)]);
    adt("A28", &format!("{authority}-{number}"), "20240305080000", &[pid])
}

/// Each of `people` at the hospital and at the laboratory, with a resident number or a phone, or both; every 20th has another name at the
/// laboratory, and is two persons.
fn town(people: u32) -> [String; 2] {
    ["HIS", "LIS"].map(|authority| {
        let person = |place: u32| {
            let (surname, given) = (SURNAMES[place as usize * 7 % 12], GIVEN[place as usize * 3 / 5 % 10]);
            let slip = authority == "LIS" && place.is_multiple_of(20);
            let name = if slip { format!("{surname}^{given}{given}") } else { format!("{surname}^{given}") };
            let birth = format!("{}{:02}{:02}", 1940 + place * 11 % 60, 1 + place % 12, 1 + place * 5 % 28);
            let sex = if place.is_multiple_of(3) { "M" } else { "F" };
            let resident = resident_number(&birth, 100 + (place % 400) as u16 * 2 + u16::from(sex == "M"));
            let phone = format!("139{:08}", 12_345_679 + place * 7_654_321 % 80_000_000);
            registered(authority, &place.to_string(), &name, &birth, sex, &resident, &phone)
        };
        (0..people).map(person).collect()
    })
}

fn import(site: &Site, [his, lis]: [String; 2]) {
    for (source, messages) in [("his", his), ("lis", lis)] {
        let file = site.write(&format!("{source}.hl7"), messages);
        site.run(&["import", source, file.to_str().unwrap()]).exits(0);
    }
}

/// Two pairs: by name and birth date alone (asked about), and with another sex and phone (not worth asking); and one that
/// is linked by name, birth date and phone.
fn alike() -> [String; 2] {
    ["HIS", "LIS"].map(|authority| {
        let (sex, phone) = if authority == "HIS" { ("M", "13912340001") } else { ("F", "13612340002") };
        [
            registered(authority, "1", "王^伟", "19700506", "M", "", ""),
            registered(authority, "2", "张^伟", "19800102", sex, "", phone),
            registered(authority, "3", "李^娜", "19900307", "F", "", "13912345678"),
        ]
        .concat()
    })
}

fn links(site: &Site) -> Value {
    site.json(&["person", "links", "--json"])["links"].clone()
}

fn reviews(site: &Site) -> Vec<Value> {
    site.json(&["review", "list", "--json"])["reviews"].as_array().unwrap().clone()
}

fn pair(review: &Value) -> (&str, [&str; 2]) {
    let record = |place: usize| review["records"][place].as_str().unwrap();
    (review["kind"].as_str().unwrap(), [record(0), record(1)])
}

#[test]
fn a_model_is_learned_into_a_new_file_and_only_people_switch_it() {
    let site = Site::new();
    import(&site, town(240));
    let (before, shown) = (links(&site), site.json(&["identity", "show", "--json"]));
    assert_eq!((&shown["file"], &shown["version"]), (&Value::Null, &json!("default-1")));

    let trained = site.json(&["identity", "train", "--json"]);
    let (file, version) = (trained["file"].as_str().unwrap(), trained["version"].as_str().unwrap());
    assert!(version.starts_with("site-20"), "{version}");
    assert!(file.ends_with(&format!("identity-{version}.toml")), "{file}");
    assert_eq!(trained["people"], 252);
    let setting = |section: &str, key: &str| {
        let settings = trained["settings"].as_array().unwrap();
        let is = |learned: &&Value| learned["section"] == section && learned["key"] == key;
        settings.iter().find(is).unwrap_or_else(|| panic!("no {section}.{key}: {trained}"))
    };
    let exact = setting("weights.name", "exact");
    // Two people to a name, so one of some 240 others shares it: worth less than in a country.
    let weight = exact["after"].as_f64().unwrap();
    assert!(exact["kept"].is_null() && (7.2..8.2).contains(&weight), "{exact}");
    assert!(exact["expected_matches"].as_f64().unwrap() > 400.0, "{exact}");
    let number = setting("weights.identity_number", "exact");
    assert_eq!((&number["kept"], &number["after"]), (&json!("by_reason"), &json!(28.0)));
    assert_eq!(setting("weights.mother_identifier", "equal")["kept"], "by_reason");
    assert_eq!(setting("weights.address", "exact")["kept"], "few_matches");
    let blocks = trained["blocks"].as_array().unwrap();
    for wanted in ["name_birth_date", "identity_number", "phone"] {
        let block = blocks.iter().find(|block| block["block"] == wanted).unwrap_or_else(|| panic!("{blocks:?}"));
        let share = block["expected_matches"].as_f64().unwrap() / block["pairs"].as_f64().unwrap();
        assert!(share > 0.9, "{block}");
    }

    assert_eq!(site.json(&["identity", "show", "--json"]), shown, "the model in force is as before");
    // Taken today already.
    let again = site.json(&["identity", "train", "--json"]);
    assert_eq!(again["version"], format!("{version}-2"));
    assert_eq!(again["settings"], trained["settings"], "the same records give the same weights");
    let other = site.path("other.toml");
    let out = ["identity", "train", "--out", other.to_str().unwrap()];
    site.run(&out).exits(0);
    let written = std::fs::read_to_string(&other).unwrap();
    let refused = site.run(&out).exits(2);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    site.write("other.toml", "");
    site.run(&[&out[..], &["--force"]].concat()).exits(0);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), written);

    site.write("config/identity.toml", std::fs::read(file).unwrap());
    site.run(&["check"]).exits(0);
    assert_eq!(site.json(&["identity", "show", "--json"])["version"], version);
    assert!(site.run(&["identity", "show"]).exits(0).stdout.contains("config/identity.toml"));
    let in_force = site.path("config/identity.toml");
    let over = ["identity", "train", "--force", "--out", in_force.to_str().unwrap()];
    let refused = site.run(&over).exits(2);
    assert!(refused.stderr.contains("in force"), "{}", refused.stderr);
    assert_eq!(links(&site), before, "nobody was moved by any of this");
}

#[test]
fn a_comparison_says_what_another_model_would_change_and_changes_nothing() {
    let site = Site::new();
    import(&site, alike());
    let (before, asked) = (links(&site), reviews(&site));
    let compare = |text: &str| {
        let file = site.write("other.toml", text);
        site.json(&["identity", "compare", file.to_str().unwrap(), "--json"])
    };
    let same = compare("version = \"same\"");
    assert_eq!((&same["changes"], &same["models"]), (&json!([]), &json!(["default-1", "same"])));
    assert_eq!(same["pairs"], 3, "{same}");

    let bolder = compare("version = \"bolder\"\n[decide]\nlink = 0.9\nprior_alone = -18.0");
    let changes = bolder["changes"].as_array().unwrap();
    let kinds: Vec<(&str, &str, u64)> = changes
        .iter()
        .map(|change| {
            let text = |name: &str| change[name].as_str().unwrap();
            (text("was"), text("would_be"), change["pairs"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(kinds, [("review", "link", 1), ("nothing", "review", 1)], "{bolder}");
    let sample = &changes[0]["samples"][0];
    assert_eq!(sample["records"], json!(["HIS|1", "LIS|1"]));
    let probability = |place: usize| sample["probabilities"][place].as_f64().unwrap();
    assert!(probability(0) > 0.5 && probability(0) < probability(1), "{sample}");
    assert_eq!((&bolder["persons_joined"], &bolder["persons_split"]), (&json!(1), &json!(0)));

    let timid = compare("version = \"timid\"\n[decide]\nprior = -40.0\nprior_alone = -40.0");
    assert_eq!((&timid["persons_joined"], &timid["persons_split"]), (&json!(0), &json!(1)), "{timid}");
    let told = site.run(&["identity", "compare", "other.toml"]).exits(0).stdout;
    assert!(told.contains("HIS|3") && !told.contains('李'), "numbers, no names: {told}");
    assert_eq!((links(&site), reviews(&site)), (before, asked));
}

#[test]
fn case_60_a_switched_model_asks_and_moves_nobody() {
    let site = Site::new();
    import(&site, alike());
    let before = links(&site);
    let open = reviews(&site);
    assert_eq!(open.iter().map(pair).collect::<Vec<_>>(), [("possible_match", ["HIS|1", "LIS|1"])]);
    let rescored = |opened: u64| {
        let told = site.json(&["identity", "rescore", "--json"]);
        assert_eq!((&told["opened"], &told["complete"]), (&json!(opened), &json!(true)), "{told}");
        assert_eq!(links(&site), before);
    };
    rescored(0);

    site.write("config/identity.toml", "version = \"bolder\"\n[decide]\nlink = 0.9\nprior_alone = -18.0");
    rescored(1);
    let mut open = reviews(&site);
    open.sort_by_key(|review| review["id"].as_u64());
    let pairs: Vec<_> = open.iter().map(pair).collect();
    assert_eq!(pairs, [("possible_match", ["HIS|1", "LIS|1"]), ("possible_match", ["HIS|2", "LIS|2"])]);
    assert_eq!(open[1]["evidence"]["model"], "bolder", "{}", open[1]);
    rescored(0);

    // What somebody has decided is not asked again.
    let id = open[1]["id"].to_string();
    site.run(&["review", "decide", &id, "reject", "--reason", "two patients", "--by", "li"]).exits(0);
    site.write("config/identity.toml", "version = \"timid\"\n[decide]\nprior = -40.0\nprior_alone = -40.0");
    rescored(1);
    let open = reviews(&site);
    let pairs: Vec<_> = open.iter().map(pair).collect();
    assert!(pairs.contains(&("data_quality", ["HIS|3", "LIS|3"])), "{pairs:?}");
    assert!(!pairs.iter().any(|(_, records)| *records == ["HIS|2", "LIS|2"]), "{pairs:?}");
}

#[test]
fn a_limit_stops_a_rescore_and_the_next_goes_on() {
    let site = Site::new();
    let people = |authority: &str| {
        let person = |place: usize| {
            let (name, birth) =
                (format!("{}^{}", SURNAMES[place % 12], GIVEN[place / 12]), format!("{}0102", 1950 + place));
            registered(authority, &place.to_string(), &name, &birth, "M", "", "")
        };
        (0..40).map(person).collect::<String>()
    };
    site.write("config/identity.toml", "version = \"timid\"\n[decide]\nprior_alone = -40.0");
    import(&site, ["HIS", "LIS"].map(people));
    assert!(reviews(&site).is_empty());
    site.write("config/identity.toml", "version = \"bolder\"\n[decide]\nprior_alone = -16.0");
    let first = site.json(&["identity", "rescore", "--limit", "5", "--json"]);
    let opened = |told: &Value| told["opened"].as_u64().unwrap();
    assert_eq!(first["complete"], false, "{first}");
    assert!(opened(&first) >= 5 && opened(&first) < 40, "{first}");
    let rest = site.json(&["identity", "rescore", "--json"]);
    assert!(opened(&rest) > 0 && rest["complete"] == true, "{rest}");
    assert_eq!(opened(&first) + opened(&rest), 40);
    assert_eq!(reviews(&site).len(), 40, "each pair once");
}

#[test]
fn what_cannot_be_learned_or_read_is_told() {
    let site = Site::new();
    assert!(site.run(&["identity", "train"]).exits(1).stderr.contains("no store"));
    import(&site, alike());
    let few = site.run(&["identity", "train"]).exits(1);
    assert!(few.stderr.contains("too few records"), "{}", few.stderr);
    let files = std::fs::read_dir(site.path("config")).unwrap().count();
    assert_eq!(files, 1, "nothing was written");
    let wrong = site.write("wrong.toml", "[decide]\nlnk = 0.9");
    let told = site.run(&["identity", "compare", wrong.to_str().unwrap()]).exits(2).stderr;
    assert!(told.contains("wrong.toml:2:1") && told.contains("C003"), "{told}");
    let absent = site.run(&["identity", "compare", "absent.toml"]).exits(2).stderr;
    assert!(absent.contains("cannot be read"), "{absent}");
}
