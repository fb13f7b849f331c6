//! How long a request waits for others; the rest of its duration is Gatelet's own.
//!
//! The measurement is in a thread-local while the request's future is polled, so the code that waits need not know the
//! request. Without a measurement, waiting costs one read of it. Futures are taken by reference: those that are passed by
//! value grow with each function.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    time::{Duration, Instant},
};

thread_local! {
    static WAITS: Cell<Option<Waits>> = const { Cell::new(None) };
}

/// How long a request has waited.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// For the client's body and for the upstream, together.
    pub(crate) total: Duration,
    /// From sending the request upstream to the head of the response; `None` if it was not sent or got no response.
    pub(crate) first_byte: Option<Duration>,
}

/// Runs `work` and, if `is_wanted`, measures how long it waits.
pub(crate) async fn measure<F: Future>(mut work: Pin<&mut F>, is_wanted: bool) -> (F::Output, Option<Waits>) {
    let mut waits = is_wanted.then(Waits::default);
    let output = poll_fn(|context| {
        if waits.is_none() {
            return work.as_mut().poll(context);
        }
        let outer = WAITS.replace(waits);
        let polled = work.as_mut().poll(context);
        waits = WAITS.replace(outer);
        polled
    });
    (output.await, waits)
}

/// Waits for a client or an upstream.
pub(crate) async fn wait<F: Future>(future: Pin<&mut F>) -> F::Output {
    let started = started();
    let output = future.await;
    note(started, |waits, duration| waits.total += duration);
    output
}

/// Waits for the head of the upstream's response.
///
/// # Errors
/// Those of `response`.
pub(crate) async fn wait_for_response<T, E, F>(response: Pin<&mut F>) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let started = started();
    let response = response.await;
    note(started, |waits, duration| {
        waits.total += duration;
        waits.first_byte = response.is_ok().then_some(duration);
    });
    response
}

/// The present time, if there is a measurement.
fn started() -> Option<Instant> {
    WAITS.get().map(|_| Instant::now())
}

fn note(started: Option<Instant>, add: impl FnOnce(&mut Waits, Duration)) {
    if let (Some(started), Some(mut waits)) = (started, WAITS.get()) {
        add(&mut waits, started.elapsed());
        WAITS.set(Some(waits));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

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
    async fn each_work_has_its_own_waits() {
        let (long, short) = (Duration::from_millis(40), Duration::from_millis(1));
        let works = (pin!(work(long)), pin!(work(short)), pin!(work(long)));
        let ((), ((), longer), ((), shorter), ((), unwanted)) =
            tokio::join!(work(long), measure(works.0, true), measure(works.1, true), measure(works.2, false));
        let (longer, shorter) = (longer.unwrap(), shorter.unwrap());
        assert!(longer.total >= 2 * long && longer.first_byte.unwrap() >= long, "{longer:?}");
        assert!(shorter.total < longer.total && shorter.total > shorter.first_byte.unwrap(), "{shorter:?}");
        assert!(unwanted.is_none() && WAITS.get().is_none());
    }
}
