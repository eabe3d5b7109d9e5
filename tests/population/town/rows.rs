//! What sources write of a person: each row is one patient of one source, with the errors that desks make.
//!
//! Every value carries what it is (its kind): the truth that relations and decidable pairs are judged by, without reading the text.

use jiff::civil::Date;

use super::names::{self, Name};
use super::people::{Home, Origin, People, Person, TODAY, minus, mobile, with_check};
use super::random::Random;
use super::rates::RATES;

/// A source of the town.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Feed {
    His,
    Lis,
    Emr,
    /// The other campus, with a system of its own.
    East,
}

pub(crate) const FEEDS: [Feed; 4] = [Feed::His, Feed::Lis, Feed::Emr, Feed::East];

/// How often a source has what (shares), and how often its desks go wrong, of the usual rate.
struct Habits {
    resident: f64,
    insurance: f64,
    health_card: f64,
    phone: f64,
    address: f64,
    birth_date: f64,
    pinyin: f64,
    loses_rare: f64,
    carelessness: f64,
}

impl Feed {
    fn habits(self) -> Habits {
        let usual = Habits {
            resident: 0.92,
            insurance: 0.7,
            health_card: 0.5,
            phone: 0.93,
            address: 0.85,
            birth_date: 0.985,
            pinyin: 0.0,
            loses_rare: 0.1,
            carelessness: 1.0,
        };
        let habits = match self {
            Self::His => usual,
            Self::Emr => {
                Habits { resident: 0.82, insurance: 0.4, health_card: 0.25, phone: 0.85, address: 0.75, ..usual }
            }
            Self::East => Habits { resident: 0.88, pinyin: 0.003, loses_rare: 0.3, carelessness: 1.5, ..usual },
            Self::Lis => Habits {
                resident: 0.6,
                insurance: 0.3,
                health_card: 0.35,
                phone: 0.6,
                address: 0.15,
                birth_date: 0.92,
                pinyin: 0.06,
                loses_rare: 0.5,
                carelessness: 1.2,
            },
        };
        let resident = 1.0 - (1.0 - habits.resident) * RATES.numbers;
        Habits { resident, carelessness: habits.carelessness * RATES.slips, ..habits }
    }

    /// The assigning authority of its numbers.
    pub(crate) fn authority(self) -> &'static str {
        match self {
            Self::His => "HIS",
            Self::Lis => "LIS",
            Self::Emr => "EMR",
            Self::East => "EAST",
        }
    }
}

/// What a written name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// The person's, perhaps with what normal forms leave out: blanks, remarks, traditional characters.
    Own,
    SameSound,
    /// One character is another.
    OneCharacter,
    Pinyin,
    /// A rare character is `?`, a box or pinyin.
    Lost,
    /// Named after the mother.
    Newborn,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BirthKind {
    Own,
    Missing,
    /// 1900-01-01.
    Placeholder,
    Swapped,
    OneDigit,
    Lunar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberKind {
    /// The person's, in any spelling, with 15 digits too.
    Own,
    /// One digit is wrong.
    Typo,
    /// A relative's.
    Relatives,
    /// What stands for none.
    Placeholder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PhoneKind {
    Own,
    Relatives,
    /// The hospital's: on dozens of people.
    Desk,
    /// One digit is wrong.
    Typo,
}

/// A value as written, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said<K> {
    pub(crate) text: String,
    pub(crate) kind: K,
}

/// What one message says of a patient.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    pub(crate) name: Name,
    pub(crate) name_kind: NameKind,
    pub(crate) birth_date: Said<BirthKind>,
    /// `M`, `F` or `U`.
    pub(crate) sex: char,
    pub(crate) sex_is_wrong: bool,
    pub(crate) resident: Option<Said<NumberKind>>,
    pub(crate) insurance: Option<Said<NumberKind>>,
    pub(crate) health_card: Option<String>,
    pub(crate) passport: Option<String>,
    /// The number in digits, as compared.
    pub(crate) phone: Option<Said<PhoneKind>>,
    /// The same as sent.
    pub(crate) phone_as_sent: String,
    /// The place of the home, and how it is written.
    pub(crate) address: Option<(usize, String)>,
    /// The mother's number at the HIS.
    pub(crate) mother: Option<String>,
    pub(crate) birth_order: Option<u8>,
}

