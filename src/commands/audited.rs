//! What each command leaves in the audit trail.
//!
//! [`of`] says it of every command, so that a new one cannot be forgotten. What a command reads is written down before its first output, at
//! the one place through which all output goes ([`before_output`]); a change carries its entry in its own transaction ([`change`]).
//!
//! Invariant: where the entry cannot be written, nothing is printed and nothing changed; the exit status is 1.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;

use super::{Command, Verdict, audit, deliveries, feed, identity, mapping, message, person, review, token};
use crate::app::now;
use crate::audit::{Action, Actor, Entry, Outcome};
use crate::store::{Store, Transaction, audit as trail};

/// What a command is in the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audited {
    /// Nothing: it tells nothing of a patient and changes nothing.
    Nothing,
    /// One entry before the first output.
    Reads(Action),
    /// An entry for each page that it prints.
    Pages(Action),
    /// An entry in the transaction of each change.
    Changes(Action),
    /// Long work: an entry when it begins, and one with what came of it.
    Begins(Action),
}

/// What the command is in the audit trail.
pub(super) fn of(command: &Command) -> Audited {
    use Audited::{Begins, Changes, Nothing, Pages, Reads};
    match command {
        // The daemon writes its own entries; messages that come in are kept with what became of them.
        Command::Serve | Command::Demo(_) | Command::Check(_) | Command::Send(_) | Command::Status(_) => Nothing,
        // They show what would leave of an invented patient.
        Command::Policy(_) => Nothing,
        Command::Backup(_) => Begins(Action::StoreBackup),
        // Written by the command itself: into the store that it has put back.
        Command::Restore(_) => Changes(Action::StoreRestore),
        Command::Import(_) => Begins(Action::MessageImport),
        Command::Mapping(verb) => match verb {
            mapping::Verb::Explain(_) | mapping::Verb::Coverage(_) | mapping::Verb::Diff(_) => {
                Reads(Action::MappingTry)
            }
            mapping::Verb::Unmapped(_) => Reads(Action::CodeRead),
            mapping::Verb::Test(_) | mapping::Verb::Schema => Nothing,
        },
        Command::Message(verb) => match verb {
            message::Verb::List { .. } => Pages(Action::MessageList),
            message::Verb::Show { .. } => Reads(Action::MessageRead),
            message::Verb::Retry { .. } => Changes(Action::MessageRetry),
            message::Verb::Dismiss { .. } => Changes(Action::MessageDismiss),
        },
        Command::Person(verb) => match verb {
            person::Verb::Find { record: Some(_), .. } => Reads(Action::PersonMatch),
            person::Verb::Find { .. } => Reads(Action::PersonSearch),
            person::Verb::Show { .. } => Reads(Action::PersonRead),
            person::Verb::History { .. } => Reads(Action::PersonHistory),
            person::Verb::Explain { .. } => Reads(Action::PersonExplain),
            person::Verb::Links { .. } => Pages(Action::PersonLinks),
            person::Verb::Link { .. } => Changes(Action::PersonLink),
            person::Verb::Unlink { .. } => Changes(Action::PersonUnlink),
            person::Verb::Export { .. } => Reads(Action::PersonExport),
            person::Verb::Erase { .. } => Changes(Action::PersonErase),
            person::Verb::Restrict { .. } => Changes(Action::PersonRestrict),
            person::Verb::Consent { give: false, withdraw: false, .. } => Reads(Action::PersonConsents),
            person::Verb::Consent { .. } => Changes(Action::PersonConsent),
            person::Verb::Merge { .. } => Changes(Action::PersonMerge),
            person::Verb::Split { .. } => Changes(Action::PersonSplit),
        },
        Command::Review(verb) => match verb {
            review::Verb::List { .. } => Reads(Action::ReviewList),
            review::Verb::Show { .. } => Reads(Action::ReviewRead),
            review::Verb::Decide { .. } => Changes(Action::ReviewDecide),
        },
        Command::Identity(verb) => match verb {
            identity::Verb::Show { .. } => Nothing,
            identity::Verb::Train { .. } | identity::Verb::Compare { .. } => Begins(Action::IdentityRead),
            identity::Verb::Rescore { .. } => Begins(Action::IdentityRescore),
        },
        Command::Feed(verb) => match verb {
            feed::Verb::Tail { .. } | feed::Verb::Export { .. } => Pages(Action::FeedRead),
            feed::Verb::Snapshot { .. } => Pages(Action::FeedRead),
            // It plays an invented day, in a store of its own.
            feed::Verb::Consumers { .. } | feed::Verb::Rehearse(_) => Nothing,
            feed::Verb::Deliveries(verb) => match verb {
                deliveries::Verb::Parked { .. } => Reads(Action::DeliveryRead),
                deliveries::Verb::Replay { .. } => Changes(Action::DeliveryReplay),
                deliveries::Verb::Release { .. } => Changes(Action::DeliveryRelease),
                deliveries::Verb::Skip { .. } => Changes(Action::DeliverySkip),
                deliveries::Verb::Forget { .. } => Changes(Action::ConsumerForget),
            },
        },
        Command::Token(verb) => match verb {
            token::Verb::Create { .. } => Changes(Action::TokenCreate),
            token::Verb::Revoke { .. } => Changes(Action::TokenRevoke),
            token::Verb::List { .. } => Nothing,
        },
        Command::Audit(verb) => match verb {
            audit::Verb::List { .. } => Reads(Action::AuditRead),
            audit::Verb::Export { .. } => Reads(Action::AuditExport),
            audit::Verb::Reindex => Begins(Action::AuditReindex),
            // Evidence is looked at and not added to.
            audit::Verb::Verify { .. } => Nothing,
        },
    }
}

