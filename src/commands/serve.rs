//! `heyi serve`: the daemon.

use std::path::Path;

use super::{Verdict, load_config, output};
use crate::app::{App, StartError, reload_on_hangup, stop_on_signals};
use crate::config::Config;

pub(super) fn run(file: &Path) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(serve(&config));
    // What the stop left behind had its time: a thread in a read, say.
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config) -> anyhow::Result<Verdict> {
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(StartError::Mappings(problems) | StartError::Policies(problems)) => {
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
