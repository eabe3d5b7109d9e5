//! The numbers of sources that are polled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{SourceLabel, gauge_value, raise};

/// What a poller has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PollingNumbers {
    /// Requests sent, repeats among them.
    pub requests: u64,
    /// Of these, without a usable answer, by kind.
    pub failures: Vec<(&'static str, u64)>,
    /// Resources whose record is to be told anew.
    pub due: u64,
    /// Resources that nobody can read.
    pub unreadable: u64,
    /// What the server does not do as it should: resource type (empty: the server as a whole) and remark.
    pub remarks: Vec<(String, String)>,
    /// By type of resource.
    pub types: Vec<PolledType>,
}

/// What was read of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolledType {
    /// Such as `Patient`.
    pub resource_type: String,
    /// Resources fetched, repeats of the overlap among them.
    pub fetched: u64,
    /// Of these, new or different.
    pub changed: u64,
    /// Deletions found.
    pub deleted: u64,
    /// Seconds since everything was known to be here; `None`: it never was.
    pub lag_seconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    source: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemarkLabel {
    source: String,
    resource_type: String,
    remark: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    source: String,
    resource_type: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct PollingFamilies {
    requests: Family<SourceLabel, Counter>,
    failures: Family<FailureLabel, Counter>,
    remarks: Family<RemarkLabel, Gauge>,
    /// Those of `remarks` that are shown, by source.
    remarked: Mutex<BTreeMap<String, BTreeSet<(String, String)>>>,
    due: Family<SourceLabel, Gauge>,
    unreadable: Family<SourceLabel, Gauge>,
    fetched: Family<TypeLabel, Counter>,
    changed: Family<TypeLabel, Counter>,
    deleted: Family<TypeLabel, Counter>,
    lag: Family<TypeLabel, Gauge>,
}

impl PollingFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("poll_requests", "Requests to a FHIR server, repeats among them", self.requests.clone());
        registry.register("poll_failures", "Requests without a usable answer, by kind", self.failures.clone());
        let remarks = "What a FHIR server does not do as it should; the reading goes on in another way";
        registry.register("poll_remarks", remarks, self.remarks.clone());
        registry.register("resources_due", "Resources whose record is to be told anew", self.due.clone());
        registry.register("resources_unreadable", "Resources that nobody can read", self.unreadable.clone());
        registry.register("resources_fetched", "Resources read, repeats among them", self.fetched.clone());
        registry.register("resources_changed", "Resources read that were new or different", self.changed.clone());
        registry.register(
            "resources_deleted",
            "Resources that their server does not have any more",
            self.deleted.clone(),
        );
        let lag = "Time since all that a server had of a type was known to be here";
        registry.register_with_unit("poll_lag", lag, Unit::Seconds, self.lag.clone());
    }

    pub(super) fn set(&self, source: &str, numbers: &PollingNumbers) {
        let label = SourceLabel { source: source.to_owned() };
        raise(&self.requests.get_or_create(&label), numbers.requests);
        self.due.get_or_create(&label).set(gauge_value(numbers.due));
        self.unreadable.get_or_create(&label).set(gauge_value(numbers.unreadable));
        for &(kind, total) in &numbers.failures {
            raise(&self.failures.get_or_create(&FailureLabel { source: source.to_owned(), kind }), total);
        }
        self.set_remarks(source, &numbers.remarks);
        for found in &numbers.types {
            let label = TypeLabel { source: source.to_owned(), resource_type: found.resource_type.clone() };
            raise(&self.fetched.get_or_create(&label), found.fetched);
            raise(&self.changed.get_or_create(&label), found.changed);
            raise(&self.deleted.get_or_create(&label), found.deleted);
            if let Some(lag) = found.lag_seconds {
                self.lag.get_or_create(&label).inner().store(gauge_value(lag), Ordering::Relaxed);
            }
        }
    }
}

impl PollingFamilies {
    /// Shows these, and no longer what is over.
    fn set_remarks(&self, source: &str, remarks: &[(String, String)]) {
        let label = |(resource_type, remark): &(String, String)| RemarkLabel {
            source: source.to_owned(),
            resource_type: resource_type.clone(),
            remark: remark.clone(),
        };
        let now: BTreeSet<(String, String)> = remarks.iter().cloned().collect();
        let mut shown = self.remarked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.insert(source.to_owned(), now.clone()).unwrap_or_default();
        for over in before.difference(&now) {
            self.remarks.remove(&label(over));
        }
        for remark in &now {
            self.remarks.get_or_create(&label(remark)).set(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn a_polled_source_is_counted_by_type() {
        let metrics = Metrics::new();
        let types = vec![PolledType {
            resource_type: "Patient".to_owned(),
            fetched: 9,
            changed: 4,
            deleted: 1,
            lag_seconds: Some(7),
        }];
        let failures = vec![("timeout", 2)];
        let remark = |name: &str| ("Patient".to_owned(), name.to_owned());
        let remarks = vec![remark("no_sort")];
        let numbers = PollingNumbers { requests: 5, failures, due: 3, unreadable: 2, remarks, types };
        metrics.set_polling("emr", &PollingNumbers { remarks: vec![remark("restarted")], ..numbers.clone() });
        metrics.set_polling("emr", &numbers);
        let text = metrics.text().unwrap();
        for line in [
            "heyi_poll_requests_total{source=\"emr\"} 5",
            "heyi_poll_failures_total{source=\"emr\",kind=\"timeout\"} 2",
            "heyi_resources_due{source=\"emr\"} 3",
            "heyi_resources_unreadable{source=\"emr\"} 2",
            "heyi_resources_changed_total{source=\"emr\",resource_type=\"Patient\"} 4",
            "heyi_poll_remarks{source=\"emr\",resource_type=\"Patient\",remark=\"no_sort\"} 1",
            "heyi_poll_lag_seconds{source=\"emr\",resource_type=\"Patient\"} 7",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("restarted"), "what is over is shown no more");
    }
}
