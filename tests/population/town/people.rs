//! The people of a town as they are: families, their numbers, phones and homes. What sources write of them is in `rows`.

use jiff::civil::Date;
use jiff::{Span, ToSpan};

use super::names::{self, Name};
use super::random::Random;
use super::rates::RATES;

/// The day on which the town is looked at; its records are of the ten years before.
pub(crate) const TODAY: Date = Date::constant(2024, 6, 30);

/// Where a name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Han,
    /// Peoples whose names are transcribed, with a dot.
    Minority,
    /// Latin letters, a passport, no resident number.
    Foreign,
    /// Somebody whom nobody ever knew.
    Unknown,
}

/// One of a multiple birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Twin {
    /// The same for all of one birth.
    pub(crate) set: usize,
    /// From 1.
    pub(crate) order: u8,
}

/// A person, with all that is true of them. Other people are named by their place in the town.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) family: usize,
    pub(crate) origin: Origin,
    pub(crate) name: Name,
    pub(crate) is_male: bool,
    pub(crate) born: Date,
    pub(crate) resident: Option<String>,
    pub(crate) insurance: Option<String>,
    pub(crate) health_card: Option<String>,
    /// The passport before it was renewed, and after.
    pub(crate) passports: Option<[String; 2]>,
    pub(crate) phone: Option<String>,
    pub(crate) former_phone: Option<String>,
    /// Whose phone stands for this person's, where there is none.
    pub(crate) reached_by: Option<usize>,
    pub(crate) home: usize,
    pub(crate) former_home: Option<usize>,
    pub(crate) mother: Option<usize>,
    pub(crate) father: Option<usize>,
    pub(crate) twin: Option<Twin>,
    /// Born in this hospital some weeks ago, and named only later.
    pub(crate) is_newborn: bool,
}

impl Person {
    pub(crate) fn age_on(&self, day: Date) -> i32 {
        let birthday = (day.month(), day.day()) >= (self.born.month(), self.born.day());
        i32::from(day.year() - self.born.year()) - i32::from(!birthday)
    }
}

/// A flat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) province: &'static str,
    pub(crate) city: &'static str,
    pub(crate) district: &'static str,
    pub(crate) road: String,
    pub(crate) number: i32,
    pub(crate) building: i32,
    pub(crate) unit: i32,
    pub(crate) room: i32,
}

/// Province, city, district, first six digits of a resident number; the first ones are the hospital's own city.
const PLACES: [(&str, &str, &str, &str); 16] = [
    ("江苏省", "南京市", "玄武区", "320102"),
    ("江苏省", "南京市", "秦淮区", "320104"),
    ("江苏省", "南京市", "建邺区", "320105"),
    ("江苏省", "南京市", "鼓楼区", "320106"),
    ("江苏省", "南京市", "浦口区", "320111"),
    ("江苏省", "南京市", "栖霞区", "320113"),
    ("江苏省", "南京市", "雨花台区", "320114"),
    ("江苏省", "南京市", "江宁区", "320115"),
    ("江苏省", "镇江市", "句容市", "321183"),
    ("江苏省", "扬州市", "仪征市", "321081"),
    ("江苏省", "盐城市", "亭湖区", "320902"),
    ("安徽省", "马鞍山市", "花山区", "340503"),
    ("安徽省", "滁州市", "来安县", "341122"),
    ("河南省", "周口市", "川汇区", "411602"),
    ("山东省", "临沂市", "兰山区", "371302"),
    ("四川省", "成都市", "武侯区", "510107"),
];
/// How many of them are the hospital's own city.
const OWN_CITY: usize = 8;
const ROADS: [&str; 32] = [
    "中山",
    "中央",
    "北京东",
    "北京西",
    "长江",
    "太平南",
    "洪武",
    "汉中",
    "广州",
    "上海",
    "建宁",
    "黑龙江",
    "新模范",
    "龙蟠中",
    "御道街",
    "瑞金",
    "大光",
    "光华",
    "石门坎",
    "苜蓿园",
    "梦都",
    "江东中",
    "集庆门",
    "水西门",
    "虎踞",
    "定淮门",
    "草场门",
    "幕府西",
    "迈皋桥",
    "晓庄",
    "胜太",
    "天元西",
];
const MOBILE: [&str; 20] = [
    "130", "131", "133", "135", "136", "137", "138", "139", "150", "151", "152", "158", "159", "177", "180", "182",
    "186", "187", "189", "199",
];

