//! What a world keeps, waits for and derives.

use super::*;

const START: Micros = 1_767_603_600_000_000;
const SECOND: Micros = 1_000_000;

fn frozen(timers: TimerMode) -> World {
    let world = World::new("test", IdStyle::Seed("test".into()));
    world.begin_at(ClockSettings { now: START, is_frozen: true, timers, expiry: Expiry::AsMeant });
    world
}

#[tokio::test]
async fn virtual_timers_fire_in_order_and_advancing_waits_for_their_tasks() {
    let world = frozen(TimerMode::Virtual);
    let log = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = [3, 1, 2]
        .map(|seconds| {
            let log = Arc::clone(&log);
            tokio::spawn(world.enter(async move {
                for _ in 0..2 {
                    sleep(Duration::from_secs(seconds), TimerKind::Pause, "run").await;
                    log.lock().unwrap().push((seconds, (now() - START) / SECOND));
                }
            }))
        })
        .into();
    while world.pending().len() < 3 {
        tokio::task::yield_now().await;
    }
    let advanced = world.advance(START + 4 * SECOND).await.unwrap();
    assert!(advanced.settled);
    assert_eq!(*log.lock().unwrap(), [(1, 1), (2, 2), (1, 2), (3, 3), (2, 4)]);
    assert_eq!((advanced.fired.len(), world.pending().len()), (5, 1));
    world.advance(START + 6 * SECOND).await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.advance(START).await.err(), Some(Backwards));
}

#[tokio::test]
async fn instant_timers_take_no_time_and_have_no_timeouts() {
    let world = frozen(TimerMode::Instant);
    let waited = world.enter(async {
        sleep(Duration::from_hours(1), TimerKind::Pause, "run").await;
        timeout(Duration::from_nanos(1), TimerKind::Ping, "run", tokio::task::yield_now()).await.is_some()
    });
    assert!(waited.await);
    assert_eq!(world.now(), START);
}

#[tokio::test]
async fn a_change_of_the_timers_releases_those_that_wait() {
    let world = frozen(TimerMode::Virtual);
    let task = tokio::spawn(world.enter(sleep(Duration::from_hours(1), TimerKind::Pause, "run")));
    while world.pending().is_empty() {
        tokio::task::yield_now().await;
    }
    world.set_clock(ClockSettings { timers: TimerMode::Instant, ..world.clock_settings() }).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn an_end_drops_what_runs() {
    let world = frozen(TimerMode::Virtual);
    let task = tokio::spawn(world.enter(async { inherit(std::future::pending::<()>()).await }));
    world.end();
    assert_eq!(task.await.unwrap(), None);
}

#[tokio::test]
async fn ids_depend_on_what_they_belong_to_and_not_on_who_asked_between() {
    let ids = async |order: &[&str]| {
        let world = frozen(TimerMode::Instant);
        let mut drawn = std::collections::BTreeMap::new();
        for parent in order {
            let bytes = world.enter(async {
                name_scope(|| (*parent).to_owned());
                [draw("message").unwrap(), draw("message").unwrap()]
            });
            drawn.entry((*parent).to_owned()).or_insert_with(Vec::new).push(bytes.await);
        }
        drawn
    };
    let one = ids(&["a", "a", "b"]).await;
    assert_eq!(one, ids(&["b", "a", "a"]).await);
    let all: std::collections::HashSet<_> = one.values().flatten().flatten().map(|drawn| drawn.bytes).collect();
    assert_eq!(all.len(), 6);
}

#[tokio::test]
async fn a_saved_world_goes_on_as_the_original_does() {
    let world = frozen(TimerMode::Instant);
    let next = async |world: &World| {
        world
            .enter(async {
                name_scope(|| "a".to_owned());
                draw("message").unwrap().bytes
            })
            .await
    };
    next(&world).await;
    let saved = serde_json::to_string(&world.save()).unwrap();
    let restored = World::restore("other", &serde_json::from_str(&saved).unwrap());
    assert_eq!((next(&restored).await, restored.now()), (next(&world).await, world.now()));
}

#[tokio::test]
async fn what_is_rolled_back_is_drawn_again() {
    let world = frozen(TimerMode::Instant);
    world
        .enter(async {
            let mark = mark_ids();
            let first = draw("message").unwrap().bytes;
            rewind_ids(&mark);
            assert_eq!(draw("message").unwrap().bytes, first);
        })
        .await;
}
