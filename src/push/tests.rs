//! Delivery as a whole against a naive model: a receiver with moods, a log, kills; whatever happens, each event is taken, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::pusher::Post;
use super::wire::{Failed, Outcome};
use super::{Allowed, Limits, Pusher, Settings};
use crate::disclosure::Policies;
use crate::feed::{Cursor, Event, EventKind, NewEvent};
use crate::outgoing::{Consumer, order_keys};
use crate::policy::FULL_POLICY;
use crate::record::json;
use crate::store::holds::Counts;
use crate::store::{Access, Store, StoreConfig, Transaction, consumers, events, holds};
use crate::tls::ClientFiles;

const NAME: &str = "crm";

/// What the receiver saw, and how it behaves.
#[derive(Default)]
struct World {
    /// Keys of every event of the log, by its number.
    log: BTreeMap<u64, Vec<String>>,
    taken: BTreeSet<u64>,
    /// Numbers in the order in which they were taken, repeats too.
    order: Vec<u64>,
    under_way: BTreeSet<u64>,
    /// Persons of whom nothing is taken.
    bad: BTreeSet<String>,
    is_down: bool,
    /// Of 100 requests so many fail for no reason.
    fails: u64,
    random: u64,
    requests: usize,
    faults: Vec<String>,
    /// What was told of new epochs: ids and data.
    told: Vec<(String, serde_json::Value)>,
}

impl World {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn shares(&self, one: u64, other: u64) -> bool {
        self.log[&one].iter().any(|key| self.log[&other].contains(key))
    }

    /// An event arrives. The model: nothing that shares a key is under way, and all that came before it was taken.
    fn arrives(&mut self, sequence: u64) {
        let under_way: Vec<u64> = self.under_way.iter().copied().collect();
        for other in under_way {
            if other == sequence || self.shares(other, sequence) {
                self.faults.push(format!("{other} and {sequence} are under way together"));
            }
        }
        if !self.taken.contains(&sequence) {
            let earlier: Vec<u64> = self.log.range(..sequence).map(|(earlier, _)| *earlier).collect();
            for earlier in earlier {
                if self.shares(earlier, sequence) && !self.taken.contains(&earlier) {
                    self.faults.push(format!("{sequence} overtakes {earlier}"));
                }
            }
        }
        self.under_way.insert(sequence);
        self.requests += 1;
    }

    /// Of a new epoch, which everything else waits for.
    fn is_told(&mut self, event: &Event) -> Outcome {
        if !self.under_way.is_empty() {
            self.faults.push("a new epoch is told while events are under way".to_owned());
        }
        self.told.push((event.id.clone(), serde_json::from_str(event.data.get()).unwrap()));
        if self.is_down || self.told.len() < 3 { failed("HTTP 500", false) } else { Outcome::Taken }
    }

    fn decides(&mut self, sequence: u64) -> Outcome {
        let fails = self.fails;
        let is_bad = self.log[&sequence].iter().any(|key| self.bad.contains(key));
        if self.is_down {
            return failed("connection refused", true);
        }
        if is_bad || self.random(100) < fails {
            return failed("HTTP 500", false);
        }
        self.taken.insert(sequence);
        self.order.push(sequence);
        Outcome::Taken
    }
}

fn failed(reason: &str, is_unreachable: bool) -> Outcome {
    Outcome::Failed(Failed { reason: reason.to_owned(), is_unreachable, retry_after: None })
}

/// A request that is cut off is under way no more.
struct Arrived(Arc<Mutex<World>>, u64);

impl Drop for Arrived {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way.remove(&self.1);
    }
}

fn post(world: &Arc<Mutex<World>>) -> Post {
    let world = Arc::clone(world);
    Arc::new(move |event: Arc<Event>| {
        let world = Arc::clone(&world);
        Box::pin(async move {
            let sequence: u64 = event.sequence.parse().unwrap();
            if event.kind == "feed.epoch_changed" {
                return world.lock().unwrap().is_told(&event);
            }
            let wait = {
                let mut world = world.lock().unwrap();
                world.arrives(sequence);
                Duration::from_micros(world.random(1_500))
            };
            let _arrived = Arrived(Arc::clone(&world), sequence);
            sleep(wait).await;
            world.lock().unwrap().decides(sequence)
        })
    })
}

struct Bench {
    store: Store,
    world: Arc<Mutex<World>>,
    settings: Settings,
    running: Option<(AbortOnDropHandle<()>, CancellationToken)>,
    pusher: Option<Arc<Pusher>>,
    _directory: TempDir,
}

