//! One entry: who, what, of whom, when, from where, with which outcome.

use super::chain::{Hash, Row};

macro_rules! actions {
    ($($variant:ident $name:literal $meaning:literal)*) => {
        /// What was done. The list is closed: what is not here is not done to personal data.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $(#[doc = $meaning] $variant,)* }

        impl Action {
            /// Every action.
            pub const ALL: &[Action] = &[$(Action::$variant,)*];
            /// Their names, in the same order.
            pub const NAMES: &[&str] = &[$($name,)*];

            /// As it is stored and shown.
            pub fn name(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }

            /// Whether a text names an action, or with `.*` a kind of them: what is asked for amiss finds nothing, which reads as if nothing
            /// had been done.
            pub fn is_named_by(text: &str) -> bool {
                match text.strip_suffix('*') {
                    Some(kind) => kind.is_empty() || kind.ends_with('.') && Self::NAMES.iter().any(|name| name.starts_with(kind)),
                    None => Self::NAMES.contains(&text),
                }
            }

            /// What it means, in one phrase.
            pub fn meaning(self) -> &'static str {
                match self { $(Action::$variant => $meaning,)* }
            }
        }
    };
}

actions! {
    PersonSearch "person.search" "Persons were looked for."
    PersonMatch "person.match" "Persons were looked for by a patient record."
    PersonRead "person.read" "A golden record was read."
    PersonVisits "person.visits" "A person's visits were read."
    PersonLabReports "person.lab_reports" "A person's reports were read."
    PersonHistory "person.history" "How records came to a person was read."
    PersonExplain "person.explain" "Why a record is a person's was read."
    PersonLinks "person.links" "Every source record with its One ID was read."
    PersonLink "person.link" "A record was given to a person."
    PersonUnlink "person.unlink" "A record was taken from its person."
    PersonMerge "person.merge" "Two persons were made one."
    PersonSplit "person.split" "A person was split."
    PersonConsents "person.consents" "What a person said of purposes was read."
    PersonConsent "person.consent" "What a person says of a purpose was taken down."
    PersonExport "person.export" "All that is held of a person was exported."
    PersonErase "person.erase" "All that was held of a person was erased."
    PersonRestrict "person.restrict" "A person is sent to nobody any more, or again."
    ReviewList "review.list" "Doubtful matches were listed."
    ReviewRead "review.read" "A doubtful match was read."
    ReviewDecide "review.decide" "A doubtful match was decided."
    MessageList "message.list" "Stored messages were listed."
    MessageRead "message.read" "A stored message was read, with its text."
    MessageRetry "message.retry" "A stored message was taken in again."
    MessageDismiss "message.dismiss" "A failed message was dismissed."
    MessageImport "message.import" "Files were taken in."
    CodeRead "code.read" "Codes that no table knows were read."
    MappingTry "mapping.try" "A mapping was tried on stored messages."
    IdentityRead "identity.read" "All records were read, to train or compare models of matching."
    IdentityRescore "identity.rescore" "Links were weighed again by a changed model."
    FeedDeliver "feed.deliver" "A page of events was delivered to a consumer."
    FeedSnapshot "feed.snapshot" "A page of the current state was delivered to a consumer."
    DeliveryRead "delivery.read" "What waits for a consumer was read."
    DeliveryReplay "delivery.replay" "Events are given to a consumer again."
    DeliveryRelease "delivery.release" "What waits for a consumer is tried again at once."
    DeliverySkip "delivery.skip" "An event was given up: a consumer is never given it."
    ConsumerForget "consumer.forget" "A consumer that is not configured any more was forgotten."
    FeedRead "feed.read" "Events were read at the shell."
    StoreBackup "store.backup" "The store was copied into a file."
    StoreRestore "store.restore" "A backup was put back in place of the store."
    TokenCreate "token.create" "A token was made."
    TokenRevoke "token.revoke" "Tokens were revoked."
    AuthenticationFail "authentication.fail" "Somebody came with no token or client certificate, or one that is not valid."
    AuthenticationLockOut "authentication.lock_out" "An address is let in no more for a time."
    AccessRefuse "access.refuse" "A token asked for what its role may not do."
    RequestLimit "request.limit" "A token asked more often than it may."
    DaemonStart "daemon.start" "The daemon started."
    DaemonStop "daemon.stop" "The daemon stopped."
    ConfigurationLoad "configuration.load" "The configuration was read."
    MappingLoad "mapping.load" "Changed mappings were read."
    PolicyLoad "policy.load" "Changed field policies were read."
    CertificateLoad "certificate.load" "A renewed certificate was read."
    RetentionPrune "retention.prune" "Messages, events or files older than the retention were removed."
    AuditRead "audit.read" "The audit trail was read."
    AuditExport "audit.export" "The audit trail was exported."
    AuditPrune "audit.prune" "Entries older than the retention were removed."
    AuditReindex "audit.reindex" "The index of persons of the audit trail was compared with the entries, and what lacked put back."
    AuditKey "audit.key" "The trail is signed with this key from here on."
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was not allowed, not valid, or there is no such thing.
    Refused,
    /// It could not be done.
    Failed,
    /// It began; a later entry with the same request says what came of it.
    Begun,
}