/// All people and their homes, while they settle.
#[derive(Default)]
pub(crate) struct People {
    pub(crate) all: Vec<Person>,
    pub(crate) homes: Vec<Home>,
    families: usize,
    twin_sets: usize,
}

/// Families until there are `count` people; the last family may bring a few more, who are left out.
pub(crate) fn settle(random: &mut Random, count: usize) -> People {
    let mut people = People::default();
    while people.all.len() < count {
        let namesakes = (2.0 * RATES.namesakes) as u32;
        match random.weighted(&[16, 20, 34, 18, 7, 2, 4, namesakes, 6]) {
            0 => people.single(random),
            1 => people.couple_alone(random),
            2 => people.parents_and_children(random),
            3 => people.three_generations(random),
            4 => people.one_parent(random),
            5 => people.grown_twins(random),
            6 => people.brothers(random),
            7 => people.namesakes(random),
            _ => people.stranger(random),
        }
    }
    people
}

impl People {
    fn home(&mut self, random: &mut Random) -> usize {
        let place = if random.chance(0.8) { random.below(OWN_CITY) } else { random.below(PLACES.len()) };
        let (province, city, district, _) = PLACES[place];
        let road = format!("{}{}", random.pick(&ROADS), if random.chance(0.85) { "路" } else { "街" });
        let (number, building) = (random.between(1, 380), random.between(1, 30));
        let (unit, room) = (random.between(1, 4), random.between(1, 22) * 100 + random.between(1, 4));
        self.homes.push(Home { province, city, district, road, number, building, unit, room });
        self.homes.len() - 1
    }

    fn family(&mut self) -> usize {
        self.families += 1;
        self.families
    }

    /// Somebody of their own; relatives are filled in by whoever knows them.
    fn add(&mut self, random: &mut Random, family: usize, home: usize, name: Name, is_male: bool, born: Date) -> usize {
        let age = i32::from(TODAY.year() - born.year());
        // A newborn has no card yet; some get one in the first years.
        let share = |grown: f64, small: f64| if age >= 6 { grown } else { small };
        let resident = random.chance(share(0.985, 0.65)).then(|| resident(random, born, is_male));
        let insurance = random.chance(share(0.92, 0.6)).then(|| {
            // Many insurers use the resident number itself.
            let own = format!("{}{}", random.pick(&["A", "B", "N", ""]), random.digits(9));
            resident.clone().filter(|_| random.chance(0.25)).unwrap_or(own)
        });
        let health_card = random.chance(share(0.7, 0.4)).then(|| random.digits(16));
        let owns_phone = match age {
            ..=9 => 0.0,
            10..=15 => 0.4,
            16..=69 => 0.985,
            _ => 0.6,
        };
        let phone = random.chance(owns_phone).then(|| mobile(random));
        let former_phone = phone.as_ref().filter(|_| random.chance(0.25)).map(|_| mobile(random));
        let former_home = random.chance(0.15).then(|| self.home(random));
        self.all.push(Person {
            family,
            origin: Origin::Han,
            name,
            is_male,
            born,
            resident,
            insurance,
            health_card,
            passports: None,
            phone,
            former_phone,
            reached_by: None,
            home,
            former_home,
            mother: None,
            father: None,
            twin: None,
            is_newborn: false,
        });
        self.all.len() - 1
    }

    fn grown_up(&mut self, random: &mut Random, family: usize, home: usize, is_male: bool, year: i32) -> usize {
        let born = day_in(random, year);
        let name = names::chinese(random, is_male, year);
        self.add(random, family, home, name, is_male, born)
    }

