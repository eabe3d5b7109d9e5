//! `[[sources]]`: who sends, how it arrives, and how it is answered.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::value::{at_least, check_name, duration, networks, number, size, socket_address, time_zone};
use super::{Tls, fhir, tls, warn_if_open};
use crate::document::Section;
use crate::hl7v2::CharsetSetting;

/// A shorter silence is between any two messages: every connection would be cut all the time.
const LEAST_IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest resource of a FHIR server: one with a document inside may have some tens of megabytes.
const FHIR_RESOURCE: usize = 64 << 20;
/// Names that no source can have: the `ready` line uses them for other things.
const RESERVED_NAMES: [&str; 3] = ["http", "store", "sources"];

/// `[[sources]]`
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in records, events and commands.
    pub name: String,
    /// The mapping file, absolute.
    pub mapping: PathBuf,
    /// Where it is written, for problems that show when all of the configuration is at hand.
    pub places: Places,
    /// Facility of visits that name none.
    pub facility: Option<String>,
    /// Zone of times without an offset.
    pub time_zone: TimeZone,
    /// Assigning authorities that this source owns.
    pub authorities: Vec<String>,
    /// Character set of its messages.
    pub charset: CharsetSetting,
    /// When the sender gets a positive answer.
    pub acknowledge: Acknowledge,
    /// Code for a message that is kept but could not be processed.
    pub on_error: OnError,
    /// Longest message in bytes.
    pub max_message: usize,
    /// How messages arrive.
    pub arrival: Arrival,
}

/// Where a source is written (bytes of the configuration file).
#[derive(Debug, Clone)]
pub struct Places {
    /// Its name.
    pub name: Range<usize>,
    /// The file of its mapping.
    pub mapping: Range<usize>,
    /// Each of its authorities.
    pub authorities: Vec<Range<usize>>,
    /// How its messages arrive: the address, the directory, or the section.
    pub arrival: Range<usize>,
}

/// When a sender gets a positive answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When the message is kept and everything that follows from it too.
    Processed,
    /// When the message is kept.
    Received,
}

/// The answer to a message that is kept but could not be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Application error.
    Ae,
    /// Application reject.
    Ar,
}

/// How messages of a source arrive.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// Over MLLP.
    Mllp(Mllp),
    /// As files in a directory.
    Files(Files),
    /// From a FHIR server, which is polled.
    Fhir(Box<crate::source::fhir::settings::Settings>),
}

/// `mllp = { … }`
#[derive(Debug, Clone)]
pub struct Mllp {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Silence after which a connection is closed.
    pub idle_timeout: Duration,
    /// Connections at one time; more are closed at once.
    pub max_connections: usize,
    /// Networks that may connect.
    pub allow: Vec<IpNet>,
    /// TLS, if wanted.
    pub tls: Option<Tls>,
}

/// `files = { … }`
#[derive(Debug, Clone)]
pub struct Files {
    /// The directory that is watched, absolute.
    pub directory: PathBuf,
    /// How often it is looked at.
    pub interval: Duration,
}

