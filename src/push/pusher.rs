//! Delivers the feed to one consumer: reads on, sends what may go, keeps what fails.
//!
//! A session begins at the committed position and lasts until somebody moves that (a replay), the store fails or the daemon stops. One task
//! does everything but the requests themselves, so that what it reads, holds and commits has one order.
//!
//! After a restore the position is of another epoch. The receiver is told so first ([`super::notice`]), and only when it has taken that does
//! delivery go on, where the backup says that it was: nothing is left out, and nothing of the new epoch comes before the receiver knows of it.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

mod announce;
mod progress;

use self::announce::Tries;
use super::Settings;
use super::endpoint::{Blame, Endpoint, Failure};
use super::notice::Notice;
use super::status::{PushStatus, Standing};
use super::window::Window;
use super::wire::{self, Failed, Outcome, PushError, Wire};
use crate::disclosure::{Policies, Recipient};
use crate::feed::{Event, Position};
use crate::outgoing::{self, Log, Lost, Ordered, Page, Request};
use crate::store::holds::{self, Hold, Place, Trouble};
use crate::store::{Reader, Store, StoreError, Transaction, WriteError, consumers, events};

/// Posts an event.
pub(super) type Post = Arc<dyn Fn(Arc<Event>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// See the module.
pub struct Pusher {
    store: Store,
    settings: Settings,
    policies: watch::Receiver<Arc<Policies>>,
    post: Post,
    status: PushStatus,
}

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
enum Trip {
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("a request ended by a defect")]
    Defect,
}

/// How a session begins.
enum Beginning {
    Course(Box<Course>),
    /// The receiver has to be told first.
    NewEpoch(Box<Notice>),
    /// Why nothing can be sent.
    Nowhere(String),
}

/// Where an event that is under way came from.
#[derive(Debug, Clone)]
enum Origin {
    Window,
    Hold(Box<Hold>),
}

struct UnderWay {
    keys: Vec<String>,
    subject: String,
    origin: Origin,
    sent_at: i64,
}

/// A held event whose time has come.
struct Due {
    hold: Hold,
    ordered: Ordered,
}

/// One session.
struct Course {
    window: Window,
    epoch: u32,
    /// When the session began, microseconds since the epoch.
    began: i64,
    moved: u64,
    committed: u64,
    committed_at: Instant,
    /// Events taken since then, and whom they are about.
    taken: Vec<(u64, String)>,
    /// Events posted since then that were not taken: what they tell has left all the same.
    refused: Vec<(u64, String)>,
    /// When anything was last taken, microseconds since the epoch.
    delivered_at: Option<i64>,
    under_way: HashMap<u64, UnderWay>,
    requests: JoinSet<(u64, Outcome)>,
    due: Vec<Due>,
    /// Events of the window that have waited too long to be sent as they are.
    stale: Vec<u64>,
    /// More are due than were read.
    more_due: bool,
    /// When the next hold that is not yet due will be.
    next_due: Option<i64>,
    /// The event by which a receiver that is down was probed last: the next probe takes another one.
    probed: u64,
    head: u64,
    looked_at: Option<Instant>,
}

/// What one look at the store found.
struct Look {
    moved: u64,
    log: Log,
    page: Option<Page<Ordered>>,
    /// Something of the page belongs behind what is held.
    meets_holds: bool,
    due: Vec<(Hold, Option<Ordered>)>,
    renewed: Vec<(u64, Option<Ordered>)>,
    more_due: bool,
    next_due: Option<i64>,
}

impl Pusher {
    /// Reads the files that the settings name; `policies` are those in force.
    ///
    /// # Errors
    /// A secret or certificate that cannot be used.
    pub fn new(store: &Store, settings: Settings, policies: watch::Receiver<Arc<Policies>>) -> Result<Self, PushError> {
        let wire = Arc::new(Wire::new(&settings)?);
        let post: Post = Arc::new(move |event| {
            let wire = Arc::clone(&wire);
            Box::pin(async move { wire.post(&event).await })
        });
        Ok(Self::with(store, settings, policies, post))
    }

    pub(super) fn with(
        store: &Store,
        settings: Settings,
        policies: watch::Receiver<Arc<Policies>>,
        post: Post,
    ) -> Self {
        let status = PushStatus::new(wire::origin(&settings.url));
        Self { store: store.clone(), settings, policies, post, status }
    }