/// One patient of one source.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The person's place in the town.
    pub(crate) person: usize,
    pub(crate) feed: Feed,
    /// The medical record number.
    pub(crate) number: String,
    pub(crate) seen: Date,
    /// What the source said before it knew better.
    pub(crate) first: Option<Sheet>,
    /// What it says now.
    pub(crate) sheet: Sheet,
}

/// Numbers that are typed for none. The last two have a valid check character and a possible date of birth.
const PLACEHOLDERS: [&str; 9] = [
    "111111111111111111",
    "000000000000000000",
    "123456789012345678",
    "999999999999999999",
    "11010119000101100X",
    "无",
    "不详",
    "320102198001010012",
    "110101199003070011",
];
const DESKS: [&str; 3] = ["02583106666", "02583304616", "02586862000"];
/// What desks add to names.
const REMARKS: [&str; 10] = ["（男）", "(女)", "VIP", "(VIP)", "2", " ", "　", "1", "（本院）", "女士"];

/// Writes the rows of all people: 2.3 for each, in no order.
pub(crate) fn write(random: &mut Random, people: &People) -> Vec<Row> {
    let mut writer = Writer { people, rows: Vec::new(), his_numbers: vec![None; people.all.len()] };
    for person in 0..people.all.len() {
        match people.all[person].origin {
            Origin::Unknown => writer.unknown(random, person),
            _ if people.all[person].is_newborn => writer.newborn(random, person),
            _ => writer.ordinary(random, person),
        }
    }
    writer.rows
}

struct Writer<'p> {
    people: &'p People,
    rows: Vec<Row>,
    /// Each person's first number at the HIS, which children name as their mother's.
    his_numbers: Vec<Option<String>>,
}

