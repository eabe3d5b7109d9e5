//! The promise of `ARCHITECTURE.md`: order is the source's. Whatever the order in which the messages of a history come, and
//! however often, persons, visits and reports end the same; and each way there tells a log without holes.
//!
//! Where order does matter, by rule, the histories do not go:
//! - Two messages of one source time: the one that came later wins. Here each has a minute of its own; its repeats share it.
//! - A report number that the laboratory gives to a second patient: what comes with an older time is refused.
//! - A number whose name, birth date and resident number all turn out to be another's: whichever comes first is the first generation.
//! - What the weight of evidence links, and not a number, depends on what was known when a record came; so does the patient of a visit that a
//!   report names. Here only numbers link.
//! - A person's `updated_at` is of its last event, and a source that repeats itself later makes none: it is not compared.
//!
//! That a preliminary result after the final one is history is no such case: it is history in any order.
//!
//! `HEYI_ORDER_CASES=2000 cargo test --release --test any_order` looks longer than the few histories of every run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is tests")]

mod history;
mod outcome;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use heyi::hl7v2::{CharsetSetting, Limits};
use heyi::identity::Model;
use heyi::mapping::Mapping;
use heyi::pipeline::{self, Cause, Site, Source};
use heyi::store::messages::MessageState;
use heyi::store::{Access, Store, StoreConfig};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use history::{Said, Sender, any_history};
use outcome::{Outcome, outcome};

/// Histories of an ordinary run.
const CASES: u32 = 16;

/// Links by number alone. What the weight of evidence links depends on what was known when: `tests/population` looks at that.
fn model() -> Model {
    let mut model = Model::default();
    assert!(model.set("decide", "link", 1.0) && model.set("decide", "visit", 0.0));
    model
}

fn source(name: &str) -> Arc<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mapping = Mapping::load(&format!("mappings/{name}.toml"), &|file| std::fs::read_to_string(root.join(file)));
    Arc::new(Source {
        name: name.to_owned(),
        mapping: mapping.unwrap(),
        zone: TimeZone::get("Asia/Shanghai").unwrap(),
        facility: None,
        charset: CharsetSetting::Auto,
        limits: Limits::default(),
        site: Arc::new(Site {
            model: model(),
            owners: BTreeMap::from([("HIS".to_owned(), "his".to_owned()), ("LIS".to_owned(), "lis".to_owned())]),
        }),
    })
}

static HIS: LazyLock<Arc<Source>> = LazyLock::new(|| source("his"));
static LIS: LazyLock<Arc<Source>> = LazyLock::new(|| source("lis"));

/// One message on its way: its place in the history, and how often it was sent before under other control ids.
type Sending = (usize, usize);

/// In which order messages come.
#[derive(Clone)]
struct Order(Vec<Sending>);

impl fmt::Debug for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(place, again)| write!(formatter, "{place}{} ", "'".repeat(*again)))
    }
}

/// Takes the messages in, in the order given, into a store of its own.
fn run(history: &[Said], order: &Order) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
    let units: Vec<_> = order
        .0
        .iter()
        .enumerate()
        .map(|(arrival, (place, again))| {
            let said = &history[*place];
            let source = if said.sender == Sender::His { &HIS } else { &LIS };
            let text = said.text(&format!("C{place}-{again}"), *place);
            // Long after all of them: no source time lies ahead.
            let received_at = 1_750_000_000_000_000 + 1_000_000 * arrival as i64;
            (text.clone(), pipeline::prepare(source, text.as_bytes(), received_at))
        })
        .collect();
    store
        .submit_blocking(move |transaction| {
            for (text, unit) in units {
                let done = transaction.savepoint(|transaction| pipeline::commit(transaction, unit, Cause::Message))?;
                assert_eq!(done.state, MessageState::Processed, "{text}: {:?}", done.error);
            }
            Ok(())
        })
        .unwrap();
    let outcome = outcome(&store);
    store.close();
    outcome
}

/// A history and three orders of it: backwards, at random, and at random with every message twice under one control id and
/// once more under another.
fn any_orders() -> impl Strategy<Value = (Vec<Said>, Vec<Order>)> {
    any_history().prop_flat_map(|history| {
        let once = in_order(&history).0;
        let again = once.iter().map(|(place, _)| (*place, 1));
        let often: Vec<Sending> = once.iter().copied().chain(once.iter().copied()).chain(again).collect();
        let backwards: Vec<Sending> = once.iter().rev().copied().collect();
        (Just(history), Just(once).prop_shuffle(), Just(often).prop_shuffle())
            .prop_map(move |(history, random, often)| (history, [backwards.clone(), random, often].map(Order).to_vec()))
    })
}

fn in_order(history: &[Said]) -> Order {
    Order((0..history.len()).map(|place| (place, 0)).collect())
}

/// How many histories, where somebody looks longer.
fn longer() -> Option<u32> {
    std::env::var("HEYI_ORDER_CASES").ok().map(|cases| cases.parse().expect("a number of histories"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: longer().unwrap_or(CASES),
        // The same histories in every ordinary run: whoever changes something else is not stopped by one that nobody has seen before.
        rng_seed: if longer().is_some() { RngSeed::Random } else { RngSeed::Fixed(1) },
        max_shrink_iters: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_history_ends_the_same_in_any_order((history, orders) in any_orders()) {
        let expected = run(&history, &in_order(&history));
        for order in orders {
            let differences = expected.differences(&run(&history, &order));
            prop_assert!(differences.is_empty(), "in the order {:?}:\n{}", order, differences.join("\n"));
        }
    }
}