    /// Whom it delivers to.
    pub fn consumer(&self) -> &str {
        &self.settings.consumer.name
    }

    /// What applies to it now; `None`: its policy is not in force.
    fn recipient(&self) -> Option<Recipient> {
        let policies = Arc::clone(&self.policies.borrow());
        self.settings.consumer.recipient(&policies)
    }

    /// How it goes, now and later.
    pub fn status(&self) -> PushStatus {
        self.status.clone()
    }

    /// Delivers until `stop`.
    pub async fn serve(self: Arc<Self>, stop: CancellationToken) {
        let mut endpoint = Endpoint::new(self.settings.limits);
        let mut tries = Tries::default();
        while !stop.is_cancelled() {
            let session = match self.begin().await {
                Ok(Beginning::Course(course)) => self.session(*course, &mut endpoint, &stop).await,
                Ok(Beginning::NewEpoch(notice)) => self.announce(&notice, &mut tries, &stop).await,
                Ok(Beginning::Nowhere(reason)) => {
                    self.tell(Standing::Stopped(reason));
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = session {
                tracing::warn!(consumer = self.consumer(), %error, "delivery is interrupted; it goes on in a moment");
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(self.settings.limits.look) => {} }
        }
    }

    /// Where to begin; else why that means nothing.
    async fn begin(&self) -> Result<Beginning, StoreError> {
        let consumer = self.settings.consumer.clone();
        let read = move |reader: &Reader<'_>| {
            let known = consumers::get(reader, &consumer.name)?;
            let log = Log::read(reader)?;
            Ok((known, log, events::epoch_began(reader)?))
        };
        let (known, log, began) = self.store.read_async(read).await?;
        if self.recipient().is_none() {
            return Ok(Beginning::Nowhere(self.settings.consumer.refusal()));
        }
        let position = known.as_ref().map_or(Position::Start, |known| Position::At(known.cursor));
        let after = match (log.resolve(position), &known) {
            (Ok(after), _) => after,
            (Err(Lost::OtherEpoch), Some(known)) => {
                return Ok(Beginning::NewEpoch(Box::new(Notice::new(known, log, began))));
            }
            (Err(_), _) => {
                let name = self.consumer();
                return Ok(Beginning::Nowhere(format!(
                    "its position means nothing in this log (a copy of the store was put there by hand, or events are gone): \
                     let the consumer check what it keeps, then `heyi feed replay {name} --from start` or `--from head`"
                )));
            }
        };
        Ok(Beginning::Course(Box::new(Course {
            window: Window::new(after),
            epoch: log.head.epoch,
            began: now(),
            moved: known.as_ref().map_or(0, |known| known.moved),
            committed: after,
            committed_at: Instant::now(),
            taken: Vec::new(),
            refused: Vec::new(),
            delivered_at: known.and_then(|known| known.delivered_at),
            under_way: HashMap::new(),
            requests: JoinSet::new(),
            due: Vec::new(),
            stale: Vec::new(),
            more_due: false,
            next_due: None,
            probed: 0,
            head: log.head.sequence,
            looked_at: None,
        })))
    }

    async fn session(&self, mut course: Course, endpoint: &mut Endpoint, stop: &CancellationToken) -> Result<(), Trip> {
        let ended = self.run(&mut course, endpoint, stop).await;
        // What is under way ends before anything is sent anew: else an early event could overtake its own repeat.
        let patience = if stop.is_cancelled() { self.settings.limits.finish } else { self.settings.timeout * 2 };
        let finish = async {
            while let Some(joined) = course.requests.join_next().await {
                self.finished(&mut course, endpoint, joined.map_err(|_| Trip::Defect)?).await?;
            }
            Ok::<(), Trip>(())
        };
        let finished = timeout(patience, finish).await.unwrap_or(Ok(()));
        course.requests.shutdown().await;
        ended.and(finished)?;
        self.commit(&mut course).await.map(drop)
    }

    async fn run(&self, course: &mut Course, endpoint: &mut Endpoint, stop: &CancellationToken) -> Result<(), Trip> {
        let mut head = self.store.head();
        loop {
            if stop.is_cancelled() {
                return Ok(());
            }
            if self.should_look(course) || head.has_changed().unwrap_or(false) {
                // Marked as seen before reading: an event committed while we read wakes us.
                head.mark_unchanged();
                if !self.look(course).await? {
                    return Ok(());
                }
            }
            self.send(course, endpoint);
            let idle = course.under_way.is_empty();
            let limits = &self.settings.limits;
            let late = course.committed_at.elapsed() >= limits.commit_within;
            if (idle || late || course.taken.len() >= limits.commit_every) && !self.commit(course).await? {
                return Ok(());
            }
            self.show(endpoint);
            if self.should_look(course) {
                continue;
            }
            let wake = self.wake(course, endpoint);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(joined) = course.requests.join_next() => {
                    self.finished(course, endpoint, joined.map_err(|_| Trip::Defect)?).await?;
                    while let Some(joined) = course.requests.try_join_next() {
                        self.finished(course, endpoint, joined.map_err(|_| Trip::Defect)?).await?;
                    }
                }
                changed = head.changed() => if changed.is_err() {
                    // The writer is gone; the next job says so.
                    tokio::time::sleep(wake).await;
                },
                () = tokio::time::sleep(wake) => {}
            }
        }
    }

