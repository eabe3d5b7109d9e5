//! Lists of messages, page by page. What one page costs has a bound, whatever the filter and however large the store: where it is
//! reached the page is short, perhaps empty, and says where to go on.

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::{Message, MessageState, message};
use crate::store::{Reader, StoreError, persons};

/// Rows that one page may pass over, so that a filter that takes little cannot hold a connection for long. (An index for each
/// filter would cost the writer time with every message.)
const SCAN_LIMIT: usize = 20_000;

/// Which messages to list; what is `None` does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// The source's name.
    pub source: Option<String>,
    /// What became of them.
    pub state: Option<MessageState>,
    /// `ADT^A01`, or `ADT` for all of them.
    pub message_type: Option<String>,
    /// MSH-10.
    pub control_id: Option<String>,
    /// The patient, also under One IDs that were merged into this one.
    pub one_id: Option<String>,
    /// Received at this time or later.
    pub from: Option<i64>,
    /// Received before this time.
    pub before: Option<i64>,
}

/// The order of a list, and where it goes on: after the message with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Newest first; `Some(id)` goes on with older ones.
    NewestFirst(Option<i64>),
    /// Oldest first, the order for retrying; `Some(id)` goes on with newer ones.
    OldestFirst(Option<i64>),
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages, in the order that was asked for.
    pub messages: Vec<Message>,
    /// After which message the next page begins; `None`: there are no more. Also a page with few messages or none can have one.
    pub next: Option<i64>,
}

/// Messages by filter, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>, filter: &MessageFilter, page: Page, limit: usize) -> Result<MessagePage, StoreError> {
    list_within(reader, filter, page, limit, SCAN_LIMIT)
}

fn list_within(
    reader: &Reader<'_>,
    filter: &MessageFilter,
    page: Page,
    limit: usize,
    scan: usize,
) -> Result<MessagePage, StoreError> {
    let one_ids = filter.one_id.as_ref().map(|one_id| persons::answering_as(reader, one_id)).transpose()?;
    let (mut condition, mut values) = narrowed(reader, filter, one_ids.as_deref(), scan)?;
    let (comparison, after, order) = match page {
        Page::NewestFirst(after) => ("<", after.unwrap_or(i64::MAX), "DESC"),
        Page::OldestFirst(after) => (">", after.unwrap_or(i64::MIN), "ASC"),
    };
    values.push(Value::Integer(after));
    condition.push_str(&format!(" AND id {comparison} ?{} ORDER BY id {order}", values.len()));
    let mut statement = reader.connection().prepare_cached(&format!(select!("{}"), condition))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = MessagePage { messages: Vec::new(), next: None };
    for _ in 0..scan {
        let Some(row) = rows.next()? else { return Ok(MessagePage { next: None, ..found }) };
        if filter.takes(row, one_ids.as_deref())? {
            if found.messages.len() == limit {
                return Ok(found);
            }
            found.messages.push(message(row)?);
        }
        found.next = Some(row.get(0)?);
    }
    Ok(found)
}

/// The start of a statement after `FROM message`, with its values: through an index, where one leads to few rows.
fn narrowed(
    reader: &Reader<'_>,
    filter: &MessageFilter,
    one_ids: Option<&[String]>,
    few: usize,
) -> Result<(String, Vec<Value>), StoreError> {
    let text = |texts: &[String]| texts.iter().cloned().map(Value::Text).collect::<Vec<_>>();
    let control_id = filter.control_id.as_ref().map(std::slice::from_ref);
    for (index, column, wanted) in
        [("message_control_id", "control_id", control_id), ("message_one_id", "one_id", one_ids)]
    {
        let Some(wanted) = wanted else { continue };
        let places: Vec<String> = (1..=wanted.len()).map(|place| format!("?{place}")).collect();
        let condition = format!("INDEXED BY {index} WHERE {column} IN ({})", places.join(", "));
        // Some senders use one control id for everything; sorting all of these would cost more than looking at the rows.
        let rows = format!("SELECT count(*) FROM (SELECT 1 FROM message {condition} LIMIT {})", few.saturating_add(1));
        let rows: Option<i64> = reader.one(&rows, params_from_iter(text(wanted)), |row| Ok(row.get(0)?))?;
        if rows.is_some_and(|rows| usize::try_from(rows).is_ok_and(|rows| rows <= few)) {
            return Ok((condition, text(wanted)));
        }
    }
    let condition = match filter.state {
        // Written out: SQLite takes a partial index only for a constant.
        Some(MessageState::Failed) => "INDEXED BY message_failed WHERE state = 'failed'",
        _ => "WHERE true",
    };
    Ok((condition.to_owned(), Vec::new()))
}

impl MessageFilter {
    /// Whether a row of [`select!`] is one of these. Looked at in place: most rows of a long list are passed over.
    fn takes(&self, row: &Row<'_>, one_ids: Option<&[String]>) -> Result<bool, StoreError> {
        let text = |column| row.get_ref(column)?.as_str_or_null().map_err(|_| StoreError::Damaged { what: "message" });
        let is = |column, wanted: &Option<String>| match wanted {
            Some(wanted) => Ok::<_, StoreError>(text(column)? == Some(wanted)),
            None => Ok(true),
        };
        if !is(1, &self.source)? || !is(4, &self.control_id)? {
            return Ok(false);
        }
        if self.state.is_some_and(|state| text(10) != Ok(Some(state.name()))) {
            return Ok(false);
        }
        if let Some(wanted) = &self.message_type {
            let rest = text(3)?.and_then(|found| found.strip_prefix(wanted.as_str()));
            if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('^')) {
                return Ok(false);
            }
        }
        if let Some(one_ids) = one_ids
            && !text(16)?.is_some_and(|found| one_ids.iter().any(|one_id| one_id == found))
        {
            return Ok(false);
        }
        let received_at: i64 = row.get(2)?;
        Ok(self.from.is_none_or(|from| received_at >= from) && self.before.is_none_or(|before| received_at < before))
    }
}

