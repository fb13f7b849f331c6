//! How long a request waits for others: what is left of its duration is our own doing.
//!
//! What is measured stands in the thread's memory while the request's work is polled, so that whatever waits need not be
//! told for whom. Where nobody measures, waiting costs a look there. Work is taken by reference: futures that are passed
//! on by value grow with each hand.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    time::{Duration, Instant},
};

thread_local! {
    static WAITS: Cell<Option<Waits>> = const { Cell::new(None) };
}

/// How long one request has waited.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// For the client's body and for the upstream, in all.
    pub total: Duration,
    /// From passing the request on to the head of the upstream's answer; none: it was not passed on, or not answered.
    pub first_byte: Option<Duration>,
}

/// Does `work` and, if that is wanted, measures what it waits.
pub async fn measure<F: Future>(mut work: Pin<&mut F>, is_wanted: bool) -> (F::Output, Option<Waits>) {
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

/// Waits for somebody else.
pub async fn wait<F: Future>(other: Pin<&mut F>) -> F::Output {
    let started = started();
    let output = other.await;
    note(started, |waits, duration| waits.total += duration);
    output
}

/// Waits for the head of the upstream's answer.
///
/// # Errors
/// Whatever `answer` fails with.
pub async fn wait_for_answer<T, E, F>(answer: Pin<&mut F>) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let started = started();
    let answer = answer.await;
    note(started, |waits, duration| {
        waits.total += duration;
        waits.first_byte = answer.is_ok().then_some(duration);
    });
    answer
}

/// Now, where somebody measures.
fn started() -> Option<Instant> {
    WAITS.get().map(|_| Instant::now())
}

fn note(started: Option<Instant>, take: impl FnOnce(&mut Waits, Duration)) {
    if let (Some(started), Some(mut waits)) = (started, WAITS.get()) {
        take(&mut waits, started.elapsed());
        WAITS.set(Some(waits));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    async fn work(pause: Duration) {
        wait(pin!(tokio::time::sleep(pause))).await;
        let answer = pin!(async {
            tokio::time::sleep(pause).await;
            Ok::<_, ()>(())
        });
        wait_for_answer(answer).await.unwrap();
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
