//! `heyi serve`: the daemon.

use std::path::Path;
use std::time::Duration;

use super::{Verdict, load_config, output};
use crate::app::{App, StartError, reload_on_hangup, stop_on_signals};
use crate::config::Config;

/// For what the application's own stop left behind, such as a thread in a read.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

pub(super) fn run(file: &Path) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(serve(&config));
    runtime.shutdown_timeout(LEFT_BEHIND);
    result
}

async fn serve(config: &Config) -> anyhow::Result<Verdict> {
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(StartError::Mappings(problems)) => {
            output::diagnostics(&problems);
            return Err(super::Unusable.into());
        }
        Err(error) => return Err(error.into()),
    };
    stop_on_signals(app.stop_token())?;
    reload_on_hangup(app.reload())?;
    output::line(app.ready_line())?;
    tracing::info!("started");
    app.serve().await?;
    tracing::info!("stopped");
    Ok(Verdict::Fine)
}
