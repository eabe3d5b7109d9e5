//! `heyi check`: everything that could keep the daemon from working, at once, without starting it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::json;

use super::{Unusable, Verdict, output};
use crate::app::{pipeline_sources, server_files};
use crate::config::{self, Arrival, Config};
use crate::diagnostic::Diagnostic;
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
    let (problems, readable) = match config::examine(file) {
        Ok((config, mut problems)) => {
            problems.extend(config.iter().flat_map(surroundings));
            (problems, true)
        }
        Err(problems) => (problems, false),
    };
    let wrong = problems.iter().filter(|problem| problem.is_error()).count();
    if arguments.json {
        output::json(&json!({"problems": problems}))?;
    } else {
        output::diagnostics(&problems);
        if wrong == 0 {
            output::line(format!("{}: nothing wrong", file.display()))?;
        }
    }
    match (wrong, readable) {
        (0, _) => Ok(Verdict::Fine),
        (_, true) => Ok(Verdict::Wrong),
        (_, false) => Err(Unusable.into()),
    }
}

/// Mappings, certificates, directories and ports.
fn surroundings(config: &Config) -> Vec<Diagnostic> {
    let mut problems = match pipeline_sources(config) {
        Ok(sources) => sources.iter().flat_map(|source| source.mapping.warnings().to_vec()).collect(),
        Err(problems) => problems,
    };
    let file = config.file.display().to_string();
    let mut report = |text: String, hint: &str| {
        problems.push(Diagnostic::unreadable(&file, CODE, text).hint(hint));
    };
    let listeners = config.sources.iter().filter_map(|source| match &source.arrival {
        Arrival::Mllp(mllp) => Some((source.name.as_str(), mllp.listen, mllp.tls.as_ref())),
        Arrival::Files(_) => None,
    });
    for (name, listen, tls) in listeners.chain([("http", config.http.listen, config.http.tls.as_ref())]) {
        if let Err(error) = take_port(listen) {
            report(
                format!("{name}: cannot listen on {listen} ({error})"),
                "choose a free port of this machine, or stop what uses it (a running heyi uses its own ports)",
            );
        }
        if let Some(error) = tls.and_then(|tls| ServerTls::load(server_files(tls)).err()) {
            report(format!("{name}: {error}"), "give PEM files that the service's user can read");
        }
    }
    for source in &config.sources {
        if let Arrival::Files(files) = &source.arrival
            && !files.directory.is_dir()
        {
            report(
                format!("{}: {} is not a directory", source.name, files.directory.display()),
                "make it, or mount the share that it is on",
            );
        }
    }
    problems
}

fn take_port(address: SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(address).map(drop)
}