impl Writer<'_> {
    fn push(&mut self, person: usize, feed: Feed, seen: Date, first: Option<Sheet>, sheet: Sheet) {
        let number = format!("{}{:08}", &feed.authority()[..1], self.rows.len() + 1);
        if feed == Feed::His && self.his_numbers[person].is_none() {
            self.his_numbers[person] = Some(number.clone());
        }
        self.rows.push(Row { person, feed, number, seen, first, sheet });
    }

    fn ordinary(&mut self, random: &mut Random, person: usize) {
        let count = 1 + random.weighted(&[24, 37, 25, 11, 3]);
        let mut feeds = Vec::new();
        while feeds.len() < count {
            let feed = FEEDS[random.weighted(&[40, 20, 22, 18])];
            // The same patient twice at one source: 4 % of all are registered again.
            if !feeds.contains(&feed) || random.chance(0.04) || feeds.len() >= 4 {
                feeds.push(feed);
            }
        }
        for feed in feeds {
            let born = self.people.all[person].born;
            let seen = minus(TODAY, random.between(1, 3650)).max(minus(born, -random.between(30, 900))).min(TODAY);
            let sheet = self.sheet(random, person, feed, seen);
            // Brought in without a name, or changed later: the number stays.
            let first = match random.below(1000) {
                0..=2 if feed != Feed::Lis => Some(unknown_sheet(random)),
                3..=62 => Some(self.sheet(random, person, feed, seen)),
                _ => None,
            };
            self.push(person, feed, seen, first, sheet);
        }
    }

    fn unknown(&mut self, random: &mut Random, person: usize) {
        let feed = if random.chance(0.8) { Feed::His } else { Feed::East };
        // Several of one night share the day.
        let seen = minus(TODAY, random.between(1, 120) * 30);
        let sheet = unknown_sheet(random);
        self.push(person, feed, seen, None, sheet);
    }

    /// Named after the mother at first; later a name under the same number, under a new one, or elsewhere.
    fn newborn(&mut self, random: &mut Random, person: usize) {
        let born = self.people.all[person].born;
        let campus = if random.chance(0.8) { Feed::His } else { Feed::East };
        let nameless = self.newborn_sheet(random, person, campus);
        let later = minus(born, -random.between(10, 60)).min(TODAY);
        match random.weighted(&[40, 22, 38]) {
            0 => {
                let sheet = self.sheet(random, person, campus, later);
                self.push(person, campus, later, Some(nameless), sheet);
            }
            1 => {
                self.push(person, campus, born, None, nameless);
                let sheet = self.sheet(random, person, campus, later);
                self.push(person, campus, later, None, sheet);
            }
            _ => self.push(person, campus, born, None, nameless),
        }
        for feed in [Feed::Emr, Feed::Lis] {
            if random.chance(0.35) {
                let is_named = random.chance(0.4);
                let seen = if is_named { later } else { born };
                let sheet = match is_named {
                    true => self.sheet(random, person, feed, seen),
                    false => self.newborn_sheet(random, person, feed),
                };
                self.push(person, feed, seen, None, sheet);
            }
        }
    }

    fn newborn_sheet(&self, random: &mut Random, person: usize, feed: Feed) -> Sheet {
        let child = &self.people.all[person];
        let mut sheet = self.sheet(random, person, feed, child.born);
        let Some(mother) = child.mother else { return sheet };
        let ending = match (child.is_male, child.twin) {
            (true, None) => "之子".to_owned(),
            (false, None) => "之女".to_owned(),
            (is_male, Some(twin)) => {
                let orders = random.pick(&[
                    ["A", "B", "C"],
                    ["1", "2", "3"],
                    ["甲", "乙", "丙"],
                    ["大", "小", "三"],
                    ["", "", ""],
                ]);
                let order = orders[usize::from(twin.order - 1) % 3];
                format!("{}{order}", if is_male { "之子" } else { "之女" })
            }
        };
        sheet.name = Name::new("", &format!("{}{ending}", self.people.all[mother].name.whole()));
        sheet.name_kind = NameKind::Newborn;
        sheet.mother = self.his_numbers[mother].clone().filter(|_| feed == Feed::His && random.chance(0.8));
        sheet.birth_order = child.twin.filter(|_| random.chance(0.8)).map(|twin| twin.order);
        (sheet.insurance, sheet.health_card) = (None, None);
        sheet.resident = self.people.all[mother].resident.clone().filter(|_| random.chance(0.25)).map(relatives);
        sheet
    }

    /// What this source writes of this person on that day.
    fn sheet(&self, random: &mut Random, person: usize, feed: Feed, seen: Date) -> Sheet {
        let (all, habits) = (&self.people.all, feed.habits());
        let truth = &all[person];
        let errs = |random: &mut Random, share: f64| random.chance(share * habits.carelessness);
        let (name, name_kind) = written_name(random, truth, &habits);
        let sex_is_wrong = errs(random, 0.004);
        let sex = match truth.is_male != sex_is_wrong {
            _ if errs(random, 0.012) => 'U',
            true => 'M',
            false => 'F',
        };
        let relative = truth.mother.or(truth.father).filter(|_| truth.age_on(seen) < 14);
        let passport = truth.passports.as_ref().filter(|_| random.chance(habits.resident)).map(|[before, after]| {
            let renewed = seen > minus(TODAY, 5 * 365);
            if renewed { after.clone() } else { before.clone() }
        });
        let resident = if truth.origin == Origin::Foreign {
            None
        } else if !random.chance(habits.resident) {
            random.chance(0.12).then(|| placeholder(random))
        } else if relative.is_some() && (truth.resident.is_none() || random.chance(0.1)) {
            relative.and_then(|relative| all[relative].resident.clone()).filter(|_| random.chance(0.4)).map(relatives)
        } else {
            truth.resident.as_ref().map(|number| written_number(random, number, seen, habits.carelessness))
        };
        let insurance = truth.insurance.clone().filter(|_| random.chance(habits.insurance)).map(|number| {
            let lent = relative.and_then(|relative| all[relative].insurance.clone()).filter(|_| random.chance(0.15));
            lent.map_or(Said { text: number, kind: NumberKind::Own }, relatives)
        });
        let (phone, phone_as_sent) =
            match random.chance(habits.phone).then(|| self.phone(random, person, seen)).flatten() {
                Some(phone) => {
                    let sent = dialled(random, &phone.text);
                    (Some(phone), sent)
                }
                None => (None, String::new()),
            };
        let address = random.chance(habits.address).then(|| {
            let former = truth.former_home.filter(|_| seen < minus(TODAY, 1500) || random.chance(0.2));
            let home = former.unwrap_or(truth.home);
            (home, written_address(random, &self.people.homes[home]))
        });
        let mother = truth.mother.filter(|_| feed == Feed::His && truth.age_on(seen) < 3 && random.chance(0.3));
        Sheet {
            name,
            name_kind,
            birth_date: written_birth(random, truth.born, &habits),
            sex,
            sex_is_wrong,
            resident,
            insurance,
            health_card: truth.health_card.clone().filter(|_| random.chance(habits.health_card)),
            passport,
            phone,
            phone_as_sent,
            address,
            mother: mother.and_then(|mother| self.his_numbers[mother].clone()),
            birth_order: truth.twin.filter(|_| random.chance(0.12)).map(|twin| twin.order),
        }
    }

    fn phone(&self, random: &mut Random, person: usize, seen: Date) -> Option<Said<PhoneKind>> {
        let truth = &self.people.all[person];
        let said = |text: &str, kind| Some(Said { text: text.to_owned(), kind });
        if random.chance(0.004 * RATES.phones) {
            let desk = *random.pick(&DESKS);
            return said(desk, PhoneKind::Desk);
        }
        let relatives_number =
            |relative: Option<usize>| relative.and_then(|relative| self.people.all[relative].phone.clone());
        let Some(current) = &truth.phone else {
            return said(&relatives_number(truth.reached_by)?, PhoneKind::Relatives);
        };
        if let Some(number) =
            relatives_number(truth.mother.or(truth.father)).filter(|_| random.chance(0.06 * RATES.phones))
        {
            return said(&number, PhoneKind::Relatives);
        }
        let former = truth.former_phone.as_ref().filter(|_| seen < minus(TODAY, 1500) || random.chance(0.15));
        let number = former.unwrap_or(current);
        if random.chance(0.012) {
            return Some(Said { text: other_digit(random, number, 3), kind: PhoneKind::Typo });
        }
        // Some have two.
        if random.chance(0.01) {
            return Some(Said { text: mobile(random), kind: PhoneKind::Own });
        }
        said(number, PhoneKind::Own)
    }
}