impl Outcome {
    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Begun => "begun",
        }
    }
}

/// Who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever bears this token.
    Token {
        /// The token's name.
        name: String,
        /// Its role.
        role: &'static str,
    },
    /// A user of the shell.
    Shell {
        /// The user's name.
        name: String,
    },
    /// The daemon by itself.
    Daemon,
    /// Nobody known: without a token, or with one that is not valid.
    Unknown,
}

/// What happened, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in microseconds since the epoch.
    pub at: i64,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// From where: an address, `shell` or `daemon`.
    pub origin: String,
    /// One request, one command, one run of the daemon: the same text.
    pub request: String,
    persons: Vec<String>,
    objects: Vec<String>,
    /// What else there is to say; one of our own phrases, never what somebody sent.
    pub detail: String,
}

impl Entry {
    /// An entry about nobody and nothing yet, with the outcome `ok`.
    pub fn new(at: i64, actor: Actor, action: Action, origin: &str, request: &str) -> Self {
        Self {
            at,
            actor,
            action,
            outcome: Outcome::Ok,
            origin: origin.to_owned(),
            request: request.to_owned(),
            persons: Vec::new(),
            objects: Vec::new(),
            detail: String::new(),
        }
    }

    /// Adds a person, once. What is no One ID is left out: where one is asked for, people type names and numbers.
    pub fn person(&mut self, one_id: &str) {
        if is_one_id(one_id) && !self.persons.iter().any(|known| known == one_id) {
            self.persons.push(one_id.to_owned());
        }
    }

    /// Adds many persons, each once.
    pub fn persons<'a>(&mut self, one_ids: impl IntoIterator<Item = &'a str>) {
        let mut known: std::collections::BTreeSet<String> = self.persons.iter().cloned().collect();
        for one_id in one_ids.into_iter().filter(|one_id| is_one_id(one_id)) {
            if known.insert(one_id.to_owned()) {
                self.persons.push(one_id.to_owned());
            }
        }
    }

    /// Adds a thing, as `KIND/ID`: a message, a case, a token, a stretch of events, a file with its digest.
    pub fn object(&mut self, kind: &str, id: impl std::fmt::Display) {
        let object = format!("{kind}/{id}");
        // The list is kept as one text with blanks between.
        self.objects.push(object.split_whitespace().collect::<Vec<_>>().join("_"));
    }

    /// Whether a thing is named.
    pub fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// The same at another time.
    pub fn at(mut self, at: i64) -> Self {
        self.at = at;
        self
    }

    /// The same with this outcome.
    pub fn with(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The entry at its place in the chain.
    pub fn row(&self, sequence: u64, previous: &Hash) -> Row {
        let (actor, name, role) = match &self.actor {
            Actor::Token { name, role } => ("token", name.as_str(), *role),
            Actor::Shell { name } => ("shell", name.as_str(), ""),
            Actor::Daemon => ("daemon", "", ""),
            Actor::Unknown => ("unknown", "", ""),
        };
        let mut row = Row {
            sequence,
            at: self.at,
            actor: actor.to_owned(),
            name: name.to_owned(),
            role: role.to_owned(),
            action: self.action.name().to_owned(),
            outcome: self.outcome.name().to_owned(),
            origin: self.origin.clone(),
            request: self.request.clone(),
            persons: self.persons.join(" "),
            objects: self.objects.join(" "),
            detail: self.detail.clone(),
            hash: [0; 32],
        };
        row.hash = row.expected_hash(previous);
        row
    }
}

/// Whether a text looks like a One ID: a ULID, 26 characters of Crockford's base 32.
pub fn is_one_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}
