//! Many clients that change the same few things at once, at random: nothing fails, nobody waits long, and what is kept
//! afterwards is consistent.
//!
//! A run of the suite is short. `GATELET_STRESS_SECONDS` makes it longer, `GATELET_STRESS_SEED` draws other requests:
//!
//! ```text
//! GATELET_STRESS_SECONDS=90 cargo test --test suite stress -- --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "what a long run came to is read by whoever started it")]

mod consistency;
mod world;

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use self::world::World;
use crate::harness::{Answer, Client, Program, on_both_engines};

const CLIENTS: u64 = 32;
const SLOWEST: Duration = Duration::from_secs(5);

/// What one kind of request came to.
#[derive(Debug, Default)]
struct Tally {
    statuses: BTreeMap<u16, usize>,
    slowest: Duration,
    /// The first answers that must not be.
    failures: Vec<String>,
}

impl Tally {
    fn count(&mut self, answer: &Answer, took: Duration) {
        let status = answer.status.as_u16();
        *self.statuses.entry(status).or_default() += 1;
        self.slowest = self.slowest.max(took);
        if (status >= 500 || took > SLOWEST) && self.failures.len() < 3 {
            self.failures
                .push(format!("{status} after {took:?}: {}", answer.text.chars().take(300).collect::<String>()));
        }
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
        self.failures.extend(other.failures);
    }
}

/// Numbers that look random and are the same for the same seed: `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(sides).unwrap()).unwrap()
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Sends random requests from many clients until the time is up; what came of them, by kind.
async fn all_clients(owner: &Client, world: &Arc<World>, time: Duration, seed: u64) -> BTreeMap<&'static str, Tally> {
    let until = Instant::now() + time;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (world, owner) = (Arc::clone(world), owner.clone());
        clients.spawn(async move {
            let mut dice = Dice(seed.wrapping_mul(CLIENTS).wrapping_add(number));
            let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
            while Instant::now() < until {
                let request = world.draw(&mut dice);
                let begun = Instant::now();
                let answer = request.send(&owner).await;
                tallies.entry(request.kind).or_default().count(&answer, begun.elapsed());
                world.learn(&request, &answer);
            }
            tallies
        });
    }
    let mut all: BTreeMap<&'static str, Tally> = BTreeMap::new();
    while let Some(tallies) = clients.join_next().await {
        for (kind, tally) in tallies.unwrap() {
            all.entry(kind).or_default().add(tally);
        }
    }
    all
}

fn report(tallies: &BTreeMap<&'static str, Tally>) -> String {
    let mut report = String::new();
    for (kind, tally) in tallies {
        let _ = writeln!(report, "{kind:22} slowest {:>6} ms  {:?}", tally.slowest.as_millis(), tally.statuses);
    }
    let count: usize = tallies.values().flat_map(|tally| tally.statuses.values()).sum();
    let _ = write!(report, "{count} requests");
    report
}

on_both_engines! {
    async fn random_changes_at_once_neither_fail_nor_leave_anything_inconsistent(engine: Engine) {
        let time = Duration::from_secs(setting("GATELET_STRESS_SECONDS", 5));
        let seed = setting("GATELET_STRESS_SEED", 1);
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let world = Arc::new(World::made(&owner).await);
        let tallies = all_clients(&owner, &world, time, seed).await;
        let report = report(&tallies);
        println!("{engine:?}, seed {seed}: {report}");
        let built_in = consistency::of_answers(&owner).await;
        server.signal("TERM");
        server.exit().await;
        let mut problems = consistency::of_store(&program, engine, &built_in).await;
        problems.extend(tallies.iter().flat_map(|(kind, tally)| {
            tally.failures.iter().map(move |failure| format!("{kind}: {failure}"))
        }));
        assert!(problems.is_empty(), "{engine:?}, seed {seed}: {report}\n{}", problems.join("\n"));
    }
}