#[cfg(test)]
mod tests {
    use super::super::insert;
    use super::*;
    use crate::record::json;
    use crate::store::Store;
    use crate::store::fixtures::{insert_person, message as new, outcome, person, store, write};
    use crate::store::messages::Outcome;

    fn filled(store: &Store) {
        write(store, |t| {
            insert_person(t, "P1", "1")?;
            let mut retired = person("P0", json!({}));
            retired.merged_into = Some("P1".to_owned());
            persons::create(t, &retired)?;
            for (id, source, message_type, state, one_id) in [
                (1, "his", "ADT^A01", MessageState::Processed, Some("P1")),
                (2, "lis", "ORU^R01", MessageState::Failed, None),
                (3, "his", "ADT^A08", MessageState::Processed, Some("P0")),
                (4, "his", "ADTX", MessageState::Ignored, Some("P2")),
                (5, "his", "ADT", MessageState::Failed, None),
            ] {
                let mut message = new(source, &format!("C{id}"), "x");
                message.message_type = message_type.to_owned();
                message.received_at = id * 10;
                let one_id = one_id.map(str::to_owned);
                insert(t, id, &message, &Outcome { one_id, ..outcome(state) })?;
            }
            Ok(())
        });
    }

    fn ids(page: &MessagePage) -> Vec<i64> {
        page.messages.iter().map(|message| message.id).collect()
    }

    #[test]
    fn lists_are_filtered_and_paged() {
        let (_directory, store) = store();
        filled(&store);
        let check = |filter: MessageFilter, page: Page, expected: &[i64], next: Option<i64>| {
            let found = store.read(|r| list(r, &filter, page, 3)).unwrap();
            assert_eq!((ids(&found).as_slice(), found.next), (expected, next), "{filter:?}");
            // A bound that is reached makes pages shorter, and the list the same.
            let (mut found, mut at) = (Vec::new(), page);
            loop {
                let part = store.read(|r| list_within(r, &filter, at, 3, 2)).unwrap();
                found.extend(ids(&part));
                at = match (page, part.next) {
                    (_, None) => break,
                    (Page::NewestFirst(_), next) => Page::NewestFirst(next),
                    (Page::OldestFirst(_), next) => Page::OldestFirst(next),
                };
            }
            assert!(found.starts_with(expected) && (next.is_some() || found == expected), "{filter:?} {found:?}");
        };
        let newest = Page::NewestFirst(None);
        let text = |text: &str| Some(text.to_owned());
        check(MessageFilter::default(), newest, &[5, 4, 3], Some(3));
        check(MessageFilter::default(), Page::NewestFirst(Some(3)), &[2, 1], None);
        check(MessageFilter::default(), Page::OldestFirst(Some(2)), &[3, 4, 5], None);
        check(MessageFilter { source: text("lis"), ..Default::default() }, newest, &[2], None);
        check(MessageFilter { source: text("his"), ..Default::default() }, newest, &[5, 4, 3], Some(2));
        check(MessageFilter { state: Some(MessageState::Failed), ..Default::default() }, newest, &[5, 2], None);
        check(MessageFilter { state: Some(MessageState::Processed), ..Default::default() }, newest, &[3, 1], None);
        check(MessageFilter { message_type: text("ADT"), ..Default::default() }, newest, &[5, 3, 1], None);
        check(MessageFilter { message_type: text("ADT^A08"), ..Default::default() }, newest, &[3], None);
        check(MessageFilter { control_id: text("C4"), ..Default::default() }, newest, &[4], None);
        check(MessageFilter { one_id: text("P1"), ..Default::default() }, newest, &[3, 1], None);
        check(MessageFilter { one_id: text("P1"), source: text("lis"), ..Default::default() }, newest, &[], None);
        check(MessageFilter { from: Some(20), before: Some(40), ..Default::default() }, newest, &[3, 2], None);
    }

    #[test]
    fn a_page_passes_over_no_more_rows_than_its_bound() {
        let (_directory, store) = store();
        filled(&store);
        let lis = MessageFilter { source: Some("lis".to_owned()), ..Default::default() };
        let page = |after| store.read(|r| list_within(r, &lis, Page::NewestFirst(after), 9, 2)).unwrap();
        assert_eq!(page(None), MessagePage { messages: Vec::new(), next: Some(4) });
        assert_eq!((ids(&page(Some(4))), page(Some(4)).next), (vec![2], Some(2)));
        assert_eq!(page(Some(2)), MessagePage { messages: Vec::new(), next: None });
    }

    #[test]
    fn one_control_id_for_everything_is_no_way_into_the_index() {
        let (_directory, store) = store();
        write(&store, |t| {
            (1..=5)
                .try_for_each(|id| insert(t, id, &new("his", "1", &id.to_string()), &outcome(MessageState::Processed)))
        });
        let same = MessageFilter { control_id: Some("1".to_owned()), ..Default::default() };
        let few = |few| store.read(|r| narrowed(r, &same, None, few)).unwrap().1.len();
        assert_eq!((few(5), few(4)), (1, 0));
    }
}
