//! A clock that is wrong takes no revocation back. Told in this process, because the program's own clock cannot be set.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use gatelet::{
    access::RequestContext,
    api::{TokenRequest, issuer::Minter},
    clock::{Clock, Millis, Source},
    config::Settings,
    credentials::MasterKey,
    model::Project,
    service::{self, Service},
    store::IfMissing,
};
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use crate::harness::{Engine, ORIGIN, Program, eventually, on_both_engines};

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

/// The hands of one machine's clock.
#[derive(Clone, Debug)]
struct Hands(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    wall: Millis,
    monotonic: Duration,
}

impl Source for Hands {
    fn wall(&self) -> Millis {
        self.0.lock().unwrap().wall
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().monotonic
    }
}

impl Hands {
    fn at(wall: Millis) -> Self {
        Self(Arc::new(Mutex::new(Times { wall, monotonic: Duration::ZERO })))
    }

    /// Somebody sets the clock.
    fn set_by(&self, millis: Millis) {
        self.0.lock().unwrap().wall += millis;
    }

    /// Time passes.
    fn pass(&self, millis: Millis) {
        let mut times = self.0.lock().unwrap();
        times.wall += millis;
        times.monotonic += Duration::from_millis(millis.unsigned_abs());
    }
}

/// A database, and what its processes are started with.
struct Installation {
    settings: Settings,
    _program: Program,
}

/// A process on it, on a machine with a clock of its own.
struct Process {
    service: Service,
    hands: Hands,
}

impl Installation {
    async fn on(engine: Engine, retention: Duration) -> Self {
        let program = Program::on(engine).await;
        let mut settings = Settings {
            database_url: Some(program.url().to_owned().into()),
            master_key: Some(MasterKey::generate().reveal().to_string().into()),
            ..Settings::default()
        };
        settings.tokens.retention = retention;
        Self { settings, _program: program }
    }

    async fn start(&self, wall: Millis) -> Process {
        let hands = Hands::at(wall);
        let store = service::open_store(&self.settings, IfMissing::Create).await.unwrap();
        store.migrate().await.unwrap();
        let service = Service::start(&self.settings, store, Clock::of(hands.clone()), None).await.unwrap();
        Process { service, hands }
    }
}

impl Process {
    fn wall(&self) -> Millis {
        self.hands.wall()
    }

    /// A token, and its id.
    async fn issue(&self, lifetime: Millis) -> (String, uuid::Uuid) {
        let body = json!({
            "policy": [{"type": "agent", "id": "agent-1", "access": ["read_agent"]}],
            "hostname": ORIGIN,
            "expires_at": gatelet::clock::format_millis(self.wall() + lifetime),
        });
        let minter = Minter { key_id: "key-1", project: &Project::default(), key_expires_at: None };
        let request = TokenRequest::parse(&body).unwrap();
        let (row, token) = self.service.app.tokens.issuer.issue(request, &minter).await.unwrap();
        (token, row.id)
    }

    async fn revoke(&self, token: &str) {
        let token = self.service.app.tokens.keyring.recognize(token).unwrap();
        self.service.app.feed.revoke(&token).await.unwrap();
    }

    /// What somebody who uses the token is told.
    async fn says(&self, token: &str) -> &'static str {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
        match self.service.app.guard.authenticator.identify(&headers, &mut RequestContext::default()).await {
            Ok(_) => "welcome",
            Err(refusal) => refusal.code().word(),
        }
    }

    async fn is_kept(&self, id: uuid::Uuid) -> bool {
        self.service.app.store.client_token(id).await.unwrap().is_some()
    }

    /// Time passes, with upkeep in such an interval.
    async fn run(&self, time: Millis, interval: Millis) {
        for _ in 0..time / interval {
            self.hands.pass(interval);
            self.service.upkeep.purge().await;
        }
    }

    async fn stop(self) -> Millis {
        let wall = self.wall();
        self.service.stop(Duration::ZERO).await;
        wall
    }
}

fn now() -> Millis {
    gatelet::clock::now_millis()
}