    /// Whether there may be something to read that is not in memory.
    fn should_look(&self, course: &Course) -> bool {
        let limits = &self.settings.limits;
        let Some(looked_at) = course.looked_at else { return true };
        let (entries, bytes) = course.window.size();
        let has_room = entries < limits.window / 2 && bytes < limits.window_bytes / 2;
        looked_at.elapsed() >= limits.look
            || (has_room && course.window.read_to() < course.head)
            || !course.stale.is_empty()
            || (course.due.is_empty() && (course.more_due || course.next_due.is_some_and(|due| due <= now())))
    }

    /// How long nothing can happen by itself.
    fn wake(&self, course: &Course, endpoint: &Endpoint) -> Duration {
        let now = now();
        let until = |at: i64| Duration::from_micros(u64::try_from(at - now).unwrap_or(0));
        let looked = course.looked_at.map_or(Duration::ZERO, |at| at.elapsed());
        let mut wait = self.settings.limits.look.saturating_sub(looked);
        if let Some(down) = endpoint.down() {
            // While a probe is under way, its end is what is waited for.
            wait = wait.min(if course.under_way.is_empty() { until(down.probe_at) } else { wait });
        } else if course.due.is_empty() {
            wait = wait.min(course.next_due.map_or(wait, until));
        }
        // Never a busy loop, whatever the times say.
        wait.max(Duration::from_millis(1))
    }

