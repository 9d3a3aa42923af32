//! Logs go to standard error. Only our own crates may be verbose: the libraries of HTTP log header values at their lowest
//! levels, and an `Authorization` header or a presigned query is nobody's to read.

use std::sync::OnceLock;

use rederive::config::{Log, LogFormat, LogLevel};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const LEVEL: &str = "HSM_WORKER_LOG_LEVEL";
const FORMAT: &str = "HSM_WORKER_LOG_FORMAT";

/// How this process logs, for the workers that it starts.
static HERE: OnceLock<Log> = OnceLock::new();

/// Starts this process's log.
pub fn start(log: Log) {
    init(level(log.level), log.format == LogFormat::Json);
    HERE.get_or_init(|| log);
}

/// The variables that make a worker log as this process does.
pub fn environment() -> Vec<(String, String)> {
    let Some(log) = HERE.get() else { return Vec::new() };
    let format = if log.format == LogFormat::Json { "json" } else { "text" };
    vec![(LEVEL.into(), level(log.level).to_string()), (FORMAT.into(), format.into())]
}

/// The log of a worker, as told by who started it.
pub fn for_worker() {
    let level = std::env::var(LEVEL).ok().and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    init(level, std::env::var(FORMAT).as_deref() == Ok("json"));
}

fn init(level: LevelFilter, json: bool) {
    let ours = [("rederive", level), ("rederive_hsm", level)];
    let filter = Targets::new().with_default(level.min(LevelFilter::INFO)).with_targets(ours);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
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
