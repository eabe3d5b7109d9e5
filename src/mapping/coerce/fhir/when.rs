//! Dates and times: as written, with the offset that they bring.

use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::{Type, items, text_in, type_of};
use crate::mapping::coerce::{Refusal, when_text};
use crate::mapping::input::Element;

/// A date or time; of a Period its start, of a Timing its first event.
pub(super) fn read(element: &Element<'_>, zone: &TimeZone) -> Result<Option<String>, Refusal> {
    match start(element) {
        Some(text) => when_text(&text, zone),
        None => Ok(None),
    }
}

/// The text of a date or time, or of the beginning of a Period or Timing.
pub(crate) fn start(element: &Element<'_>) -> Option<String> {
    let json = match element.json() {
        Some(json) if json.is_object() => json,
        _ => return Some(element.text().into_owned()).filter(|text| !text.is_empty()),
    };
    match type_of(element) {
        Type::Period => text_in(json, "start").map(str::to_owned),
        Type::Timing => {
            let event = items(json, "event").iter().find_map(Json::as_str);
            let bounds = json.get("repeat").and_then(|repeat| repeat.get("boundsPeriod"));
            event.or_else(|| text_in(bounds?, "start")).map(str::to_owned)
        }
        _ => None,
    }
}

/// A date or time in the form of records; as sent, where it is none.
pub(crate) fn point_in_time(text: &str, zone: &TimeZone) -> String {
    when_text(text, zone).ok().flatten().unwrap_or_else(|| text.to_owned())
}
