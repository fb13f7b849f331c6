//! How long a request waits for its client and for the upstream. The rest of its duration is Gatelet's own overhead.
//!
//! The sum is task-local, so that code that waits needs no reference to the request. Futures are taken by reference:
//! one that is passed on by value grows with each function that it passes through.

use std::{
    cell::Cell,
    future::Future,
    pin::{Pin, pin},
    time::{Duration, Instant},
};

tokio::task_local! {
    static WAITS: Cell<Waits>;
}

/// How long a request has waited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    /// For the client's body and for the upstream, in total.
    pub(crate) total: Duration,
    /// From sending the request upstream to the head of the response. `None` if it was not sent, or no response came.
    pub(crate) first_byte: Option<Duration>,
}

/// Runs `work`, and measures how long it waits if `is_wanted`.
pub(crate) async fn measure<F: Future>(work: Pin<&mut F>, is_wanted: bool) -> (F::Output, Option<Waits>) {
    if !is_wanted {
        return (work.await, None);
    }
    let mut measured = pin!(WAITS.scope(Cell::default(), work));
    let output = measured.as_mut().await;
    (output, measured.take_value().map(Cell::into_inner))
}

/// Awaits something that is not Gatelet's own work.
pub(crate) async fn wait<F: Future>(other: Pin<&mut F>) -> F::Output {
    let started = started();
    let output = other.await;
    record(started, |waits, duration| waits.total += duration);
    output
}

/// Awaits the head of the upstream's response.
///
/// # Errors
/// Those of `response`.
pub(crate) async fn wait_for_response<T, E, F>(response: Pin<&mut F>) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let started = started();
    let response = response.await;
    record(started, |waits, duration| {
        waits.total += duration;
        waits.first_byte = response.is_ok().then_some(duration);
    });
    response
}

/// The time, if this task is measured.
fn started() -> Option<Instant> {
    WAITS.try_with(|_| Instant::now()).ok()
}

fn record(started: Option<Instant>, update: impl FnOnce(&mut Waits, Duration)) {
    let Some(started) = started else { return };
    let _ = WAITS.try_with(|cell| {
        let mut waits = cell.get();
        update(&mut waits, started.elapsed());
        cell.set(waits);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn work(pause: Duration) {
        wait(pin!(tokio::time::sleep(pause))).await;
        let response = pin!(async {
            tokio::time::sleep(pause).await;
            Ok::<_, ()>(())
        });
        wait_for_response(response).await.unwrap();
    }

    #[tokio::test]
    async fn each_task_has_its_own_waits() {
        let (long, short) = (Duration::from_millis(40), Duration::from_millis(1));
        let works = (pin!(work(long)), pin!(work(short)), pin!(work(long)));
        let ((), ((), longer), ((), shorter), ((), unwanted)) =
            tokio::join!(work(long), measure(works.0, true), measure(works.1, true), measure(works.2, false));
        let (longer, shorter) = (longer.unwrap(), shorter.unwrap());
        assert!(longer.total >= 2 * long && longer.first_byte.unwrap() >= long, "{longer:?}");
        assert!(shorter.total < longer.total && shorter.total > shorter.first_byte.unwrap(), "{shorter:?}");
        assert!(unwanted.is_none() && started().is_none());
    }
}