/// The command of this process.
struct Current {
    audited: Audited,
    entry: Entry,
    store: Option<Store>,
    is_written: bool,
}

static CURRENT: Mutex<Option<Current>> = Mutex::new(None);

fn current() -> MutexGuard<'static, Option<Current>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be called before the command runs.
pub(super) fn begin(command: &Command) {
    let audited = of(command);
    let (Audited::Reads(action) | Audited::Pages(action) | Audited::Changes(action) | Audited::Begins(action)) =
        audited
    else {
        return;
    };
    let at = now();
    let actor = Actor::Shell { name: super::user() };
    let entry = Entry::new(at, actor, action, "shell", &format!("{at:x}-{}", std::process::id()));
    *current() = Some(Current { audited, entry, store: None, is_written: false });
}

/// The store was opened: long work is written down now.
pub(super) fn opened(store: &Store) -> anyhow::Result<()> {
    let mut current = current();
    let Some(current) = current.as_mut() else { return Ok(()) };
    current.store = Some(store.clone());
    if matches!(current.audited, Audited::Begins(_)) {
        append(store, current.entry.clone().with(Outcome::Begun))?;
    }
    Ok(())
}

/// Names what the command tells or changes.
pub(super) fn about(add: impl FnOnce(&mut Entry)) {
    if let Some(current) = current().as_mut() {
        add(&mut current.entry);
    }
}

/// Before anything is printed: what is read must be written down.
pub(super) fn before_output() -> anyhow::Result<()> {
    let mut current = current();
    let Some(Current { audited: Audited::Reads(_), entry, store: Some(store), is_written }) = current.as_mut() else {
        return Ok(());
    };
    if !*is_written {
        append(store, entry.clone())?;
        *is_written = true;
    }
    Ok(())
}

/// Before a page is printed.
pub(super) fn page(add: impl FnOnce(&mut Entry)) -> anyhow::Result<()> {
    let mut current = current();
    let Some(Current { entry, store: Some(store), is_written, .. }) = current.as_mut() else { return Ok(()) };
    let mut entry = entry.clone().at(now());
    add(&mut entry);
    append(store, entry)?;
    *is_written = true;
    Ok(())
}

/// Runs a change and appends its entry in the same transaction; `told` adds what came of it to the entry.
pub(super) fn change<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Transaction<'_>, Entry) -> Result<T, crate::store::StoreError> + Send + 'static,
) -> anyhow::Result<T> {
    let entry = current().as_ref().map(|current| current.entry.clone().at(now()));
    let entry = entry.context("this command has no place in the audit trail")?;
    let done = store.submit_blocking(move |transaction| work(transaction, entry))?;
    if let Some(current) = current().as_mut() {
        current.is_written = true;
    }
    Ok(done)
}

/// A change in work that is whole by itself, with the entry for its transaction.
pub(super) fn change_of<T: Send + 'static>(
    store: &Store,
    persons: &[&str],
    work: impl FnOnce(&Transaction<'_>) -> Result<T, crate::store::StoreError> + Send + 'static,
) -> anyhow::Result<T> {
    let named: Vec<String> = persons.iter().map(|one_id| (*one_id).to_owned()).collect();
    change(store, move |transaction, mut entry| {
        let done = work(transaction)?;
        entry.persons(named.iter().map(String::as_str));
        trail::append(transaction, &entry)?;
        Ok(done)
    })
}

/// After the command: what was refused or failed, and what came of long work, is written down; the store is closed.
pub(super) fn conclude(result: anyhow::Result<Verdict>) -> anyhow::Result<Verdict> {
    let Some(Current { audited, entry, store: Some(store), is_written }) = current().take() else { return result };
    let is_long = matches!(audited, Audited::Begins(_));
    let is_told = matches!(audited, Audited::Pages(_)) && result.is_ok();
    let concluded = if is_long || !(is_written || is_told) {
        let outcome = match &result {
            Ok(Verdict::Fine) => Outcome::Ok,
            Ok(Verdict::Wrong) if is_long => Outcome::Ok,
            Ok(Verdict::Wrong) => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        append(&store, entry.at(now()).with(outcome))
    } else {
        Ok(())
    };
    store.close();
    result.and_then(|verdict| concluded.map(|()| verdict))
}

fn append(store: &Store, entry: Entry) -> anyhow::Result<()> {
    store
        .submit_blocking(move |transaction| trail::append(transaction, &entry).map(drop))
        .context("it cannot be written to the audit trail, so it is not done")
}
