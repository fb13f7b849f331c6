//! Log lines on their way to stderr: gathered for a moment and written together, so that a request does not wait for a
//! write of its own.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered.
const GATHERING: Duration = Duration::from_millis(5);
/// So many bytes wait at most for a reader of stderr that has stopped reading; what comes then is lost and counted.
const CAPACITY: usize = 8 * 1024 * 1024;

/// Where log lines go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogSink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    lost: u64,
}

impl LogSink {
    /// A sink with a thread of its own that writes.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let sink = Self(Arc::default());
        let writer = sink.clone();
        thread::Builder::new().name("log".into()).spawn(move || writer.write_for_ever())?;
        Ok(sink)
    }

    /// Takes whole lines.
    pub fn append(&self, lines: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + lines.len() > CAPACITY {
            waiting.lost += 1;
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(lines);
        drop(waiting);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Writes what is waiting.
    pub fn flush(&self) {
        self.write(&mut Vec::new());
    }

    fn write_for_ever(&self) {
        let mut lines = Vec::new();
        loop {
            let waiting = self.0.filled.wait_while(self.waiting(), |waiting| waiting.lines.is_empty());
            drop(waiting);
            thread::sleep(GATHERING);
            self.write(&mut lines);
        }
    }

    /// Stderr is locked first, so that lines stay in order whoever writes them.
    fn write(&self, lines: &mut Vec<u8>) {
        let mut stderr = io::stderr().lock();
        lines.clear();
        let lost = {
            let mut waiting = self.waiting();
            std::mem::swap(lines, &mut waiting.lines);
            std::mem::take(&mut waiting.lost)
        };
        let _ = stderr.write_all(lines);
        if lost > 0 {
            let _ = writeln!(stderr, "gatelet: {lost} log lines were lost because stderr was not read");
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &LogSink {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.append(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogSink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
