//! The world of a namespace: its clock, its timers, the source of its ids, and its end.
//!
//! A request runs within the world of its namespace, and so does everything that it spawns with `inherit`. Only
//! `clock` and `entropy` read the time and draw ids, and they ask the current world. Outside of a world (in a gateway, on
//! the command line) time is real and ids are random.

mod clock_request;
mod ids;
#[cfg(test)]
mod tests;
mod time;
mod timers;

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::{
    clock_request::{ClockRequest, parse_instant},
    ids::IdStyle,
    time::{ClockSettings, Expiry, Micros, TimerMode},
    timers::{Advanced, Pending, TimerKind},
};
use self::{
    ids::{IdScope, Ids},
    time::Time,
    timers::{BusyTask, Timers},
};

pub(crate) use self::ids::Drawn;
pub use self::time::real_now;

/// The world of a namespace. Cheap to clone; all clones are the same world.
#[derive(Clone)]
pub struct World(Arc<WorldState>);

struct WorldState {
    name: Box<str>,
    time: Time,
    ids: Ids,
    timers: Timers,
    /// The ids of client tokens that a test has let expire before their time.
    expired_tokens: Mutex<BTreeSet<Box<str>>>,
    ended: CancellationToken,
}

/// What a snapshot keeps of a world.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SavedWorld {
    clock: time::SavedTime,
    ids: ids::SavedIds,
    expired_tokens: BTreeSet<Box<str>>,
}

impl SavedWorld {
    /// The time of its clock.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.clock.now()
    }
}

/// The clock was to be moved back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backwards;

/// The world that a task runs in, and what its ids are derived from.
struct TaskContext {
    world: World,
    scope: Arc<IdScope>,
    /// Set while the task works because a timer has fired.
    busy: Mutex<Option<BusyTask>>,
}

tokio::task_local! {
    static CONTEXT: TaskContext;
}

impl World {
    /// A new world. Its time is real until its clock is set.
    #[must_use]
    pub fn new(name: &str, ids: IdStyle) -> Self {
        Self::of(name, Time::default(), Ids::new(ids), BTreeSet::new())
    }

    /// The world that was saved, under a name of its own. Ids are derived as before.
    #[must_use]
    pub fn restore(name: &str, saved: &SavedWorld) -> Self {
        Self::of(name, Time::restore(&saved.clock), Ids::restore(&saved.ids), saved.expired_tokens.clone())
    }

    fn of(name: &str, time: Time, ids: Ids, expired_tokens: BTreeSet<Box<str>>) -> Self {
        Self(Arc::new(WorldState {
            name: name.into(),
            time,
            ids,
            timers: Timers::default(),
            expired_tokens: Mutex::new(expired_tokens),
            ended: CancellationToken::new(),
        }))
    }

    /// Its clock and the counters of its ids.
    #[must_use]
    pub fn save(&self) -> SavedWorld {
        SavedWorld { clock: self.0.time.save(), ids: self.0.ids.save(), expired_tokens: self.expired_tokens().clone() }
    }

    /// The name of the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How its ids are made.
    #[must_use]
    pub fn id_style(&self) -> &IdStyle {
        self.0.ids.style()
    }

