//! Keeps the parts of the daemon running: one that ends although nobody asked is a defect of this program, so it is told,
//! logged and started again. What the part holds (a port, say) stays taken meanwhile.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Pause before a part is started again: a defect that strikes at once shall neither fill the log nor take the processor.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs what `start` makes until `stop` is cancelled and it has ended; `report` learns when it runs and when it does not.
/// Dropping the future ends the part.
pub(super) async fn supervise<F>(
    part: &str,
    stop: &CancellationToken,
    report: impl Fn(Result<(), String>),
    mut start: impl FnMut() -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        report(Ok(()));
        let mut task = AbortOnDropHandle::new(tokio::spawn(start()));
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                // With it goes what was kept for another start: a port is given back at once.
                drop(start);
                if task.await.is_err() {
                    tracing::error!(part, "panicked while it stopped");
                }
                return report(Err("stopped".to_owned()));
            }
            _ = &mut task => {}
        }
        tracing::error!(
            part,
            "ended by a defect of Heyi (report it with the log before this line); it is started again"
        );
        report(Err("ended by a defect, started again in a moment; the log says more".to_owned()));
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(PAUSE) => {} }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn a_part_that_panics_or_ends_is_told_and_started_again() {
        let stop = CancellationToken::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut starts = 0;
        let supervised = {
            let (stop, told) = (stop.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                let report = |found: Result<(), String>| told.lock().unwrap().push(found.is_ok());
                supervise("test", &stop.clone(), report, || {
                    starts += 1;
                    let (start, stop) = (starts, stop.clone());
                    async move {
                        assert_ne!(start, 1, "as asked");
                        if start == 3 {
                            stop.cancelled().await;
                        }
                    }
                })
                .await;
            })
        };
        while told.lock().unwrap().len() < 5 {
            tokio::time::sleep(PAUSE / 20).await;
        }
        stop.cancel();
        supervised.await.unwrap();
        assert_eq!(*told.lock().unwrap(), [true, false, true, false, true, false]);
    }

    #[tokio::test]
    async fn what_is_kept_for_another_start_goes_when_the_stop_is_asked_for() {
        let stop = CancellationToken::new();
        let (kept, ends) = (Arc::new(()), Arc::new(tokio::sync::Notify::new()));
        let (held, asked, ended) = (Arc::clone(&kept), stop.clone(), Arc::clone(&ends));
        let supervised = tokio::spawn(async move {
            let start = move || {
                let (_, ended) = (&held, Arc::clone(&ended));
                async move { ended.notified().await }
            };
            supervise("test", &asked, |_| (), start).await;
        });
        stop.cancel();
        let given_back = async {
            while Arc::strong_count(&kept) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), given_back).await.unwrap();
        assert!(!supervised.is_finished(), "the part itself ends in its own time");
        ends.notify_one();
        supervised.await.unwrap();
    }
}