on_both_engines! {
    // Nothing is kept beyond its expiry here, so that the retention hides nothing.
    async fn a_clock_that_runs_ahead_and_is_put_right_takes_no_revocation_back(engine: Engine) {
        let installation = Installation::on(engine, Duration::ZERO).await;
        let process = installation.start(now()).await;
        let (deleted, id) = process.issue(5 * MINUTE).await;
        let (kept, kept_id) = process.issue(5 * MINUTE).await;
        process.revoke(&deleted).await;
        // Both were signed with a key that is retired by now.
        process.service.app.tokens.keyring.rotate(&process.service.app.store).await.unwrap();

        process.hands.set_by(HOUR);
        process.run(MINUTE, SECOND).await;
        // By the clock, their key has signed nothing that is still good.
        assert_eq!((process.says(&deleted).await, process.says(&kept).await), ("bearer_invalid", "bearer_invalid"));
        process.hands.set_by(-HOUR);
        for _ in 0..3 {
            assert_eq!(process.says(&deleted).await, "token_revoked");
            assert_eq!(process.says(&kept).await, "welcome");
            process.run(SECOND, SECOND).await;
        }
        // So says one that reads everything anew.
        let other = installation.start(process.wall()).await;
        assert_eq!((other.says(&deleted).await, other.says(&kept).await), ("token_revoked", "welcome"));
        other.stop().await;

        // With time, both are forgotten all the same.
        assert!(process.is_kept(id).await && process.is_kept(kept_id).await);
        process.run(5 * MINUTE, MINUTE).await;
        assert!(!process.is_kept(id).await && !process.is_kept(kept_id).await);
    }

    async fn a_process_that_starts_with_its_clock_ahead_takes_no_revocation_back(engine: Engine) {
        let installation = Installation::on(engine, Duration::ZERO).await;
        let process = installation.start(now()).await;
        let (deleted, id) = process.issue(5 * MINUTE).await;
        process.revoke(&deleted).await;
        let stopped_at = process.stop().await;

        let ahead = installation.start(stopped_at + HOUR).await;
        ahead.run(MINUTE, SECOND).await;
        assert_eq!(ahead.says(&deleted).await, "token_expired");
        ahead.hands.set_by(-HOUR);
        assert_eq!(ahead.says(&deleted).await, "token_revoked");
        ahead.run(SECOND, SECOND).await;
        assert_eq!(ahead.says(&deleted).await, "token_revoked");
        let stopped_at = ahead.stop().await;

        // Once more, and this time it is put right while nothing runs.
        let ahead = installation.start(stopped_at + HOUR).await;
        ahead.run(MINUTE, SECOND).await;
        let stopped_at = ahead.stop().await - HOUR;
        let right = installation.start(stopped_at).await;
        right.run(SECOND, SECOND).await;
        assert_eq!(right.says(&deleted).await, "token_revoked");
        assert!(right.is_kept(id).await);
    }

    async fn a_step_ahead_is_believed_when_as_much_time_has_been_measured(engine: Engine) {
        let installation = Installation::on(engine, Duration::ZERO).await;
        let process = installation.start(now()).await;
        let (deleted, id) = process.issue(2 * HOUR).await;
        process.revoke(&deleted).await;
        process.hands.set_by(90 * MINUTE);
        process.run(89 * MINUTE, MINUTE).await;
        assert!(process.is_kept(id).await);
        process.run(2 * MINUTE, MINUTE).await;
        assert!(!process.is_kept(id).await);
    }

    async fn what_expired_is_kept_for_the_retention(engine: Engine) {
        let installation = Installation::on(engine, Duration::from_hours(24)).await;
        let process = installation.start(now()).await;
        let (deleted, id) = process.issue(5 * MINUTE).await;
        process.revoke(&deleted).await;
        // An ahead clock that has long been believed.
        process.run(DAY, HOUR).await;
        process.hands.set_by(-DAY);
        assert_eq!(process.says(&deleted).await, "token_revoked");
        let other = installation.start(process.wall()).await;
        assert_eq!(other.says(&deleted).await, "token_revoked");
        assert!(process.is_kept(id).await);
    }

    async fn of_two_processes_the_one_whose_clock_is_ahead_purges_nothing_of_the_others(engine: Engine) {
        let installation = Installation::on(engine, Duration::ZERO).await;
        let start = now();
        let right = installation.start(start).await;
        let (deleted, id) = right.issue(60 * HOUR).await;
        right.revoke(&deleted).await;
        let ahead = installation.start(start + 48 * HOUR).await;
        // For longer than it is ahead.
        for _ in 0..50 {
            right.run(HOUR, HOUR).await;
            ahead.run(HOUR, HOUR).await;
        }
        assert!(right.is_kept(id).await);
        let another = installation.start(right.wall()).await;
        assert_eq!(another.says(&deleted).await, "token_revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_is_logged_once_with_the_amount() {
    let log = listen_to_the_log();
    let installation = Installation::on(Engine::Sqlite, Duration::ZERO).await;
    let process = installation.start(now()).await;
    let lines = |text: &str| log.lock().unwrap().lines().filter(|line| line.contains(text)).count();
    process.hands.set_by(-(HOUR + 2 * MINUTE + 3 * SECOND));
    let second = Duration::from_secs(10);
    eventually("the log says so", second, async || lines("WARN") > 0 && lines("back by 1h 2m 3s") == 1).await;
    process.run(5 * MINUTE, MINUTE).await;
    assert_eq!(lines("back by"), 1);
    process.hands.set_by(4 * HOUR + 5 * MINUTE + 6 * SECOND);
    eventually("the log says so", second, async || lines("ahead by 4h 5m 6s") == 1).await;
    // Also what happened while nothing ran is seen by the next.
    let stopped_at = process.stop().await;
    let _next = installation.start(stopped_at - 7 * HOUR).await;
    assert_eq!(lines("back by 7h"), 1);
}

/// What is logged in this process from now on.
fn listen_to_the_log() -> Arc<Mutex<String>> {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl std::io::Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().push_str(&String::from_utf8_lossy(line));
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let lines = Arc::clone(&log.0);
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).init();
    lines
}