    fn single(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let (is_male, year) = (random.chance(0.5), random.between(1935, 2005));
        let person = self.grown_up(random, family, home, is_male, year);
        if random.chance(0.06) {
            self.all[person].name = names::transcribed(random);
            self.all[person].origin = Origin::Minority;
        }
    }

    /// Passports, some renewed, and no resident number; rarely, somebody whom nobody knows.
    fn stranger(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let (is_male, year) = (random.chance(0.5), random.between(1945, 2004));
        let person = self.grown_up(random, family, home, is_male, year);
        let is_unknown = random.chance(0.5);
        let passports = [0, 1].map(|_| format!("{}{}", random.pick(&["E", "G", "M", "P", "X"]), random.digits(8)));
        let name = names::latin(random, is_male);
        let person = &mut self.all[person];
        (person.resident, person.insurance, person.health_card, person.former_home) = (None, None, None, None);
        if is_unknown {
            person.origin = Origin::Unknown;
            (person.phone, person.former_phone) = (None, None);
        } else {
            (person.origin, person.name, person.passports) = (Origin::Foreign, name, Some(passports));
        }
    }

    /// A man and a woman; the year is his.
    fn couple(&mut self, random: &mut Random, family: usize, home: usize, year: i32) -> [usize; 2] {
        let hers = year + random.between(-3, 5);
        [(true, year), (false, hers)].map(|(is_male, year)| self.grown_up(random, family, home, is_male, year))
    }

    fn couple_alone(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let year = random.between(1938, 2000);
        let [husband, wife] = self.couple(random, family, home, year);
        self.reach(random, wife, husband);
        self.reach(random, husband, wife);
    }

    fn parents_and_children(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let year = random.between(1955, 1998);
        let [father, mother] = self.couple(random, family, home, year);
        self.children(random, Some(father), mother);
    }

    fn one_parent(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let year = random.between(1960, 1998);
        let mother = self.grown_up(random, family, home, false, year);
        self.children(random, None, mother);
    }

    /// His parents live with them.
    fn three_generations(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let year = random.between(1964, 1996);
        let [father, mother] = self.couple(random, family, home, year);
        let elders = year - random.between(21, 30);
        let [grandfather, grandmother] = self.couple(random, family, home, elders);
        self.all[grandfather].name.surname = self.all[father].name.surname.clone();
        (self.all[father].father, self.all[father].mother) = (Some(grandfather), Some(grandmother));
        for elder in [grandfather, grandmother] {
            self.reach(random, elder, father);
        }
        self.children(random, Some(father), mother);
    }

    /// Twins who moved out: each has a home, numbers and a phone.
    fn grown_twins(&mut self, random: &mut Random) {
        let (family, year) = (self.family(), random.between(1950, 2003));
        let is_male = random.chance(0.5);
        let home = self.home(random);
        let first = self.grown_up(random, family, home, is_male, year);
        let home = if random.chance(0.4) { home } else { self.home(random) };
        self.twin_of(random, first, home);
    }

    /// Brothers or sisters of one generation name, a year or two apart, who live with their parents or in-laws under one phone; the
    /// elder's wife or husband lives with them.
    fn brothers(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let (is_male, year) = (random.chance(0.6), random.between(1960, 2012));
        let first = self.grown_up(random, family, home, is_male, year);
        let (later, other) = (year + random.between(1, 3), year + random.between(-2, 4));
        let second = self.grown_up(random, family, home, is_male, later);
        let married = self.grown_up(random, family, home, !is_male, other);
        let known = self.all[first].clone();
        let mut letters: Vec<char> = known.name.given.chars().collect();
        if let Some(last) = letters.last_mut() {
            let alike = random.chance(0.4).then(|| names::sounds_like(random, *last)).flatten();
            *last = alike.unwrap_or_else(|| names::mistaken(random, *last, is_male));
        }
        self.all[second].name = Name { surname: known.name.surname, given: letters.into_iter().collect() };
        for person in [second, married] {
            if random.chance(0.6) {
                self.all[person].phone.clone_from(&known.phone);
                self.all[person].former_phone = None;
            }
        }
    }