/// Reads one source; `None`: what is wrong with it was reported.
pub(super) fn read(section: &mut Section<'_>, root: &Path) -> Option<Source> {
    let problems = section.problems();
    let name = section.required("name");
    if let Some(name) = &name {
        check_name(section, name);
        if RESERVED_NAMES.contains(&name.value.as_str()) {
            problems.report(
                name.span.clone(),
                format!("no source can be called {}", RESERVED_NAMES.join(", ")),
                Some("name it after the sending system, for example `his`".into()),
            );
        }
    }
    let mapping = section.required("mapping");
    if let Some(mapping) = &mapping
        && let Err(error) = std::fs::metadata(root.join(&mapping.value))
    {
        let hint = format!("the path starts at {}", root.display());
        problems.report(mapping.span.clone(), format!("the mapping cannot be read: {error}"), Some(hint));
    }
    let facility = section.text("facility").map(|facility| facility.value);
    let time_zone = section.parsed("time_zone", time_zone).map_or_else(default_zone, |zone| zone.value);
    let authorities = section.texts("authorities").unwrap_or_default().into_iter();
    let (authorities, places_of_authorities) = authorities.map(|name| (name.value, name.span)).unzip();
    let kinds: Vec<&str> = ["mllp", "files", "fhir"].into_iter().filter(|kind| section.has(kind)).collect();
    if kinds.len() != 1 {
        problems.report(
            section.span(),
            "a source needs exactly one of the keys mllp, files and fhir, which says how its messages arrive",
            Some("for example: mllp = { listen = \"127.0.0.1:2575\" }".into()),
        );
    }
    let mllp = section.optional_section("mllp");
    let files = section.optional_section("files");
    let fhir = section.optional_section("fhir");
    let mut inner = mllp.or(files).or(fhir)?;
    let kind = kinds.first().copied().unwrap_or_default();
    let mut places = Places {
        name: name.as_ref().map_or_else(|| section.span(), |name| name.span.clone()),
        mapping: mapping.as_ref().map_or_else(|| section.span(), |mapping| mapping.span.clone()),
        authorities: places_of_authorities,
        arrival: inner.span(),
    };
    if kind == "fhir" {
        let source = name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
        let settings = fhir::read(&mut inner, source, root);
        inner.finish();
        return Some(Source {
            name: name?.value,
            mapping: root.join(&mapping?.value),
            places,
            facility,
            time_zone,
            authorities,
            charset: CharsetSetting::Auto,
            acknowledge: Acknowledge::Received,
            on_error: OnError::Ae,
            max_message: FHIR_RESOURCE,
            arrival: Arrival::Fhir(Box::new(settings?)),
        });
    }
    let charset =
        inner.parsed("charset", CharsetSetting::from_str).map_or(CharsetSetting::Auto, |charset| charset.value);
    let max_message = inner.parsed("max_message", size).map_or(16 << 20, |size| size.value);
    // Nobody waits for an answer about a file.
    let (mut acknowledge, mut on_error) = (Acknowledge::Processed, OnError::Ae);
    let arrival = if kind == "files" {
        let directory = inner.required("directory");
        let interval = inner.parsed("interval", duration).map_or(Duration::from_secs(5), |value| value.value);
        places.arrival = directory.as_ref().map_or(places.arrival, |directory| directory.span.clone());
        directory.map(|directory| Arrival::Files(Files { directory: root.join(directory.value), interval }))
    } else {
        (acknowledge, on_error) = read_answers(&mut inner);
        let mllp = read_mllp(&mut inner, root);
        places.arrival = mllp.as_ref().map_or(places.arrival, |(_, listen)| listen.clone());
        mllp.map(|(mllp, _)| Arrival::Mllp(mllp))
    };
    inner.finish();
    let mapping = mapping?;
    Some(Source {
        name: name?.value,
        mapping: root.join(&mapping.value),
        places,
        facility,
        time_zone,
        authorities,
        charset,
        acknowledge,
        on_error,
        max_message,
        arrival: arrival?,
    })
}

/// When and how the sender is answered.
fn read_answers(section: &mut Section<'_>) -> (Acknowledge, OnError) {
    let acknowledge = section.parsed("acknowledge", |text| match text {
        "processed" => Ok(Acknowledge::Processed),
        "received" => Ok(Acknowledge::Received),
        _ => Err("must be `processed` or `received`"),
    });
    let on_error = section.parsed("on_error", |text| match text {
        "AE" => Ok(OnError::Ae),
        "AR" => Ok(OnError::Ar),
        _ => Err("must be `AE` or `AR`"),
    });
    (
        acknowledge.map_or(Acknowledge::Processed, |acknowledge| acknowledge.value),
        on_error.map_or(OnError::Ae, |code| code.value),
    )
}

/// With the place of its address.
fn read_mllp(section: &mut Section<'_>, root: &Path) -> Option<(Mllp, Range<usize>)> {
    if !section.has("listen") {
        section.required("listen");
    }
    let listen = section.parsed("listen", socket_address);
    let idle_timeout = section.parsed("idle_timeout", |text| at_least(LEAST_IDLE_TIMEOUT, "1s", text));
    let idle_timeout = idle_timeout.map_or(Duration::from_secs(600), |value| value.value);
    let max_connections = usize::try_from(number(section, "max_connections", 256, 65_536)).unwrap_or(256);
    let allow = match networks(section) {
        None => vec![IpNet::from_str("127.0.0.0/8").ok()?, IpNet::from_str("::1/128").ok()?],
        Some(networks) => networks,
    };
    let tls = tls(section, root);
    let listen = listen?;
    if tls.is_none() {
        warn_if_open(section, &listen);
    }
    Some((Mllp { listen: listen.value, idle_timeout, max_connections, allow, tls }, listen.span))
}

/// The contract's default; a hospital in China keeps one zone.
pub fn default_zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC)
}