    /// Reads on, and what is due. `false`: somebody moved the position.
    async fn look(&self, course: &mut Course) -> Result<bool, Trip> {
        let limits = self.settings.limits;
        let (entries, bytes) = course.window.size();
        let room = (limits.window.saturating_sub(entries), limits.window_bytes.saturating_sub(bytes));
        // Anew for each look: policies may have changed, and what is held back leaves by those of now.
        let Some(consumer) = self.recipient() else { return Ok(false) };
        let (after, at) = (course.window.read_to(), now());
        let under_way: BTreeSet<u64> = course.under_way.keys().copied().collect();
        let stale = std::mem::take(&mut course.stale);
        let read = move |reader: &Reader<'_>| {
            let log = Log::read(reader)?;
            let page = if room.0 > 0 && room.1 > 0 && after < log.head.sequence {
                let request = Request { after, limit: room.0, bytes: room.1, person: None };
                Some(outgoing::next_ordered(reader, &consumer, request, at)?)
            } else {
                None
            };
            let keys = page.iter().flat_map(|page| &page.events).flat_map(|event| &event.keys).map(String::as_str);
            let meets_holds = holds::is_held(reader, &consumer.name, keys)?;
            let (mut due, now, most) = (Vec::new(), at, limits.concurrent + under_way.len());
            let found = holds::due(reader, &consumer.name, now, most)?;
            let more_due = found.len() == most;
            for hold in found {
                if !under_way.contains(&hold.first) {
                    let event = outgoing::one_ordered(reader, &consumer, hold.first, at)?;
                    due.push((hold, event));
                }
            }
            let again = |sequence: u64| Ok((sequence, outgoing::one_ordered(reader, &consumer, sequence, at)?));
            let renewed = stale.into_iter().map(again).collect::<Result<_, StoreError>>()?;
            let moved = consumers::get(reader, &consumer.name)?.map_or(0, |known| known.moved);
            let next_due = holds::next_due(reader, &consumer.name, now)?;
            Ok(Look { moved, log, page, meets_holds, due, renewed, more_due, next_due })
        };
        let look = self.store.read_async(read).await?;
        if look.moved != course.moved || look.log.head.epoch != course.epoch {
            return Ok(false);
        }
        course.head = look.log.head.sequence;
        course.looked_at = Some(Instant::now());
        (course.more_due, course.next_due) = (look.more_due, look.next_due);
        for (sequence, ordered) in look.renewed {
            course.window.renew(sequence, ordered, at);
        }
        if let Some(mut page) = look.page {
            if look.meets_holds {
                let places: Vec<Place> = page.events.iter().map(|event| (event.sequence, event.keys.clone())).collect();
                let name = self.consumer().to_owned();
                let joined = self.store.submit(move |transaction| holds::join(transaction, &name, &places)).await?;
                page.events.retain(|event| !joined.contains(&event.sequence));
            }
            course.window.extend(page.events, page.next.sequence, at);
        }
        course.due.clear();
        for (hold, ordered) in look.due {
            match ordered {
                Some(ordered) => course.due.push(Due { hold, ordered }),
                // The log keeps it no more, or nothing of it is for this consumer any more.
                None => self.let_go(hold.first).await?,
            }
        }
        Ok(true)
    }

    /// Sends what may go now.
    fn send(&self, course: &mut Course, endpoint: &Endpoint) {
        let limits = &self.settings.limits;
        let mut free = limits.concurrent.saturating_sub(course.under_way.len());
        if let Some(down) = endpoint.down() {
            if !course.under_way.is_empty() || down.probe_at > now() {
                return;
            }
            free = 1;
        }
        // Persons in trouble take half of the requests at most: they may each last until the time-out.
        let retried = course.under_way.values().filter(|sent| matches!(sent.origin, Origin::Hold(_))).count();
        let mut left = (limits.concurrent / 2).max(1).saturating_sub(retried).min(free);
        if endpoint.down().is_some() {
            // Any of them may be the probe.
            left = usize::MAX;
        }
        let mut candidates: Vec<(u64, Vec<String>, Arc<Event>, Origin)> = Vec::new();
        let mut due = Vec::new();
        for Due { hold, ordered } in std::mem::take(&mut course.due) {
            let is_free = !course.window.is_before(ordered.sequence, &ordered.keys) && !course.meets(&ordered.keys);
            if is_free && left > 0 && !course.under_way.contains_key(&ordered.sequence) {
                left -= 1;
                candidates.push((
                    ordered.sequence,
                    ordered.keys,
                    Arc::new(ordered.event),
                    Origin::Hold(Box::new(hold)),
                ));
            } else {
                due.push(Due { hold, ordered });
            }
        }
        course.due = due;
        // Those under way are among what `ready` passes over.
        let fresh = i64::try_from(limits.fresh.as_micros()).unwrap_or(i64::MAX);
        let (ready, stale) = course.window.ready(limits.concurrent, now().saturating_sub(fresh));
        course.stale = stale;
        for (sequence, keys, event) in ready {
            if !course.meets(&keys) {
                candidates.push((sequence, keys, event, Origin::Window));
            }
        }
        if endpoint.down().is_some() {
            // By turns, so that one bad event cannot make the receiver look down for ever.
            candidates.sort_by_key(|(sequence, ..)| *sequence);
            let next = candidates.iter().position(|(sequence, ..)| *sequence > course.probed).unwrap_or(0);
            candidates.rotate_left(next);
        }
        for (sequence, keys, event, origin) in candidates {
            // What is left over is seen again at the next look.
            if free == 0 {
                break;
            }
            if course.meets(&keys) {
                continue;
            }
            free -= 1;
            course.probed = sequence;
            match &origin {
                Origin::Window => course.window.sent(sequence),
                Origin::Hold(_) => self.status.tried_again(),
            }
            let subject = event.subject.clone();
            course.under_way.insert(sequence, UnderWay { keys, subject, origin, sent_at: now() });
            let request = (self.post)(event);
            course.requests.spawn(async move { (sequence, request.await) });
        }
    }

    /// Takes in what came of a request.
    async fn finished(
        &self,
        course: &mut Course,
        endpoint: &mut Endpoint,
        (sequence, outcome): (u64, Outcome),
    ) -> Result<(), Trip> {
        let Some(sent) = course.under_way.remove(&sequence) else { return Ok(()) };
        let now = now();
        if matches!(sent.origin, Origin::Hold(_)) {
            // What is behind it in its hold becomes due with its end.
            course.next_due = Some(now);
        }
        let failed = match outcome {
            Outcome::Taken => {
                self.status.delivered();
                if endpoint.succeeded().is_some() {
                    tracing::info!(consumer = self.consumer(), "the receiver takes events again");
                }
                course.delivered_at = Some(now);
                course.taken.push((sequence, sent.subject.clone()));
                match sent.origin {
                    Origin::Window => course.window.taken(sequence),
                    Origin::Hold(_) => self.let_go(sequence).await?,
                }
                return Ok(());
            }
            Outcome::Failed(failed) => failed,
        };
        if !failed.is_unreachable {
            course.refused.push((sequence, sent.subject.clone()));
        }
        let failure = Failure {
            person: &sent.subject,
            is_unreachable: failed.is_unreachable,
            retry_after: failed.retry_after,
            reason: &failed.reason,
            sent_at: sent.sent_at,
        };
        match (endpoint.failed(&failure, now, crate::web::random()), sent.origin) {
            (Blame::Receiver, Origin::Window) => course.window.returned(sequence),
            (Blame::Receiver, Origin::Hold(_)) => {}
            (Blame::Person, Origin::Window) => {
                let Some((place, later)) = course.window.behind(sequence) else { return Ok(()) };
                let trouble = self.trouble(course, sequence, 1, now, &failed, now);
                let held: Vec<u64> = std::iter::once(sequence).chain(later.iter().map(|place| place.0)).collect();
                let name = self.consumer().to_owned();
                let begin = move |t: &Transaction<'_>| holds::begin(t, &name, &place, &later, &trouble, now);
                self.store.submit(begin).await?;
                course.window.held(held);
                course.looked_at = None;
            }
            (Blame::Person, Origin::Hold(hold)) => {
                let attempts = hold.trouble.attempts.saturating_add(1);
                let trouble = self.trouble(course, sequence, attempts, hold.since, &failed, now);
                let id = hold.id;
                self.store.submit(move |transaction| holds::note(transaction, id, sequence, &trouble)).await?;
                course.looked_at = None;
            }
        }
        Ok(())
    }

    /// When an event is tried again that failed for the `attempts`th time.
    fn trouble(&self, course: &Course, sequence: u64, attempts: u32, since: i64, failed: &Failed, now: i64) -> Trouble {
        let schedule = &self.settings.schedule;
        let planned = usize::try_from(attempts).ok().and_then(|attempt| schedule.get(attempt.saturating_sub(1)));
        // Whom nobody got ahead of may be the receiver's only trouble.
        let is_parked = planned.is_none() && course.delivered_at.is_some_and(|at| at >= since);
        let wait = planned.or(schedule.last()).copied().unwrap_or_default();
        let wait = failed.retry_after.unwrap_or_else(|| crate::web::jittered(wait, crate::web::random()));
        let reason = failed.reason.as_str();
        let consumer = self.consumer();
        if is_parked {
            tracing::warn!(consumer, event = sequence, attempts, reason, "parked: `heyi feed parked` shows what waits");
        } else {
            tracing::info!(consumer, event = sequence, attempts, reason, "not taken; tried again");
        }
        Trouble {
            attempts,
            next_at: now.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)),
            parked_at: is_parked.then_some(now),
            last_error: failed.reason.clone(),
        }
    }

    async fn let_go(&self, sequence: u64) -> Result<(), WriteError> {
        let name = self.consumer().to_owned();
        self.store.submit(move |transaction| holds::let_go(transaction, &name, sequence, now())).await.map(drop)
    }

    fn show(&self, endpoint: &Endpoint) {
        let standing = endpoint.down().map_or(Standing::Up, |down| Standing::Down(down.reason.clone()));
        self.tell(standing);
    }

    fn tell(&self, standing: Standing) {
        if !self.status.stands(standing.clone()) {
            return;
        }
        let consumer = self.consumer();
        match standing {
            Standing::Up => {}
            Standing::Down(reason) => tracing::warn!(consumer, reason, "the receiver is down: it is probed"),
            Standing::Stopped(reason) => tracing::error!(consumer, reason, "nothing is delivered"),
        }
    }
}

impl Course {
    /// Whether anything under way is about any of these.
    fn meets(&self, keys: &[String]) -> bool {
        self.under_way.values().any(|sent| sent.keys.iter().any(|key| keys.contains(key)))
    }
}

/// Microseconds since the epoch.
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
