//! `heyi backup` and `heyi restore`: a copy of the store beside the running daemon, and the way back.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::json;

use super::person::rights;
use super::{Verdict, existing_store, load_config, output};
use crate::app::now;
use crate::config::Config;
use crate::pipeline::rights::{Request, RightsRefusal};
use crate::store::backup::{self, Backup, Restored};
use crate::store::{Store, StoreError, statistics};
use crate::view::moment;

#[derive(clap::Args)]
pub(super) struct BackupArguments {
    /// The new file.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct RestoreArguments {
    /// A file that `heyi backup` made.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(3);

pub(super) fn write(file: &Path, arguments: &BackupArguments) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let store = existing_store(&config)?;
    let target = &arguments.file;
    let made = with_progress(&store, target, || backup::write(store.path(), target, now()))?;
    let Backup { head, bytes } = made;
    if arguments.json {
        output::json(&json!({"file": target, "head": head.to_string(), "bytes": bytes}))?;
    } else {
        output::line(format!("{}: {} MiB, feed up to {head}", target.display(), bytes.div_ceil(1 << 20)))?;
    }
    Ok(Verdict::Fine)
}

/// Tells how much is written while `work` goes on.
fn with_progress(
    store: &Store,
    target: &Path,
    work: impl FnOnce() -> Result<Backup, StoreError>,
) -> anyhow::Result<Backup> {
    let whole = store.read(|reader| statistics::read(store, reader)).map_or(0, |numbers| numbers.file_bytes);
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(REPORT) {
                let written = backup::partial(target).metadata().map_or(0, |file| file.len());
                output::complain(&format!("{} of at most {} MiB written", written >> 20, whole >> 20));
            }
        });
        let made = work();
        drop(done);
        Ok(made?)
    })
}

pub(super) fn put_back(file: &Path, arguments: &RestoreArguments) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let restored = backup::put_back(&arguments.file, &config.store, &config.audit.checkpoints, now())?;
    let erased = erase_again(&config, restored.erased.as_deref().unwrap_or_default())?;
    let Restored { backup_at, head, replaced, tokens_kept, .. } = &restored;
    let (backup_at, tokens_kept) = (*backup_at, *tokens_kept);
    if arguments.json {
        output::json(&json!({
            "store": config.store,
            "backup_at": backup_at.map(moment),
            "head": head.to_string(),
            "epoch": head.epoch,
            "replaced": replaced,
            "tokens_kept": tokens_kept,
            "erased": erased,
        }))?;
        return Ok(Verdict::Fine);
    }
    output::line(format!("{}: put back, feed up to {head}", config.store.display()))?;
    if let Some(replaced) = &replaced {
        output::line(format!("the store that was there is {}", replaced.display()))?;
    }
    if !erased.is_empty() {
        output::line(format!("erased again, as in that store: {}", erased.join(", ")))?;
    }
    if restored.erased.is_none() && replaced.is_some() {
        output::line("whom that store had erased could not be read: erase again whoever was erased since the backup")?;
    }
    if !tokens_kept {
        output::line(
            "tokens are those of the backup: one that was revoked since then opens again until you revoke it",
        )?;
    }
    output::line("")?;
    for step in next_steps(&config, backup_at) {
        output::line(step)?;
    }
    Ok(Verdict::Fine)
}

/// Erases again whom the replaced store had erased; gives those whom the backup held.
fn erase_again(config: &Config, one_ids: &[String]) -> anyhow::Result<Vec<String>> {
    let mut erased = Vec::new();
    // Opened in any case: the restore is written into the trail of the store that was put back.
    let store = existing_store(config)?;
    if one_ids.is_empty() {
        return Ok(erased);
    }
    for one_id in one_ids {
        let request = Request { by: "heyi restore".to_owned(), reason: "erased before the restore".to_owned() };
        match rights::carry_out(config, &store, one_id, &request) {
            Ok(_) => erased.push(one_id.clone()),
            // Made after the backup, or erased in it already.
            Err(error) if error.is::<RightsRefusal>() => {}
            Err(error) => return Err(error),
        }
    }
    store.forget(rights::PATIENCE)?;
    Ok(erased)
}

/// What the restore cannot do by itself.
fn next_steps(config: &Config, backup_at: Option<i64>) -> Vec<String> {
    let since = backup_at.map_or_else(|| "the backup".to_owned(), output::local_time);
    let mut steps = vec![
        format!("1. Start the daemon. FHIR servers are read on from {since} by themselves."),
        format!("2. Let the other systems send again what they sent since {since}; what is there already has no second effect."),
        "3. Every consumer of the feed is told 409 once: it compares what it keeps with /v1/feed/reconcile and goes on.".to_owned(),
    ];
    let consumers: Vec<&str> = config.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
    if !consumers.is_empty() {
        steps.push(format!("   Consumers: {}", consumers.join(", ")));
    }
    steps
}
