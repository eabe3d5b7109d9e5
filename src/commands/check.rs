//! `heyi check`: everything that could keep the daemon from working, at once, without starting it.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;

use serde_json::json;

use super::{Unusable, Verdict, output};
use crate::app::{pipeline_sources, policies, push_settings, server_files};
use crate::config::{self, Arrival, Config};
use crate::diagnostic::{Diagnostic, Severity};
use crate::push;
use crate::source::fhir;
use crate::store::DaemonLock;
use crate::tls::ServerTls;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

/// Marks what is found in the surroundings, not in a file.
const CODE: &str = "C002";

pub(super) fn run(file: &Path, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let (mut problems, readable) = match config::examine(file) {
        Ok((config, mut problems)) => {
            problems.extend(config.iter().flat_map(surroundings));
            (problems, true)
        }
        Err(problems) => (problems, false),
    };
    let wrong = problems.iter().filter(|problem| problem.is_error()).count();
    if arguments.json {
        // Other programs jump to a line: what is about a whole file is about its first.
        for problem in problems.iter_mut().filter(|problem| problem.line == 0) {
            (problem.line, problem.column) = (1, 1);
        }
        output::json(&json!({"problems": problems}))?;
    } else {
        output::diagnostics(&problems);
        if wrong == 0 {
            let found = if problems.is_empty() { "nothing wrong" } else { "no errors, only warnings" };
            output::line(format!("{}: {found}", file.display()))?;
        }
    }
    match (wrong, readable) {
        (0, _) => Ok(Verdict::Fine),
        (_, true) => Ok(Verdict::Wrong),
        (_, false) => Err(Unusable.into()),
    }
}

/// Mappings, policies, the store's place, certificates, directories and ports.
fn surroundings(config: &Config) -> Vec<Diagnostic> {
    let mut problems = match pipeline_sources(config) {
        Ok(sources) => {
            let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
            let owned = config.sources.iter().flat_map(|source| &source.authorities);
            let authorities: Vec<&str> = owned.map(String::as_str).collect();
            let found = sources.iter().flat_map(|source| {
                let unknown = source.mapping.unknown_names(&names, &authorities);
                source.mapping.warnings().iter().cloned().chain(unknown)
            });
            found.collect()
        }
        Err(problems) => problems,
    };
    // That a source's mapping is not there is told where it is named.
    let has_file = |problem: &Diagnostic| problem.line > 0 || config.root.join(&problem.file).exists();
    problems.retain(has_file);
    let policies = policies::load(config);
    problems.extend(policies.warnings);
    // That a policy has no file is told where it is named.
    problems.extend(policies.set.err().unwrap_or_default().into_iter().filter(has_file));
    // A base of several sources is read for each of them.
    let mut known = HashSet::new();
    problems.retain(|problem| known.insert(problem.to_string()));
    let mut report = |place: Range<usize>, severity: Severity, text: String, hint: &str| {
        let mut problem = config::problem(config, place, CODE, text).hint(hint);
        problem.severity = severity;
        problems.push(problem);
    };
    if let Err(reason) = writable(&config.store) {
        report(
            0..0,
            Severity::Error,
            format!("store: {} cannot be written ({reason})", config.store.display()),
            "name a file in a directory of the service's user with [store] path",
        );
    }
    let daemon_runs = DaemonLock::is_held(&config.store);
    let listeners = config.sources.iter().filter_map(|source| match &source.arrival {
        Arrival::Mllp(mllp) => {
            Some((source.name.as_str(), source.places.arrival.clone(), mllp.listen, mllp.tls.as_ref()))
        }
        Arrival::Files(_) | Arrival::Fhir(_) => None,
    });
    // Held together: every address and one address of the same port cannot both be had.
    let mut held: Vec<(&str, TcpListener)> = Vec::new();
    let http = ("http", config.http_place.clone(), config.http.listen, config.http.tls.as_ref());
    let mut tried: Vec<SocketAddr> = Vec::new();
    for (name, place, listen, tls) in listeners.chain([http]) {
        // Two of one address are told by the configuration.
        let is_told = listen.port() != 0 && tried.contains(&listen);
        tried.push(listen);
        match TcpListener::bind(listen) {
            Ok(listener) => held.push((name, listener)),
            Err(_) if is_told => {}
            Err(error) => {
                let other = held.iter().find(|(_, held)| held.local_addr().is_ok_and(|held| overlap(held, listen)));
                let text = format!("{name}: cannot listen on {listen} ({error})");
                match other {
                    Some((other, _)) => {
                        report(place.clone(), Severity::Error, text, &format!("{other} has this port: choose another"))
                    }
                    None if daemon_runs && error.kind() == ErrorKind::AddrInUse => {
                        report(
                            place.clone(),
                            Severity::Warning,
                            text,
                            "a heyi daemon runs on this store and probably listens there",
                        );
                    }
                    None => report(
                        place.clone(),
                        Severity::Error,
                        text,
                        "choose a free port of this machine, or stop what uses it",
                    ),
                }
            }
        }
        if let Some(error) = tls.and_then(|tls| ServerTls::load(server_files(tls)).err()) {
            report(
                place,
                Severity::Error,
                format!("{name}: {error}"),
                "give PEM files that the service's user can read",
            );
        }
    }
    for consumer in &config.consumers {
        let settings = push_settings(config, consumer);
        if let Some(error) = settings.and_then(|settings| push::examine(&settings).err()) {
            let hint = "give PEM files that the service's user can read";
            report(0..0, Severity::Error, format!("{}: {error}", consumer.name), hint);
        }
    }
    for source in &config.sources {
        match &source.arrival {
            Arrival::Files(files) if !files.directory.is_dir() => report(
                source.places.arrival.clone(),
                Severity::Error,
                format!("{}: {} is not a directory", source.name, files.directory.display()),
                "make it, or mount the share that it is on",
            ),
            // Nothing is sent: whether the server is up shows when it is polled.
            Arrival::Fhir(settings) => {
                if let Err(error) = fhir::examine(settings) {
                    report(
                        source.places.arrival.clone(),
                        Severity::Error,
                        format!("{}: {error}", source.name),
                        "give files that the service's user can read: PEM for certificates and keys, else the secret alone",
                    );
                }
            }
            Arrival::Files(_) | Arrival::Mllp(_) => {}
        }
    }
    problems
}

/// Whether both cannot be listened on at once.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let ips = [one.ip(), other.ip()];
    one.port() == other.port() && (ips[0] == ips[1] || ips.iter().any(IpAddr::is_unspecified))
}

/// Whether this user can write the store, or make it where there is none.
fn writable(store: &Path) -> std::io::Result<()> {
    if store.exists() {
        return OpenOptions::new().write(true).open(store).map(drop);
    }
    let directory = store.ancestors().skip(1).find(|path| path.exists()).unwrap_or(Path::new("/"));
    // Rights alone do not tell: the medium may be read-only, the quota used up.
    let probe = directory.join(format!(".heyi-check-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(probe)
}
