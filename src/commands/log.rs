//! Logs go to standard error. Only our own crates may be verbose: the libraries of HTTP log header values at their lowest
//! levels, and an `Authorization` header or a presigned query is nobody's to read.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rederive::config::{Log, LogFormat, LogLevel};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const LEVEL: &str = "HSM_WORKER_LOG_LEVEL";
const FORMAT: &str = "HSM_WORKER_LOG_FORMAT";

/// Lines that may wait for standard error. Whoever logs one more waits as well: no line is lost.
const WAITING: usize = 16 * 1024;

/// How this process logs, for the workers that it starts.
static HERE: OnceLock<Log> = OnceLock::new();
/// The thread that writes, until [`end`].
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Starts this process's log. Its lines are written by a thread of its own: on a busy disk, or before a slow reader, a line takes
/// long, and nobody's answer is to wait for it.
pub fn start(log: Log) {
    let thread = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(WAITING).thread_name("log");
    let (lines, guard) = thread.finish(std::io::stderr());
    *writer() = Some(guard);
    init(level(log.level), log.format == LogFormat::Json, lines);
    HERE.get_or_init(|| log);
}

/// Waits, for a second at the most, until what waits is written: the last thing that a process does.
pub fn end() {
    drop(writer().take());
}

fn writer() -> MutexGuard<'static, Option<WorkerGuard>> {
    WRITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The variables that make a worker log as this process does.
pub fn environment() -> Vec<(String, String)> {
    let Some(log) = HERE.get() else { return Vec::new() };
    let format = if log.format == LogFormat::Json { "json" } else { "text" };
    vec![(LEVEL.into(), level(log.level).to_string()), (FORMAT.into(), format.into())]
}

/// The log of a worker, as told by who started it. Its lines are written at once: a worker that has told why it cannot go on may be
/// killed in the next moment.
pub fn for_worker() {
    let level = std::env::var(LEVEL).ok().and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    init(level, std::env::var(FORMAT).as_deref() == Ok("json"), std::io::stderr);
}

fn init(level: LevelFilter, json: bool, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let ours = [("rederive", level), ("rederive_hsm", level)];
    let filter = Targets::new().with_default(level.min(LevelFilter::INFO)).with_targets(ours);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    match json {
        true => registry.with(lines.json()).init(),
        false => registry.with(lines).init(),
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
