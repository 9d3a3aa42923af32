//! Overrides from the environment: `REDERIVE_` + section + `__` + key, for single values outside of `[[…]]`.

use std::fmt::Display;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;

use super::words::{parse_host, parse_layout, parse_prefix, parse_public_key};
use super::{Config, ConfigError};
use crate::registry::BadUrl;

const PREFIX: &str = "REDERIVE_";

/// The overrides among the variables of this process, in order of their names.
pub(super) fn of_this_process() -> Result<Vec<(String, String)>, ConfigError> {
    let mut found = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let value = value.into_string().map_err(|_| refuse(name, "its value is not UTF-8"))?;
        found.push((name.to_owned(), value));
    }
    found.sort();
    Ok(found)
}

/// Sets the one value that a variable names. A variable that holds the PIN of a token is not an override.
pub(super) fn apply(config: &mut Config, name: &str, value: &str) -> Result<(), ConfigError> {
    if config.token.iter().any(|token| token.pin_env.as_deref() == Some(name)) {
        return Ok(());
    }
    let path = name.strip_prefix(PREFIX).unwrap_or(name);
    set(config, path, value).map_err(|problem| refuse(name, problem))
}

fn refuse(name: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Variable { name: name.to_owned(), problem: problem.into() }
}

fn set(config: &mut Config, path: &str, value: &str) -> Result<(), String> {
    match path {
        "STATE_DIR" => config.state_dir = value.into(),
        "ROLE" => config.role = word(value)?,
        "REGISTRY__URL" => config.registry.url = Some(value.parse().map_err(|bad: BadUrl| bad.to_string())?),
        "REGISTRY__PASSWORD_FILE" => config.registry.password_file = Some(value.into()),
        "REGISTRY__ALLOW_PLAINTEXT" => config.registry.allow_plaintext = parsed(value, "true or false")?,
        "FEED__PUBLIC_KEYS" => {
            config.feed.public_keys = value.split(',').map(parse_public_key).collect::<Result<_, _>>()?
        }
        "FEED__MAX_STALENESS_S" => config.feed.max_staleness_s = parsed(value, "seconds")?,
        "API__LISTEN" => config.api.listen = address(value)?,
        "API__TLS_CERT" => config.api.tls_cert = Some(value.into()),
        "API__TLS_KEY" => config.api.tls_key = Some(value.into()),
        "API__ALLOW_PLAINTEXT" => config.api.allow_plaintext = parsed(value, "true or false")?,
        "RPC__LISTEN" => config.rpc.listen = address(value)?,
        "RPC__TLS_CERT" => config.rpc.tls_cert = Some(value.into()),
        "RPC__TLS_KEY" => config.rpc.tls_key = Some(value.into()),
        "RPC__CLIENT_CA" => config.rpc.client_ca = Some(value.into()),
        "RPC__ALLOW_PLAINTEXT" => config.rpc.allow_plaintext = parsed(value, "true or false")?,
        "HSM__DEADLINE_MS" => config.hsm.deadline_ms = Some(parsed(value, "milliseconds")?),
        "HSM__QUEUE" => config.hsm.queue = parsed(value, "a number")?,
        "HSM__PER_ACCOUNT" => config.hsm.per_account = parsed(value, "a number")?,
        "HSM__PER_CALLER" => config.hsm.per_caller = parsed(value, "a number")?,
        "HSM__MIN_REPLICAS" => config.hsm.min_replicas = parsed(value, "a number")?,
        "ISSUING__LAYOUT" => config.issuing.layout = parse_layout(value)?,
        "ISSUING__PREFIXES__LONG_TERM" => config.issuing.prefixes.long_term = parse_prefix(value)?,
        "ISSUING__PREFIXES__TEMPORARY" => config.issuing.prefixes.temporary = parse_prefix(value)?,
        "VERIFY__SERVICES" => config.verify.services = value.parse()?,
        "VERIFY__REGIONS" => config.verify.regions = value.parse()?,
        "VERIFY__UNKNOWN_KEYS" => config.verify.unknown_keys = value.parse()?,
        "VERIFY__SIGNATURE_V2" => config.verify.signature_v2 = value.parse()?,
        "VERIFY__S3_HOSTS" => {
            config.verify.s3_hosts = value.split(',').map(|host| parse_host(host.trim())).collect::<Result<_, _>>()?;
        }
        "LIMITS__CONNECTIONS" => config.limits.connections = parsed(value, "a number")?,
        "LIMITS__HEAD_TIMEOUT_MS" => config.limits.head_timeout_ms = parsed(value, "milliseconds")?,
        "LIMITS__BODY_TIMEOUT_MS" => config.limits.body_timeout_ms = parsed(value, "milliseconds")?,
        "LIMITS__DRAIN_MS" => config.limits.drain_ms = parsed(value, "milliseconds")?,
        "AUDIT__SINK" => config.audit.sink = Some(word(value)?),
        "AUDIT__FILE" => config.audit.file = Some(value.into()),
        "AUDIT__SYSLOG_SOCKET" => config.audit.syslog_socket = Some(value.into()),
        "AUDIT__DERIVATIONS" => config.audit.derivations = parsed(value, "a number")?,
        "AUDIT__CHECKPOINT_EVERY" => config.audit.checkpoint_every = parsed(value, "a number")?,
        "AUDIT__CHECKPOINT_S" => config.audit.checkpoint_s = parsed(value, "seconds")?,
        "LOG__LEVEL" => config.log.level = word(value)?,
        "LOG__FORMAT" => config.log.format = word(value)?,
        _ => return Err(unknown(path)),
    }
    Ok(())
}

fn unknown(path: &str) -> String {
    let section = path.split("__").next().unwrap_or(path);
    match section {
        "TOKEN" | "CALLER" | "ISSUER" => {
            let table = section.to_ascii_lowercase();
            format!("[[{table}]] can stand several times, so the environment cannot set it: write it in the file")
        }
        _ => "there is no such setting (names are made as in REDERIVE_API__LISTEN for `listen` in [api])".into(),
    }
}

fn parsed<T: FromStr<Err: Display>>(value: &str, wanted: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{value}` is not {wanted}"))
}

fn address(value: &str) -> Result<std::net::SocketAddr, String> {
    parsed(value, "an IP address with a port, such as 127.0.0.1:9180 or [::1]:9180")
}

/// A word that the file takes as well.
fn word<T: for<'de> Deserialize<'de>>(value: &str) -> Result<T, String> {
    let value: StrDeserializer<'_, serde::de::value::Error> = value.into_deserializer();
    T::deserialize(value).map_err(|error| error.to_string())
}
