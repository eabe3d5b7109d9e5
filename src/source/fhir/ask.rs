//! What a type is asked for: the query, and how much of it a server lets itself be asked.
//!
//! What is refused is left out and what is ignored is no longer relied on, one thing at a time; it is remembered for a day.

use reqwest::Url;

use super::bundle::{self, Bundle};
use super::engine::{Engine, TypeWork};
use super::instant::query_text;
use super::note::{Asks, Pass, Track};
use super::sink::{Sink, is_id};
use super::status::Remark;
use super::wire::Answer;

impl<S: Sink> Engine<S> {
    /// The patient's `_include`, where it helps: on a first load patients come by themselves.
    pub(super) fn include(&self, name: &str, patient: Option<&str>, work: &TypeWork, track: &Track) -> Option<String> {
        let polled = self.settings.resources.iter().any(|one| one == "Patient");
        let wanted = self.settings.include && work.note.asks.include && patient.is_none();
        let helps = !polled || track.mark.is_some();
        (wanted && helps).then(|| self.capabilities.as_ref()?.patient_include(name)).flatten()
    }

    pub(super) fn query(
        &self,
        name: &str,
        patient: Option<&str>,
        pass: &Pass,
        asks: &Asks,
        include: Option<&str>,
    ) -> Url {
        let mut parts = Vec::new();
        if let Some(patient) = patient.filter(|patient| is_id(patient)) {
            parts.push(format!("patient={patient}"));
        }
        if let (true, Some(from)) = (asks.since && !pass.everything, pass.from) {
            parts.push(format!("_lastUpdated=ge{}", query_text(from)));
        }
        if asks.sort {
            parts.push("_sort=_lastUpdated".to_owned());
        }
        parts.push(format!("_count={}", pass.count));
        if let Some(include) = include {
            parts.push(format!("_include={include}"));
        }
        self.server.base.at(name, &parts.join("&"))
    }

    /// Takes away, one at a time, what the server may not have understood. False: nothing is left to take away.
    pub(super) fn ask_for_less(
        &self,
        name: &str,
        patient: Option<&str>,
        work: &mut TypeWork,
        pass: &Pass,
        included: bool,
        answer: &Answer,
    ) -> bool {
        let asks = &mut work.note.asks;
        let code = answer.status.as_u16();
        // 405 and 412 are what some say to a parameter or a preference.
        if !matches!(code, 400 | 403 | 405 | 412 | 422 | 501) {
            return false;
        }
        let words = bundle::complaint(&answer.body);
        let since = asks.since && pass.from.is_some();
        let can_be_per_patient = patient.is_none() && name != "Patient";
        // `_lastUpdated` is a word of its own in the question, "patient" may be one of any explanation: the more special one first.
        let remark = if code == 403 {
            // Some servers say "forbidden" to a search that would give every patient's data.
            if !(can_be_per_patient && (words.contains("patient") || words.contains("subject"))) {
                return false;
            }
            asks.per_patient = true;
            Remark::PerPatient
        } else if included && (words.contains("include") || !words.contains("patient")) {
            asks.include = false;
            Remark::NoInclude
        } else if asks.sort && words.contains("sort") {
            asks.sort = false;
            Remark::NoSort
        } else if since && words.contains("_lastupdated") {
            asks.since = false;
            Remark::NoLastUpdatedSearch
        } else if can_be_per_patient && (words.contains("patient") || words.contains("subject")) {
            asks.per_patient = true;
            Remark::PerPatient
        } else if included {
            asks.include = false;
            Remark::NoInclude
        } else if asks.sort {
            asks.sort = false;
            Remark::NoSort
        } else if since {
            asks.since = false;
            Remark::NoLastUpdatedSearch
        } else if can_be_per_patient {
            asks.per_patient = true;
            Remark::PerPatient
        } else {
            return false;
        };
        asks.changed = Some(self.server.wire.world.now());
        self.health.remark(Some(name), remark);
        true
    }

    /// What the server says that it understood: parameters that are left out of a `self` link that has others were ignored.
    pub(super) fn look_at_own_link(&self, name: &str, bundle: &Bundle, pass: &mut Pass, work: &mut TypeWork) {
        let Some(own) = bundle.own.as_deref().and_then(|own| self.server.base.url().join(own).ok()) else { return };
        let names: Vec<String> = own.query_pairs().map(|(name, _)| name.into_owned()).collect();
        let has =
            |parameter: &str| names.iter().any(|name| name == parameter || name.starts_with(&format!("{parameter}:")));
        if !has("_lastUpdated") && !has("_sort") && !has("_count") {
            return;
        }
        pass.sort_shown = has("_sort");
        if work.note.asks.sort && !pass.sort_shown {
            self.out_of_order(name, pass, work);
        }
        if work.note.asks.since && pass.from.is_some() && !has("_lastUpdated") {
            self.bound_ignored(name, pass, work);
        }
    }

    pub(super) fn out_of_order(&self, name: &str, pass: &mut Pass, work: &mut TypeWork) {
        pass.in_order = false;
        if work.note.asks.ordered {
            work.note.asks.ordered = false;
            work.note.asks.changed = Some(self.server.wire.world.now());
            self.health.remark(Some(name), Remark::NoSort);
        }
    }

    /// The pass reads everything anyway then: it goes on as one that is meant to.
    pub(super) fn bound_ignored(&self, name: &str, pass: &mut Pass, work: &mut TypeWork) {
        work.note.asks.since = false;
        work.note.asks.changed = Some(self.server.wire.world.now());
        pass.everything = true;
        pass.since = None;
        pass.from = None;
        self.health.remark(Some(name), Remark::NoLastUpdatedSearch);
    }
}