impl Bench {
    fn new(seed: u64, policy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        let world = World { random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, ..World::default() };
        let limits = Limits {
            concurrent: 4,
            window: 12,
            commit_every: 5,
            first_probe: Duration::from_millis(2),
            longest_probe: Duration::from_millis(8),
            look: Duration::from_millis(5),
            ..Limits::default()
        };
        let consumer = Consumer { policy: policy.to_owned(), is_pushed: true, ..Consumer::unconfigured(NAME) };
        let settings = Settings {
            consumer,
            url: "http://127.0.0.1:1/".parse().unwrap(),
            secret_file: PathBuf::new(),
            schedule: [1, 2, 3].map(Duration::from_millis).to_vec(),
            timeout: Duration::from_secs(5),
            tls: ClientFiles::default(),
            allowed: Allowed::default(),
            limits,
        };
        let world = Arc::new(Mutex::new(world));
        Self { store, world, settings, running: None, pusher: None, _directory: directory }
    }

    fn start(&mut self) {
        let pusher = Arc::new(Pusher::with(&self.store, self.settings.clone(), full_policies(), post(&self.world)));
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&pusher).serve(stop.clone()));
        (self.running, self.pusher) = (Some((AbortOnDropHandle::new(task), stop)), Some(pusher));
    }

    /// As `kill -9` ends it.
    async fn kill(&mut self) {
        if let Some((task, _)) = self.running.take() {
            task.abort();
            drop(task.await);
        }
    }

    async fn stop(&mut self) {
        if let Some((task, stop)) = self.running.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }

    /// Appends an event about `subject`; `retired`: it is their merge.
    async fn append(&self, subject: &str, retired: &[&str]) -> u64 {
        let kind = if retired.is_empty() { EventKind::PatientUpdated } else { EventKind::PatientMerged };
        let data = json!({"one_id": subject, "retired": retired});
        let event = NewEvent {
            id: "1".to_owned(),
            kind,
            subject: subject.to_owned(),
            time: "2026-03-01T00:00:00Z".to_owned(),
            source: "his".to_owned(),
            data: data.as_object().unwrap().clone(),
        };
        // Known to the model before anything can be sent.
        let world = Arc::clone(&self.world);
        let append = move |t: &Transaction<'_>| {
            let sequence = events::append(t, &event, None, 1)?;
            let stored = events::get(t, sequence)?.unwrap();
            world.lock().unwrap().log.insert(sequence, order_keys(&stored));
            Ok(sequence)
        };
        self.store.submit(append).await.unwrap()
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, crate::store::StoreError> + Send + 'static,
    ) -> T {
        self.store.submit(work).await.unwrap()
    }

    fn counts(&self) -> Counts {
        self.store.read(|reader| holds::counts(reader, NAME)).unwrap()
    }

    fn position(&self) -> u64 {
        self.store.read(|reader| consumers::position(reader, NAME)).unwrap().map_or(0, |cursor| cursor.sequence)
    }

    async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < Duration::from_secs(60), "waited for {what}: {:?}", self.counts());
            sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(self.world.lock().unwrap().faults, Vec::<String>::new());
    }

    fn all_taken(&self) -> bool {
        let world = self.world.lock().unwrap();
        world.log.keys().all(|sequence| world.taken.contains(sequence))
    }

    fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world.lock().unwrap())
    }
}