    /// Two strangers of one name and age, sometimes born on one day, sometimes in one street.
    fn namesakes(&mut self, random: &mut Random) {
        let (family, home) = (self.family(), self.home(random));
        let (is_male, year) = (random.chance(0.5), random.between(1940, 2005));
        let first = self.grown_up(random, family, home, is_male, year);
        // Names that two people of one town bear are not the rare ones.
        while names::is_rare(&self.all[first].name) {
            self.all[first].name = names::chinese(random, is_male, year);
        }
        let (other_family, other_home) = (self.family(), self.home(random));
        if random.chance(0.2) {
            let Home { province, city, district, ref road, .. } = self.homes[home];
            let road = road.clone();
            let there = &mut self.homes[other_home];
            (there.province, there.city, there.district, there.road) = (province, city, district, road);
        }
        let (name, born) = (self.all[first].name.clone(), self.all[first].born);
        let born = if random.chance(0.1 * RATES.namesakes) { born } else { day_in(random, year) };
        self.add(random, other_family, other_home, name, is_male, born);
    }

    fn children(&mut self, random: &mut Random, father: Option<usize>, mother: usize) {
        let count = 1 + random.weighted(&[58, 34, 8]);
        let (family, home) = (self.all[mother].family, self.all[mother].home);
        // Brothers and sisters may share the first character of their given names.
        let shared = random.chance(0.3).then(|| names::character(random, true));
        let has_newborn = random.chance(0.16);
        for place in 0..count {
            let is_newborn = has_newborn && place == 0 && self.all[mother].age_on(TODAY) < 46;
            let born = if is_newborn {
                minus(TODAY, random.between(5, 150))
            } else {
                let age = random.between(21, 38);
                day_in(random, i32::from(self.all[mother].born.year()) + age)
            };
            // Between two births of one mother lie months.
            let is_near = |other: &Person| other.mother == Some(mother) && (other.born - born).get_days().abs() < 300;
            if born > minus(TODAY, 4) || self.all[mother + 1..].iter().any(is_near) {
                continue;
            }
            let is_male = random.chance(0.52);
            let surname = match father.filter(|_| random.chance(0.93)) {
                Some(father) => self.all[father].name.surname.clone(),
                None => self.all[mother].name.surname.clone(),
            };
            let mut given = names::given(random, is_male, i32::from(born.year()));
            if let Some((shared, last)) = shared.zip(given.chars().last()) {
                given = [shared, last].iter().collect();
            }
            // No two children of one family bear one name.
            let is_named_so = |other: &Person| other.mother == Some(mother) && other.name.given == given;
            if self.all[mother + 1..].iter().any(is_named_so) {
                continue;
            }
            let child = self.add(random, family, home, Name { surname, given }, is_male, born);
            (self.all[child].mother, self.all[child].father) = (Some(mother), father);
            self.all[child].is_newborn = is_newborn;
            let parent = father.filter(|_| random.chance(0.3)).unwrap_or(mother);
            if self.all[child].age_on(TODAY) < 16 {
                self.reach(random, child, parent);
            } else if random.chance(0.4) {
                self.all[child].home = self.home(random);
            }
            if random.chance(if is_newborn { 0.08 } else { 0.035 }) {
                let twin = self.twin_of(random, child, self.all[child].home);
                self.all[twin].reached_by = self.all[child].reached_by;
                if random.chance(0.1) {
                    let third = self.twin_of(random, child, self.all[child].home);
                    self.all[third].reached_by = self.all[child].reached_by;
                }
            }
        }
    }

    /// Whose phone stands for a person's who has none; some give a relative's although they have one.
    fn reach(&mut self, random: &mut Random, person: usize, by: usize) {
        if self.all[person].phone.is_none() || random.chance(0.05 * RATES.phones) {
            self.all[person].phone = None;
            self.all[person].reached_by = Some(by);
        }
    }

