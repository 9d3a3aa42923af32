//! Logs go to standard error.

use rederive::config::{Log, LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;

/// The level and format of this process's log.
pub fn start(log: Log) {
    let level = level(log.level);
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    match log.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    // The worker inherits the environment, and logs in the same way.
    WORKER_LOG.set(log).ok();
}

static WORKER_LOG: std::sync::OnceLock<Log> = std::sync::OnceLock::new();

/// The variables that make a worker log as this process does.
pub fn environment() -> Vec<(String, String)> {
    let Some(log) = WORKER_LOG.get() else { return Vec::new() };
    let format = if log.format == LogFormat::Json { "json" } else { "text" };
    vec![(LEVEL.into(), level(log.level).to_string()), (FORMAT.into(), format.into())]
}

const LEVEL: &str = "HSM_WORKER_LOG_LEVEL";
const FORMAT: &str = "HSM_WORKER_LOG_FORMAT";

/// The log of a worker, as told by who started it.
pub fn for_worker() {
    let level = std::env::var(LEVEL).ok().and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    match std::env::var(FORMAT).as_deref() {
        Ok("json") => subscriber.json().init(),
        _ => subscriber.init(),
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