fn relatives(text: String) -> Said<NumberKind> {
    Said { text, kind: NumberKind::Relatives }
}

fn placeholder(random: &mut Random) -> Said<NumberKind> {
    // Each desk has its habit: the valid ones are typed by few.
    let place = random.weighted(&[20, 14, 14, 8, 14, 12, 10, 5, 3]);
    let text = match PLACEHOLDERS[place] {
        valid if place >= 7 => with_check(&valid[..17]),
        lower if random.chance(0.5) => lower.to_lowercase(),
        text => text.to_owned(),
    };
    Said { text, kind: NumberKind::Placeholder }
}

fn unknown_sheet(random: &mut Random) -> Sheet {
    let name = match random.below(6) {
        0 => "无名氏".to_owned(),
        1 => format!("无名氏{}", random.between(1, 9)),
        2 => format!("急诊{:03}", random.between(1, 60)),
        3 => "未知".to_owned(),
        4 => (*random.pick(&["无名女", "无名男", "不详"])).to_owned(),
        _ => format!("急诊无名氏{}", random.between(1, 20)),
    };
    let birth_date = match random.chance(0.5) {
        true => Said { text: String::new(), kind: BirthKind::Missing },
        false => Said { text: "19000101".to_owned(), kind: BirthKind::Placeholder },
    };
    let desk = random.chance(0.4).then(|| Said { text: (*random.pick(&DESKS)).to_owned(), kind: PhoneKind::Desk });
    Sheet {
        name: Name::new("", &name),
        name_kind: NameKind::Unknown,
        birth_date,
        sex: *random.pick(&['M', 'M', 'F', 'U']),
        sex_is_wrong: false,
        resident: random.chance(0.2).then(|| placeholder(random)),
        insurance: None,
        health_card: None,
        passport: None,
        phone_as_sent: desk.as_ref().map(|desk| desk.text.clone()).unwrap_or_default(),
        phone: desk,
        address: None,
        mother: None,
        birth_order: None,
    }
}