    /// The next of a birth: a name one character apart, sound-alike, or another; a resident number of the next serial.
    fn twin_of(&mut self, random: &mut Random, first: usize, home: usize) -> usize {
        let known = self.all[first].clone();
        let is_male = if random.chance(0.75) { known.is_male } else { !known.is_male };
        let is_of_birth = |(place, other): &(usize, &Person)| {
            *place == first || known.twin.zip(other.twin).is_some_and(|(one, other)| one.set == other.set)
        };
        let taken: Vec<Name> =
            self.all.iter().enumerate().filter(is_of_birth).map(|(_, other)| other.name.clone()).collect();
        let name = loop {
            let mut letters: Vec<char> = known.name.given.chars().collect();
            if let Some(last) = letters.last_mut() {
                let alike = random.chance(0.35).then(|| names::sounds_like(random, *last)).flatten();
                *last = alike.unwrap_or_else(|| names::mistaken(random, *last, is_male));
            }
            let given = if random.chance(0.1) {
                names::given(random, is_male, i32::from(known.born.year()))
            } else {
                letters.iter().collect()
            };
            let name = Name { surname: known.name.surname.clone(), given };
            if !taken.contains(&name) {
                break name;
            }
        };
        let last = self.all.iter().enumerate().rev().filter(is_of_birth).find_map(|(_, other)| other.resident.clone());
        let twin = self.add(random, known.family, home, name, is_male, known.born);
        if let Some(number) = last.as_ref().filter(|_| self.all[twin].resident.is_some()) {
            self.all[twin].resident = Some(next_serial(number, is_male));
        }
        if known.twin.is_none() {
            self.twin_sets += 1;
            self.all[first].twin = Some(Twin { set: self.twin_sets, order: 1 });
        }
        let set = known.twin.map_or(self.twin_sets, |twin| twin.set);
        let person = &mut self.all[twin];
        person.twin = Some(Twin { set, order: 1 + taken.len() as u8 });
        (person.mother, person.father) = (known.mother, known.father);
        person.is_newborn = known.is_newborn;
        if known.phone.is_none() {
            (person.phone, person.former_phone) = (None, None);
        }
        twin
    }
}

fn day_in(random: &mut Random, year: i32) -> Date {
    let first = Date::new(year as i16, 1, 1).expect("a year of our time");
    first.saturating_add(random.between(0, 364).days())
}

pub(crate) fn minus(day: Date, days: i32) -> Date {
    day.saturating_sub(Span::new().days(days))
}

pub(crate) fn mobile(random: &mut Random) -> String {
    format!("{}{}", random.pick(&MOBILE), random.digits(8))
}

fn resident(random: &mut Random, born: Date, is_male: bool) -> String {
    // Numbers are given where one is born: half of a city's people came from elsewhere.
    let place = if random.chance(0.55) { random.below(OWN_CITY) } else { random.below(PLACES.len()) };
    let serial = random.between(0, 499) * 2 + i32::from(is_male);
    with_check(&format!("{}{:04}{:02}{:02}{serial:03}", PLACES[place].3, born.year(), born.month(), born.day()))
}

/// The next number that a registrar gives on the same day to somebody of this sex.
fn next_serial(number: &str, is_male: bool) -> String {
    let serial: i32 = number[14..17].parse().expect("three digits");
    let next = (1..3).map(|step| (serial + step) % 1000).find(|next| (next % 2 == 1) == is_male);
    with_check(&format!("{}{:03}", &number[..14], next.unwrap_or(serial)))
}

/// Adds the check character of GB 11643-1999: weights 7 9 10 5 8 4 2 1 6 3 7 9 10 5 8 4 2, the sum modulo 11 in `10X98765432`.
pub(crate) fn with_check(body: &str) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = body.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    format!("{body}{}", char::from(b"10X98765432"[(sum % 11) as usize]))
}
