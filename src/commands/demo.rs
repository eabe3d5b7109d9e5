//! (to come)
#[derive(clap::Args)]
pub(super) struct Arguments {}
pub(super) fn run(_: &Arguments) -> anyhow::Result<super::Verdict> {
    Ok(super::Verdict::Fine)
}