fn written_name(random: &mut Random, truth: &Person, habits: &Habits) -> (Name, NameKind) {
    let name = &truth.name;
    if truth.origin == Origin::Foreign {
        return match random.below(10) {
            // All in one field, in either order.
            0 | 1 => (Name::new("", &format!("{} {}", name.given, name.surname)), NameKind::Own),
            2 => (Name::new("", &format!("{} {}", name.surname, name.given)), NameKind::Own),
            _ => (name.clone(), NameKind::Own),
        };
    }
    if random.chance(habits.pinyin) {
        let (surname, given) = (names::romanised(&name.surname), names::romanised(&name.given));
        let name = match random.below(3) {
            0 => Name::new("", &format!("{surname}{given}")),
            1 => Name::new("", format!("{surname} {given}").trim()),
            _ => Name { surname, given },
        };
        return (name, NameKind::Pinyin);
    }
    if truth.origin == Origin::Minority {
        let dot = *random.pick(&["·", "·", "•", "．", ".", "", " ", "‧"]);
        return (Name::new("", &name.given.replace('·', dot)), NameKind::Own);
    }
    let letters: Vec<char> = name.given.chars().collect();
    if let Some(place) =
        letters.iter().position(|letter| names::is_lost_in_gb2312(*letter) && random.chance(habits.loses_rare))
    {
        let instead = match random.below(3) {
            0 => "?".to_owned(),
            1 => "□".to_owned(),
            _ => names::romanised(&letters[place].to_string()).to_lowercase(),
        };
        return (Name::new(&name.surname, &name.given.replace(letters[place], &instead)), NameKind::Lost);
    }
    let place = random.below(letters.len());
    let with = |letter: char| {
        let mut letters = letters.clone();
        letters[place] = letter;
        Name::new(&name.surname, &letters.iter().collect::<String>())
    };
    if random.chance(0.018 * habits.carelessness)
        && let Some(letter) = names::sounds_like(random, letters[place])
    {
        return (with(letter), NameKind::SameSound);
    }
    if random.chance(0.006 * habits.carelessness) {
        return (with(names::mistaken(random, letters[place], truth.is_male)), NameKind::OneCharacter);
    }
    // What normal forms leave out.
    let mut name = name.clone();
    if random.chance(0.015) {
        let traditional = |text: &str| text.chars().map(|letter| names::variant(letter).unwrap_or(letter)).collect();
        name = Name { surname: traditional(&name.surname), given: traditional(&name.given) };
    }
    if random.chance(0.02) {
        name = Name::new("", &format!("{}{}", name.whole(), random.pick(&REMARKS)));
    } else if random.chance(0.012) {
        name = Name::new("", &format!("{}{}{}", name.surname, random.pick(&[" ", "　", "  "]), name.given));
    }
    (name, NameKind::Own)
}

