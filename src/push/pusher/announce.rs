//! Tells the receiver of a new epoch before anything else, until it has taken that.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::notice::Notice;
use super::super::status::Standing;
use super::super::wire::{self, Outcome};
use super::{Pusher, Trip, now};
use crate::audit::{Action, Actor, Entry};
use crate::store::{Transaction, audit, consumers};

/// Attempts to tell of a new epoch.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: usize,
    next_at: i64,
}

impl Pusher {
    /// Tells the receiver of the new epoch, if it is time to; once it has taken that, delivery goes on in it.
    pub(super) async fn announce(
        &self,
        notice: &Notice,
        tries: &mut Tries,
        stop: &CancellationToken,
    ) -> Result<(), Trip> {
        if tries.next_at > now() {
            return Ok(());
        }
        let event = Arc::new(notice.event(self.consumer(), Timestamp::now())?);
        let outcome = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            outcome = (self.post)(event) => outcome,
        };
        let failed = match outcome {
            Outcome::Taken => {
                *tries = Tries::default();
                tracing::warn!(
                    consumer = self.consumer(),
                    "the store was put back from a backup; the receiver knows, delivery goes on"
                );
                return self.enter(notice).await;
            }
            Outcome::Failed(failed) => failed,
        };
        let schedule = &self.settings.schedule;
        let planned =
            schedule.get(tries.failed).or(schedule.last()).copied().unwrap_or(self.settings.limits.longest_probe);
        let wait = failed.retry_after.unwrap_or_else(|| {
            crate::web::jittered(planned.min(self.settings.limits.longest_probe), crate::web::random())
        });
        tries.failed = tries.failed.saturating_add(1);
        tries.next_at = now().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
        self.tell(Standing::Down(format!(
            "it has not taken yet that the store was put back from a backup: {}",
            failed.reason
        )));
        Ok(())
    }

    /// Goes on in the new epoch, unless somebody has moved the position meanwhile.
    async fn enter(&self, notice: &Notice) -> Result<(), Trip> {
        let mut entry = Entry::new(now(), Actor::Daemon, Action::FeedDeliver, "daemon", &format!("push-{:x}", now()));
        entry.object("consumer", self.consumer());
        entry.object("target", wire::origin(&self.settings.url));
        entry.object("epoch", notice.next.epoch);
        let (name, moved, next) = (self.consumer().to_owned(), notice.moved, notice.next);
        let job = move |t: &Transaction<'_>| {
            if consumers::get(t, &name)?.is_some_and(|known| known.moved == moved) {
                audit::append(t, &entry)?;
                consumers::commit(t, &name, next, now())?;
            }
            Ok(())
        };
        Ok(self.store.submit(job).await?)
    }
}
