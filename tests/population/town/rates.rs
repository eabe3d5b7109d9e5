//! A town that is harder than the usual one: how many times as often some mishaps come.
//!
//! `HEYI_POPULATION_RATES=phones=3,namesakes=5,numbers=3,slips=2` in the environment; what is not named comes as often as usual.

use std::sync::LazyLock;

/// Multiples of the usual shares.
pub(crate) struct Rates {
    /// Phones of relatives and of the hospital.
    pub(crate) phones: f64,
    /// Strangers of one name and age, and among them those born on one day.
    pub(crate) namesakes: f64,
    /// Rows without a resident number.
    pub(crate) numbers: f64,
    /// Typing errors of every kind.
    pub(crate) slips: f64,
}

pub(crate) static RATES: LazyLock<Rates> = LazyLock::new(|| {
    let mut rates = Rates { phones: 1.0, namesakes: 1.0, numbers: 1.0, slips: 1.0 };
    let text = std::env::var("HEYI_POPULATION_RATES").unwrap_or_default();
    for rate in text.split(',').filter(|rate| !rate.is_empty()) {
        let (name, times) = rate.split_once('=').expect("a rate and how many times");
        let times = times.parse().expect("a number");
        match name {
            "phones" => rates.phones = times,
            "namesakes" => rates.namesakes = times,
            "numbers" => rates.numbers = times,
            "slips" => rates.slips = times,
            _ => panic!("no rate is called {name}"),
        }
    }
    rates
});
