//! The command line: one file a verb. The only rooms that print.
//!
//! Exit status: 0 done, 1 it ran and found something wrong, 2 wrong usage or unreadable configuration.

mod answer;
mod audit;
mod audited;
mod backup;
mod check;
mod decided;
mod deliveries;
mod demo;
mod evidence;
mod feed;
mod history;
mod identity;
mod import;
mod mapping;
mod message;
mod output;
mod person;
mod policy;
mod rehearsal;
mod resource_files;
mod review;
mod scratch;
mod send;
mod serve;
mod status;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use crate::app::store_config;
use crate::config::{self, Config};
use crate::store::{Access, Store};
use crate::telemetry::{self, DEFAULT_LOG_FILTER};

/// HL7 v2 in, one identity per patient, one ordered and durable feed out.
#[derive(Parser)]
#[command(name = "heyi", version, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, env = "HEYI_CONFIG", default_value = config::DEFAULT_FILE, value_name = "FILE")]
    config: PathBuf,
    /// What to log, for example `info`, `heyi=debug`; logs go to standard error.
    #[arg(long, global = true, env = "HEYI_LOG", value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon.
    Serve,
    /// Show a hospital's day arriving and the feed that comes of it, in a temporary directory.
    Demo(demo::Arguments),
    /// Check configuration, mappings, code tables, policies, certificates and ports; start nothing.
    Check(check::Arguments),
    /// Send messages over MLLP and print each answer.
    Send(send::Arguments),
    /// Take in files of messages through a source's mapping, with the guarantees of live traffic.
    Import(import::Arguments),
    /// Mapping files: explain, test, compare, and the codes that they lack.
    #[command(subcommand)]
    Mapping(mapping::Verb),
    /// Stored messages.
    #[command(subcommand)]
    Message(message::Verb),
    /// One ID: persons, their records and how they were linked.
    #[command(subcommand)]
    Person(person::Verb),
    /// Field policies: what leaves to a consumer, and in what two policies differ.
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Doubtful matches: one patient, or two?
    #[command(subcommand)]
    Review(review::Verb),
    /// The model of matching: show, train on the site's own records, compare, and what a switch leaves in doubt.
    #[command(subcommand)]
    Identity(identity::Verb),
    /// The event log and its consumers.
    #[command(subcommand)]
    Feed(feed::Verb),
    /// Tokens for the HTTP interface.
    #[command(subcommand)]
    Token(token::Verb),
    /// Copy the store into a file, while the daemon runs.
    Backup(backup::BackupArguments),
    /// Put a backup back in place of the store; the feed's consumers are told.
    Restore(backup::RestoreArguments),
    /// The audit trail: who read or changed what, and whether it is as it was written.
    #[command(subcommand)]
    Audit(audit::Verb),
    /// One screen: sources, failures, feed, consumers, store.
    Status(status::Arguments),
}

/// What a verb ends with when nothing broke: whether it found everything right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Exit status 0.
    Fine,
    /// Exit status 1: it ran and found something wrong.
    Wrong,
}

/// A configuration that cannot be used; its problems are already printed.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
struct Unusable;

/// An argument names something that is not there: wrong usage, as an unknown option is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

fn unknown_source(config: &Config, name: &str) -> WrongUsage {
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    WrongUsage(format!("no source is called `{name}`; configured: {}", names.join(", ")))
}

/// Runs what the process was asked for.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = arguments.log.as_deref().unwrap_or(match arguments.command {
        Command::Serve | Command::Import(_) => DEFAULT_LOG_FILTER,
        // What goes wrong in the day is part of its story.
        Command::Demo(_) => "error",
        _ => "warn",
    });
    if let Err(error) = telemetry::start_logging(filter) {
        output::complain(&format!("{error}"));
        return ExitCode::from(2);
    }
    // A daemon that cannot tell that it is ready has not done what it was started for.
    let is_daemon = matches!(arguments.command, Command::Serve);
    let file = &arguments.config;
    audited::begin(&arguments.command);
    let result = match arguments.command {
        Command::Serve => serve::run(file),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(file, &arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Import(arguments) => import::run(file, &arguments),
        Command::Mapping(verb) => mapping::run(file, verb),
        Command::Message(verb) => message::run(file, verb),
        Command::Person(verb) => person::run(file, verb),
        Command::Policy(verb) => policy::run(file, verb),
        Command::Review(verb) => review::run(file, verb),
        Command::Identity(verb) => identity::run(file, verb),
        Command::Feed(verb) => feed::run(file, verb),
        Command::Token(verb) => token::run(file, verb),
        Command::Backup(arguments) => backup::write(file, &arguments),
        Command::Restore(arguments) => backup::put_back(file, &arguments),
        Command::Audit(verb) => audit::run(file, verb),
        Command::Status(arguments) => status::run(file, &arguments),
    };
    match audited::conclude(result) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(1),
        Err(error) if error.is::<Unusable>() => ExitCode::from(2),
        Err(error) if !is_daemon && output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            ExitCode::from(if error.is::<WrongUsage>() { 2 } else { 1 })
        }
    }
}

/// Who asks, by the shell's word. Behind `sudo -u` that is not the service's user.
fn user() -> String {
    let by = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    by.unwrap_or_else(|| "a user without a name".to_owned())
}

/// The configuration, its problems printed.
fn load_config(file: &std::path::Path) -> anyhow::Result<Config> {
    match config::load(file) {
        Ok((config, warnings)) => {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            Ok(config)
        }
        Err(problems) => {
            output::diagnostics(&problems);
            Err(Unusable.into())
        }
    }
}

/// The store of a configuration, for a command beside the daemon that has something to read in it.
fn existing_store(config: &Config) -> anyhow::Result<Store> {
    let path = config.store.display();
    if !config.store.try_exists().with_context(|| path.to_string())? {
        bail!("no store at {path} yet: start the daemon first, or check [store] path");
    }
    open_store(config)
}

/// The store of a configuration, for a command beside the daemon; it is made where there is none.
fn open_store(config: &Config) -> anyhow::Result<Store> {
    let store = Store::open(&store_config(config, Access::Command))?;
    audited::opened(&store)?;
    Ok(store)
}
