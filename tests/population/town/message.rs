//! Rows as HL7 v2: ADT^A28, A04 and A08, each source with its own places for numbers and its own words.

use std::fmt::Write;

use jiff::civil::Date;

use super::rows::{Feed, NameKind, Row, Sheet};

/// The row's messages in the order in which they were sent; `place` makes their control ids and times their own.
pub(crate) fn messages(row: &Row, place: usize) -> Vec<String> {
    let sheets = row.first.iter().chain([&row.sheet]);
    let last = usize::from(row.first.is_some());
    sheets.enumerate().map(|(turn, sheet)| message(row, sheet, place, turn, turn == last)).collect()
}

fn message(row: &Row, sheet: &Sheet, place: usize, turn: usize, is_last: bool) -> String {
    let event = match (turn, row.feed) {
        (0, Feed::His | Feed::East) if place.is_multiple_of(3) => "A28",
        (0, _) => "A04",
        _ => "A08",
    };
    // What was corrected came some days before.
    let day = if is_last { row.seen } else { super::people::minus(row.seen, 3) };
    let time = time(day, place * 2 + turn);
    let sender = row.feed.authority();
    let mut text = String::with_capacity(512);
    let _ = write!(
        text,
        "MSH|^~\\&|{sender}|{sender}|HEYI|HEYI|{time}||ADT^{event}|{sender}{place}-{turn}|P|2.5|||||CHN|UTF-8\rEVN||{time}\rPID|"
    );
    for (number, field) in fields(row, sheet).iter().enumerate().skip(1) {
        let _ = write!(text, "{}{field}", if number == 1 { "" } else { "|" });
    }
    if let Some(card) = sheet.health_card.as_ref().filter(|_| row.feed == Feed::His) {
        let _ = write!(text, "\rZPI|{card}");
    }
    text.push('\r');
    text
}

fn time(day: Date, second: usize) -> String {
    let second = second % 86_400;
    format!("{}{:02}{:02}{:02}", day.strftime("%Y%m%d"), second / 3600, second / 60 % 60, second % 60)
}

/// PID-1 to PID-25, by their numbers.
fn fields(row: &Row, sheet: &Sheet) -> [String; 26] {
    let mut fields = [const { String::new() }; 26];
    let sender = row.feed.authority();
    fields[1] = "1".to_owned();
    let mut numbers = vec![format!("{}^^^{sender}^MR", row.number)];
    if let Some(resident) = &sheet.resident {
        match row.feed {
            Feed::His | Feed::Lis => fields[19] = resident.text.clone(),
            Feed::Emr => numbers.push(format!("{}^^^^NI", resident.text)),
            Feed::East => numbers.push(format!("{}^^^公安部^01", resident.text)),
        }
    }
    if let Some(passport) = &sheet.passport {
        numbers.push(format!("{passport}^^^^PPN"));
    }
    if let Some(insurance) = &sheet.insurance {
        numbers.push(format!("{}^^^^MC", insurance.text));
    }
    if let Some(card) = sheet.health_card.as_ref().filter(|_| row.feed != Feed::His) {
        numbers.push(format!("{card}^^^^HC"));
    }
    fields[3] = numbers.join("~");
    fields[5] = match (sheet.name.surname.as_str(), sheet.name.given.as_str()) {
        ("", whole) => whole.to_owned(),
        // Latin names come in their parts everywhere, Chinese ones where a system keeps them apart.
        (family, given) if row.feed == Feed::Emr || family.is_ascii() => format!("{family}^{given}"),
        (family, given) => format!("{family}{given}"),
    };
    fields[7].clone_from(&sheet.birth_date.text);
    fields[8] = match (row.feed, sheet.sex) {
        (Feed::Lis, sex) => sex.to_string(),
        (Feed::East, 'M') => "男".to_owned(),
        (Feed::East, 'F') => "女".to_owned(),
        (_, 'M') => "1".to_owned(),
        (_, 'F') => "2".to_owned(),
        (Feed::East, _) => "U".to_owned(),
        _ => "9".to_owned(),
    };
    if let Some((_, address)) = &sheet.address {
        fields[11].clone_from(address);
    }
    fields[13].clone_from(&sheet.phone_as_sent);
    if let Some(mother) = &sheet.mother {
        fields[21] = format!("{mother}^^^HIS^MR");
    }
    if let Some(order) = sheet.birth_order {
        fields[24] = if sheet.name_kind == NameKind::Newborn { "Y" } else { "" }.to_owned();
        fields[25] = order.to_string();
    }
    fields
}