fn written_birth(random: &mut Random, born: Date, habits: &Habits) -> Said<BirthKind> {
    let text = |date: Date| date.strftime("%Y%m%d").to_string();
    if !random.chance(habits.birth_date) {
        return match random.chance(0.7) {
            true => Said { text: String::new(), kind: BirthKind::Missing },
            false => Said { text: "19000101".to_owned(), kind: BirthKind::Placeholder },
        };
    }
    let swapped = Date::new(born.year(), born.day(), born.month()).ok().filter(|date| *date != born);
    if random.chance(0.004 * habits.carelessness)
        && let Some(swapped) = swapped
    {
        return Said { text: text(swapped), kind: BirthKind::Swapped };
    }
    if random.chance(0.008 * habits.carelessness) {
        let typed = other_digit(random, &text(born), 2);
        if typed.parse::<Date>().is_ok_and(|date| date <= TODAY && date.year() > 1915) {
            return Said { text: typed, kind: BirthKind::OneDigit };
        }
    }
    // The lunar calendar runs three to seven weeks behind.
    if born.year() < 1975 && random.chance(0.015) {
        return Said { text: text(minus(born, random.between(20, 50))), kind: BirthKind::Lunar };
    }
    Said { text: text(born), kind: BirthKind::Own }
}

fn written_number(random: &mut Random, number: &str, seen: Date, carelessness: f64) -> Said<NumberKind> {
    if random.chance(0.01) {
        return placeholder(random);
    }
    let own = |text: String| Said { text, kind: NumberKind::Own };
    if random.chance(0.01 * carelessness) {
        let (body, check) = number.split_at(17);
        return Said { text: format!("{}{check}", other_digit(random, body, 0)), kind: NumberKind::Typo };
    }
    // The second generation of cards has been out since 2004, but old files are copied.
    let is_old = &number[6..8] == "19" && &number[8..10] < "90";
    if is_old && random.chance(if seen < minus(TODAY, 2000) { 0.06 } else { 0.02 }) {
        return own(format!("{}{}", &number[..6], &number[8..17]));
    }
    own(match random.below(40) {
        0 | 1 => number.to_lowercase(),
        2 => number.chars().map(full_width).collect(),
        3 => number.replace('X', "Ｘ"),
        4 => format!("{} {} {}", &number[..6], &number[6..14], &number[14..]),
        _ => number.to_owned(),
    })
}

fn full_width(letter: char) -> char {
    char::from_u32(u32::from(letter) + 0xfee0).unwrap_or(letter)
}

/// Another digit at one place, not before `from`; or two neighbours change places.
fn other_digit(random: &mut Random, number: &str, from: usize) -> String {
    let mut digits = number.as_bytes().to_vec();
    let place = from + random.below(digits.len() - from);
    if place > from && digits[place] != digits[place - 1] && random.chance(0.3) {
        digits.swap(place, place - 1);
    } else {
        digits[place] = b'0' + (digits[place] - b'0' + 1 + random.below(9) as u8) % 10;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn dialled(random: &mut Random, number: &str) -> String {
    if number.len() != 11 || number.starts_with('0') {
        return number.to_owned();
    }
    match random.below(30) {
        0 => format!("+86{number}"),
        1 => format!("86-{number}"),
        2 => format!("{} {} {}", &number[..3], &number[3..7], &number[7..]),
        3 => format!("{}-{}-{}", &number[..3], &number[3..7], &number[7..]),
        _ => number.to_owned(),
    }
}

fn written_address(random: &mut Random, home: &Home) -> String {
    let Home { province, city, district, road, number, building, unit, room } = home;
    let house = match random.below(5) {
        0 => format!("{building}幢{room}室"),
        1 => format!("{building}-{unit}-{room}"),
        2 => format!("{building}号楼{unit}单元{room}"),
        _ => format!("{building}栋{unit}单元{room}室"),
    };
    let door = format!("{road}{number}号{house}");
    match random.below(14) {
        0 => format!("{city}{district}{door}"),
        1 => format!("{district}{door}"),
        2 => door,
        3 => format!("{}{}{district}{road}{number}号", province.trim_end_matches('省'), city.trim_end_matches('市')),
        4 => format!("{province}{city}{district}"),
        5 => format!("{province}{city}{district}{road}{number}号{room}"),
        6 => format!("{}{}{door}", city.trim_end_matches('市'), district.trim_end_matches('区')),
        _ => format!("{province}{city}{district}{door}"),
    }
}
