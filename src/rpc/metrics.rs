//! Prometheus metrics.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::audit::Failures;

/// The media type of [`Metrics::render`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: a cached signing key takes tens of microseconds, an HSM up to its deadline.
const BUCKETS: [f64; 14] =
    [20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    decision: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waited {
    hsm: &'static str,
}

/// What is read off the node at each scrape.
#[derive(Debug, Default)]
pub struct Readings {
    /// Requests sent to HSM workers, by kind.
    pub hsm_requests: Vec<(&'static str, u64)>,
    /// Workers started, the first included.
    pub hsm_worker_starts: u64,
    /// Requests that a second worker was asked as well.
    pub hsm_hedges: u64,
    /// Requests that were turned away because too many waited for the HSM.
    pub hsm_turned_away: u64,
    /// Questions to the HSM that were put off, by whose part of it was used up.
    pub hsm_put_off: Vec<(&'static str, u64)>,
    /// Workers that counted other requests than were sent to them.
    pub hsm_differences: u64,
    /// Requests that workers refused by their own rules, by reason.
    pub hsm_refusals: Vec<(&'static str, u64)>,
    /// What masters were used for: token, purpose, generation, uses.
    pub master_uses: Vec<(Arc<str>, &'static str, String, u64)>,
    /// Memory for secrets, in bytes by kind.
    pub secret_memory: Vec<(&'static str, usize)>,
    /// Workers by token and state.
    pub hsm_workers: Vec<(String, &'static str, i64)>,
    /// How old the knowledge of denials is, in seconds.
    pub deny_list_age: i64,
    /// Whether the clock is trusted.
    pub clock_trusted: bool,
    /// What the audit log could not take.
    pub audit: Failures,
}

/// What a node counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    verdicts: Family<Verdict, Counter>,
    accepted: Counter,
    with_hsm: Histogram,
    without_hsm: Histogram,
}

impl Metrics {
    /// `read` is asked at each scrape.
    pub fn new(read: impl Fn() -> Readings + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix("rederive");
        let verdicts = Family::<Verdict, Counter>::default();
        let accepted = verdicts.get_or_create_owned(&Verdict { decision: "accept", code: String::new() });
        registry.register("verify", "Verified requests by decision and error code", verdicts.clone());
        let seconds: Family<Waited, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let histogram = |hsm| seconds.get_or_create_owned(&Waited { hsm });
        let (with_hsm, without_hsm) = (histogram("yes"), histogram("no"));
        let help = "Time of a verification, by whether it waited for the HSM";
        registry.register("verify_seconds", help, seconds);
        registry.register_collector(Box::new(Reader(read)));
        Self { registry, verdicts, accepted, with_hsm, without_hsm }
    }

    /// Counts one verification. `decision` is `accept`, `refuse`, `unavailable` or `malformed`; `code` is the error code, or empty.
    pub fn verified(&self, decision: &'static str, code: &str, elapsed: Duration, waited_for_hsm: bool) {
        self.verdicts.get_or_create(&Verdict { decision, code: code.to_owned() }).inc();
        let histogram = if waited_for_hsm { &self.with_hsm } else { &self.without_hsm };
        histogram.observe(elapsed.as_secs_f64());
    }

    /// Counts acceptances for which nothing had to be waited for, and what one of them took.
    pub(super) fn accepted_at_hand(&self, count: usize, each: Duration) {
        self.accepted.inc_by(count as u64);
        (0..count).for_each(|_| self.without_hsm.observe(each.as_secs_f64()));
    }

    /// The metrics as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }
}

/// Reads the node at each scrape.
struct Reader<F>(F);

impl<F> std::fmt::Debug for Reader<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl<F: Fn() -> Readings + Send + Sync + 'static> Collector for Reader<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Requests sent to HSM workers by kind";
        let mut family = encoder.encode_descriptor("hsm_requests", help, None, MetricType::Counter)?;
        let readings = (self.0)();
        for (kind, count) in readings.hsm_requests {
            let counter = ConstCounter::new(count);
            counter.encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let help = "HSM workers started, the first included";
        let starts = ConstCounter::new(readings.hsm_worker_starts);
        starts.encode(encoder.encode_descriptor("hsm_worker_starts", help, None, MetricType::Counter)?)?;
        let help = "Requests that a second HSM worker was asked as well, because the first took long";
        let hedges = ConstCounter::new(readings.hsm_hedges);
        hedges.encode(encoder.encode_descriptor("hsm_hedges", help, None, MetricType::Counter)?)?;
        let help = "Requests turned away because too many waited for the HSM";
        let full = ConstCounter::new(readings.hsm_turned_away);
        full.encode(encoder.encode_descriptor("hsm_turned_away", help, None, MetricType::Counter)?)?;
        let help = "Questions to the HSM that were put off, because an account or a caller has had its part of it";
        let mut family = encoder.encode_descriptor("hsm_put_off", help, None, MetricType::Counter)?;
        for (part_of, count) in readings.hsm_put_off {
            ConstCounter::new(count).encode(family.encode_family(&[("part_of", part_of)])?)?;
        }
        let help = "Times that an HSM worker had counted other requests than were sent to it";
        let differences = ConstCounter::new(readings.hsm_differences);
        differences.encode(encoder.encode_descriptor("hsm_differences", help, None, MetricType::Counter)?)?;
        let help = "Requests that HSM workers refused by their own rules";
        let mut family = encoder.encode_descriptor("hsm_refusals", help, None, MetricType::Counter)?;
        for (reason, count) in readings.hsm_refusals {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        let help = "Uses of masters by purpose and generation, as the workers count them";
        let mut family = encoder.encode_descriptor("master_uses", help, None, MetricType::Counter)?;
        for (token, purpose, generation, count) in readings.master_uses {
            let labels = [("token", &*token), ("purpose", purpose), ("generation", &generation)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let help = "Memory taken for signing keys and secrets, in bytes by kind";
        let mut family = encoder.encode_descriptor("secret_memory_bytes", help, None, MetricType::Gauge)?;
        for (kind, bytes) in readings.secret_memory {
            ConstGauge::new(bytes as i64).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let help = "HSM workers by token and state";
        let mut family = encoder.encode_descriptor("hsm_workers", help, None, MetricType::Gauge)?;
        for (token, state, count) in readings.hsm_workers {
            let labels = [("token", token.as_str()), ("state", state)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        let help = "Age of what is known of denials, in seconds";
        let age = ConstGauge::new(readings.deny_list_age);
        age.encode(encoder.encode_descriptor("deny_list_age_seconds", help, None, MetricType::Gauge)?)?;
        let help = "1 while the clock is trusted, 0 after a jump";
        let trusted = ConstGauge::new(i64::from(readings.clock_trusted));
        trusted.encode(encoder.encode_descriptor("clock_trusted", help, None, MetricType::Gauge)?)?;
        let help = "Events that the audit log could not take";
        let lost = ConstCounter::new(readings.audit.lost);
        lost.encode(encoder.encode_descriptor("audit_events_lost", help, None, MetricType::Counter)?)?;
        let help = "1 while the audit log cannot be written";
        let failing = ConstGauge::new(i64::from(readings.audit.failing));
        failing.encode(encoder.encode_descriptor("audit_failing", help, None, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_by_code_and_by_wait() {
        let metrics = Metrics::new(Readings::default);
        metrics.verified("accept", "", Duration::from_micros(30), false);
        metrics.verified("accept", "", Duration::from_millis(30), true);
        metrics.verified("refuse", "SignatureDoesNotMatch", Duration::from_micros(3), false);
        let text = metrics.render();
        for line in [
            "rederive_verify_total{decision=\"accept\",code=\"\"} 2",
            "rederive_verify_total{decision=\"refuse\",code=\"SignatureDoesNotMatch\"} 1",
            "rederive_verify_seconds_count{hsm=\"no\"} 2",
            "rederive_verify_seconds_bucket{le=\"0.00002\",hsm=\"no\"} 1",
            "rederive_verify_seconds_count{hsm=\"yes\"} 1",
            "rederive_verify_seconds_bucket{le=\"0.025\",hsm=\"yes\"} 0",
            "rederive_verify_seconds_bucket{le=\"0.05\",hsm=\"yes\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "no `{line}` in {text}");
        }
    }
}