    /// The time, in microseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.0.time.now()
    }

    /// The time since the world began, by its own clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.time.elapsed()
    }

    /// Whether the clock was never set.
    #[must_use]
    pub fn is_real_time(&self) -> bool {
        self.0.time.is_real()
    }

    /// The settings of its clock.
    #[must_use]
    pub fn clock_settings(&self) -> ClockSettings {
        self.0.time.settings()
    }

    /// Whether expiries in requests count by the real clock.
    #[must_use]
    pub fn reads_expiry_as_meant(&self) -> bool {
        !self.is_real_time() && self.clock_settings().expiry == Expiry::AsMeant
    }

    /// How far its clock is ahead of the real one.
    #[must_use]
    pub fn clock_offset(&self) -> Micros {
        self.0.time.now() - real_now()
    }

    /// Changes the clock. Timers that are then due fire.
    ///
    /// # Errors
    /// When the clock would go back.
    pub fn set_clock(&self, settings: ClockSettings) -> Result<(), Backwards> {
        self.0.time.set(settings)?;
        self.0.timers.release(self.now(), self.0.time.timer_mode());
        Ok(())
    }

    /// Sets the clock of a world in which nothing has happened yet, also back.
    pub fn begin_at(&self, settings: ClockSettings) {
        self.0.time.begin(settings);
    }

    /// Advances the clock to an instant, step by step, so that each timer that is due fires at its time. Returns when
    /// the tasks that were waiting for them wait again or have ended, or after two seconds.
    ///
    /// # Errors
    /// When the clock would go back.
    pub async fn advance(&self, to: Micros) -> Result<Advanced, Backwards> {
        self.0.timers.advance(&self.0.time, to).await
    }

    /// The timers that wait, by the time at which they are due.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        self.0.timers.pending()
    }

    /// Runs a future within this world.
    pub fn enter<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CONTEXT.scope(self.context(Arc::default()), future)
    }

    /// Calls a function within this world, such as the `poll` of a response's body.
    pub fn enter_sync<T>(&self, call: impl FnOnce() -> T) -> T {
        CONTEXT.sync_scope(self.context(Arc::default()), call)
    }

    fn context(&self, scope: Arc<IdScope>) -> TaskContext {
        TaskContext { world: self.clone(), scope, busy: Mutex::default() }
    }

    /// Ends the world: its tasks are dropped and its responses broken off.
    pub fn end(&self) {
        self.0.ended.cancel();
    }

    /// Whether the world has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.ended.is_cancelled()
    }

    /// Waits for the end of the world.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.ended.clone().cancelled_owned()
    }

    /// Waits until a client token expires, at the instant that it says or because a test lets it.
    pub async fn until_token_expires(&self, expires_at: Micros, id: &str) {
        let is_early = || self.has_token_expired(id);
        self.0.timers.wall(&self.0.time, expires_at, TimerKind::TokenExpiry, id, is_early).await;
    }

    /// Lets a client token expire before its time.
    pub fn expire_token(&self, id: &str) {
        self.expired_tokens().insert(id.into());
        self.0.timers.wake(TimerKind::TokenExpiry, id);
    }

    /// Whether a test has let a client token expire.
    #[must_use]
    pub fn has_token_expired(&self, id: &str) -> bool {
        let expired = self.expired_tokens();
        !expired.is_empty() && expired.contains(id)
    }

    fn expired_tokens(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        self.0.expired_tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// The world that the current task runs in.
#[must_use]
pub fn current() -> Option<World> {
    CONTEXT.try_with(|context| context.world.clone()).ok()
}

/// Whether a client token has expired before its time in the current world. The id is only written if any has.
#[must_use]
pub(crate) fn has_token_expired(id: uuid::Uuid) -> bool {
    let has_expired = |world: &World| !world.expired_tokens().is_empty() && world.has_token_expired(&id.to_string());
    CONTEXT.try_with(|context| has_expired(&context.world)).unwrap_or(false)
}

/// The current time of the current world; the real time outside of any.
#[must_use]
pub(crate) fn now() -> Micros {
    CONTEXT.try_with(|context| context.world.now()).unwrap_or_else(|_| {
        // A task that has lost its world would show the real time, and nobody would notice.
        debug_assert!(cfg!(test) || !time::is_any_clock_set(), "the time is read outside of a world");
        real_now()
    })
}

/// A future that runs in the current world, for spawning: `None` if the world ends first. Outside of any world it runs as
/// it is.
pub(crate) fn inherit<F: Future>(future: F) -> impl Future<Output = Option<F::Output>> + use<F> {
    inherit_scope(None, future)
}

/// As [`inherit`]; the ids that the future draws are derived from `parent`, which is the id of what it works on.
pub(crate) fn inherit_for<F: Future>(parent: &str, future: F) -> impl Future<Output = Option<F::Output>> + use<F> {
    inherit_scope(Some(parent), future)
}

fn inherit_scope<F: Future>(parent: Option<&str>, future: F) -> impl Future<Output = Option<F::Output>> + use<F> {
    let context = CONTEXT.try_with(|context| {
        let scope = match parent {
            Some(parent) => Arc::new(IdScope::of(parent)),
            None => Arc::clone(&context.scope),
        };
        let inherited = context.world.context(scope);
        // What a task spawns while it works counts as its work.
        let busy = context.busy().as_ref().map(BusyTask::another);
        *inherited.busy() = busy;
        inherited
    });
    async move {
        let Ok(context) = context else { return Some(future.await) };
        let ended = context.world.ended();
        let run = CONTEXT.scope(context, future);
        tokio::select! {
            biased;
            () = ended => None,
            output = run => Some(output),
        }
    }
}

/// Waits for a pause of the mock: of the real length, until the clock is advanced, or not at all.
pub(crate) async fn sleep(time: Duration, kind: TimerKind, id: &str) {
    match current() {
        Some(world) if !world.is_real_time() || world.0.time.timer_mode() != TimerMode::Real => {
            world.0.timers.pause(&world.0.time, time, kind, id).await;
        }
        _ => tokio::time::sleep(time).await,
    }
}

/// Waits for a future, at most for a time of the current world; `None` if it takes longer. Without timers there is no limit.
pub(crate) async fn timeout<F: Future>(time: Duration, kind: TimerKind, id: &str, future: F) -> Option<F::Output> {
    if current().is_some_and(|world| world.0.time.timer_mode() == TimerMode::Instant) {
        return Some(future.await);
    }
    tokio::select! {
        biased;
        output = future => Some(output),
        () = sleep(time, kind, id) => None,
    }
}

/// Names what the ids of the current request are derived from, before the first is drawn. A scope that has a name keeps it.
pub(crate) fn name_scope(parent: impl FnOnce() -> String) {
    let _ = CONTEXT.try_with(|context| {
        if context.world.0.ids.are_derived() {
            context.scope.name(parent);
        }
    });
}

/// Adds a word to the name of the current scope, before the first id is drawn: the name of the thing that is created.
pub(crate) fn qualify_scope(word: &str) {
    let _ = CONTEXT.try_with(|context| {
        if context.world.0.ids.are_derived() {
            context.scope.qualify(word);
        }
    });
}

/// How many ids of each kind the current scope has drawn. A transaction that is rolled back gives them back.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdMark(Option<ids::ScopeCounts>);

/// The ids that the current scope has drawn so far.
pub(crate) fn mark_ids() -> IdMark {
    IdMark(CONTEXT.try_with(|context| context.world.0.ids.are_derived().then(|| context.scope.counts())).ok().flatten())
}

/// Forgets the ids that the current scope has drawn since the mark.
pub(crate) fn rewind_ids(mark: &IdMark) {
    if let IdMark(Some(counts)) = mark {
        let _ = CONTEXT.try_with(|context| context.scope.rewind(counts));
    }
}

thread_local! {
    static DRY_RUN: Cell<bool> = const { Cell::new(false) };
}

/// Calls a function that makes things only to see whether they can be made: the ids that it draws do not count.
pub(crate) fn dry_run<T>(call: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            DRY_RUN.set(self.0);
        }
    }
    let _restore = Restore(DRY_RUN.replace(true));
    call()
}

/// Sixteen bytes for an id of this kind, and its number if ids are counted; `None` if ids are random here.
pub(crate) fn draw(kind: &str) -> Option<Drawn> {
    if DRY_RUN.get() {
        return Some(Drawn { bytes: [0; 16], number: None });
    }
    CONTEXT.try_with(|context| context.world.0.ids.draw(kind, &context.scope)).ok().flatten()
}

/// Bytes that only need to differ from each other, such as those of a name; `None` if they are random here.
pub(crate) fn draw_bytes(kind: &str) -> Option<[u8; 16]> {
    if DRY_RUN.get() {
        return Some([0; 16]);
    }
    CONTEXT.try_with(|context| context.world.0.ids.draw_bytes(kind, &context.scope)).ok().flatten()
}

impl TaskContext {
    fn busy(&self) -> MutexGuard<'_, Option<BusyTask>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that the current task works, or waits.
fn set_busy(busy: Option<BusyTask>) {
    let _ = CONTEXT.try_with(|context| *context.busy() = busy);
}