#[tokio::test]
async fn whatever_fails_and_whenever_it_is_killed_each_event_is_taken_in_order() {
    let histories = std::env::var("HEYI_PUSH_HISTORIES").map_or(6, |text| text.parse().unwrap());
    for seed in 1..=histories {
        let mut bench = Bench::new(seed, FULL_POLICY);
        bench.start();
        for step in 0..150 {
            let (mood, subject, other) = bench.with(|world| (world.random(60), world.random(6), world.random(6)));
            let subject = format!("P{subject}");
            match mood {
                0 => bench.with(|world| world.is_down = !world.is_down),
                1 => bench.with(|world| world.fails = 40 - world.fails),
                2 | 3 => {
                    bench.kill().await;
                    bench.start();
                }
                4 => {
                    bench.stop().await;
                    bench.start();
                }
                5 | 6 => bench.with(|world| {
                    if !world.bad.remove(&subject) {
                        world.bad.insert(subject.clone());
                    }
                }),
                7 => {
                    bench.write(|t| holds::release(t, NAME, None, 0)).await;
                }
                8 => {
                    let back = Cursor { epoch: 1, sequence: bench.position().saturating_sub(step % 20) };
                    bench.write(move |t| consumers::commit(t, NAME, back, 1)).await;
                }
                9..=14 if other.to_string() != subject[1..] => {
                    bench.append(&subject, &[&format!("P{other}")]).await;
                }
                _ => {
                    bench.append(&subject, &[]).await;
                }
            }
            sleep(Duration::from_micros(bench.with(|world| world.random(3_000)))).await;
        }
        bench.with(|world| (world.is_down, world.fails, world.bad) = (false, 0, BTreeSet::new()));
        bench.append("last", &[]).await;
        let head = bench.with(|world| *world.log.last_key_value().unwrap().0);
        // Parked while they were bad: somebody says that they are good now, as often as it takes.
        let mut released = Instant::now();
        bench
            .until("every event", |bench| {
                if released.elapsed() > Duration::from_millis(50) {
                    released = Instant::now();
                    let store = bench.store.clone();
                    tokio::spawn(async move { store.submit(|t| holds::release(t, NAME, None, 0)).await });
                }
                bench.all_taken() && bench.position() == head && bench.counts() == Counts::default()
            })
            .await;
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_failing_person_is_parked_the_others_go_on_and_what_follows_waits_behind_it() {
    let mut bench = Bench::new(7, FULL_POLICY);
    bench.with(|world| world.bad.insert("A".to_owned()));
    bench.start();
    for round in 0..20 {
        bench.append(&format!("B{}", round % 3), &[]).await;
        bench.append("A", &[]).await;
        sleep(Duration::from_millis(1)).await;
    }
    let merge = bench.append("B0", &["A"]).await;
    let behind = bench.append("B0", &[]).await;
    bench
        .until("the others, and A parked", |bench| {
            let others = |world: &World| {
                world.log.iter().filter(|(sequence, keys)| keys[0].starts_with('B') && **sequence < merge).count()
            };
            let counts = bench.counts();
            bench.with(|world| world.taken.len() == others(world)) && (counts.parked, counts.events) == (1, 22)
        })
        .await;
    assert_eq!(
        bench.counts(),
        Counts { events: 22, parked: 1, first: Some(2) },
        "with the merge and what is behind it"
    );
    bench.until("the position", |bench| bench.position() == behind).await;
    let requests = bench.with(|world| world.requests);
    bench.append("B1", &[]).await;
    bench.until("one more", |bench| bench.position() == behind + 1).await;
    assert_eq!(bench.with(|world| world.requests), requests + 1, "nobody asks for what is parked");
    bench.with(|world| world.bad.clear());
    bench.write(|t| holds::release(t, NAME, Some("A"), 0)).await;
    bench.until("everything", |bench| bench.all_taken() && bench.counts() == Counts::default()).await;
    bench.stop().await;
}

#[tokio::test]
async fn while_the_receiver_is_down_nobody_is_held_and_it_is_asked_seldom() {
    let mut bench = Bench::new(9, FULL_POLICY);
    bench.with(|world| world.is_down = true);
    bench.start();
    for person in 0..30 {
        bench.append(&format!("P{person}"), &[]).await;
    }
    bench.until("some probes", |bench| bench.with(|world| world.requests) >= 20).await;
    assert_eq!((bench.counts(), bench.position()), (Counts::default(), 0));
    let shown = bench.pusher.as_ref().unwrap().status().document();
    assert_eq!((shown["state"].as_str(), shown["reason"].as_str()), (Some("down"), Some("connection refused")));
    bench.with(|world| world.is_down = false);
    bench.until("everything", |bench| bench.all_taken() && bench.position() == 30).await;
    bench.until("it to be up", |bench| bench.pusher.as_ref().unwrap().status().document()["state"] == "up").await;
    assert_eq!(bench.with(|world| world.order.len()), 30, "each once");
    bench.stop().await;
}

#[tokio::test]
async fn what_is_erased_while_the_receiver_is_down_is_not_sent_when_it_is_back() {
    let mut bench = Bench::new(21, FULL_POLICY);
    bench.settings.limits.fresh = Duration::from_millis(20);
    bench.with(|world| world.is_down = true);
    bench.start();
    for person in ["A", "B", "C"] {
        bench.append(person, &[]).await;
    }
    bench.until("some probes", |bench| bench.with(|world| world.requests) >= 3).await;
    bench.write(|t| crate::store::erasure::empty_event(t, 2)).await;
    // A probe that was under way then has ended.
    let asked = bench.with(|world| world.requests);
    bench.until("later probes", |bench| bench.with(|world| world.requests) >= asked + 3).await;
    bench.with(|world| world.is_down = false);
    bench.until("the rest", |bench| bench.position() == 3).await;
    let mut taken = bench.with(|world| world.order.clone());
    taken.sort_unstable();
    assert_eq!(taken, [1, 3]);
    bench.stop().await;
}

#[tokio::test]
async fn nobody_is_parked_while_nothing_at_all_gets_through() {
    let mut bench = Bench::new(11, FULL_POLICY);
    bench.with(|world| world.bad.insert("A".to_owned()));
    bench.start();
    bench.append("A", &[]).await;
    bench.until("more attempts than the schedule has", |bench| bench.with(|world| world.requests) > 8).await;
    assert_eq!(bench.counts(), Counts { events: 1, parked: 0, first: Some(1) });
    bench.append("B", &[]).await;
    bench.until("A to be parked once somebody got through", |bench| bench.counts().parked == 1).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_replay_gives_everything_from_there_again() {
    let mut bench = Bench::new(13, FULL_POLICY);
    bench.start();
    for person in ["A", "B", "A", "C"] {
        bench.append(person, &[]).await;
    }
    bench.until("everything", |bench| bench.position() == 4).await;
    bench.write(|t| consumers::commit(t, NAME, Cursor { epoch: 1, sequence: 2 }, 1)).await;
    bench.until("the rest again", |bench| bench.with(|world| world.order.len()) == 6 && bench.position() == 4).await;
    let mut again = bench.with(|world| world.order[4..].to_vec());
    again.sort_unstable();
    assert_eq!(again, [3, 4]);
    bench.stop().await;
}

#[tokio::test]
async fn whose_policy_cannot_be_applied_gets_nothing_and_a_position_of_another_log_is_told() {
    let mut bench = Bench::new(15, "care");
    bench.append("A", &[]).await;
    bench.start();
    let state = |bench: &Bench| bench.pusher.as_ref().unwrap().status().document()["state"].clone();
    bench.until("it to stop", |bench| state(bench) == "stopped").await;
    assert_eq!((bench.with(|world| world.requests), bench.position()), (0, 0));
    bench.stop().await;

    let mut bench = Bench::new(17, FULL_POLICY);
    bench.append("A", &[]).await;
    bench.write(|t| consumers::commit(t, NAME, Cursor { epoch: 1, sequence: 7 }, 1)).await;
    bench.start();
    bench.until("it to stop", |bench| state(bench) == "stopped").await;
    bench.write(|t| consumers::commit(t, NAME, Cursor { epoch: 1, sequence: 0 }, 1)).await;
    bench.until("the event", |bench| bench.all_taken() && state(bench) == "up").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_new_epoch_is_told_until_it_is_taken_and_then_everything_follows_from_where_the_backup_was() {
    let mut bench = Bench::new(19, FULL_POLICY);
    for person in ["A", "B", "A"] {
        bench.append(person, &[]).await;
    }
    // As a restore leaves it: the position is of the backup, and of its epoch.
    bench.write(|t| consumers::commit(t, NAME, Cursor { epoch: 0, sequence: 1 }, 1_000_000)).await;
    bench.with(|world| world.is_down = true);
    bench.start();
    bench.until("some attempts", |bench| bench.with(|world| world.told.len()) > 4).await;
    assert_eq!((bench.with(|world| world.requests), bench.position()), (0, 1), "nothing else is sent");
    let shown = bench.pusher.as_ref().unwrap().status().document();
    assert_eq!(shown["state"], "down");
    assert!(shown["reason"].as_str().unwrap().contains("put back from a backup"), "{shown}");
    bench.with(|world| world.is_down = false);
    // Never from beyond where the epoch began, which in this log is before the first event.
    bench.until("everything", |bench| bench.all_taken() && bench.position() == 3).await;
    let told = bench.with(|world| world.told.clone());
    assert!(told.iter().all(|(id, _)| *id == told[0].0), "a repeat bears the same id");
    assert_eq!((&told[0].1["epoch"], &told[0].1["next"]), (&1.into(), &"1-000000000000".into()));
    bench.stop().await;
}

/// The shipped policy `full` alone, for good.
fn full_policies() -> watch::Receiver<Arc<Policies>> {
    watch::channel(Arc::new(Policies::full())).1
}
