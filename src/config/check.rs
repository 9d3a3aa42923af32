//! What must hold between settings before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Anyone, AuditSink, Caller, Config, ConfigError, Issuer, Limits, Names, Role, Token, UnknownKeys, Verify};
use crate::registry::Location;

pub(super) type Outcome = Result<(), ConfigError>;

/// Every check, in the order of the file.
pub(super) fn check(config: &Config) -> Outcome {
    ensure(!config.state_dir.as_os_str().is_empty(), "state_dir", || {
        "missing: name the directory for the registry (or set REDERIVE_STATE_DIR)".into()
    })?;
    registry(config)?;
    api(config)?;
    operator(config)?;
    rpc(config)?;
    tokens(config)?;
    hsm(config)?;
    let prefixes = &config.issuing.prefixes;
    ensure(prefixes.long_term != prefixes.temporary, "[issuing] prefixes", || {
        "long_term and temporary are the same: they must differ, for the prefix tells the two kinds of key apart".into()
    })?;
    signature_v2(&config.verify)?;
    callers(config)?;
    role(config)?;
    audit(config)?;
    limits(&config.limits)
}

/// It takes an operator who has looked at each service.
fn signature_v2(verify: &Verify) -> Outcome {
    let at = "[verify] signature_v2";
    let Names::Only(services) = &verify.signature_v2 else {
        return ensure(false, at, || "name each service that has to take it: \"*\" will not do".into());
    };
    services.iter().try_for_each(|service| {
        ensure(!matches!(&**service, "iam" | "sts"), at, || {
            format!("`{service}` manages keys, and takes Signature V4 alone")
        })?;
        ensure(verify.services.contains(service), at, || format!("`{service}` is not among the services"))
    })
}

pub(super) fn ensure(holds: bool, at: impl Into<String>, problem: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(ConfigError::Check { at: at.into(), problem: problem() }) }
}

fn audit(config: &Config) -> Outcome {
    let (audit, sink) = (&config.audit, config.audit.sink_of(config.role));
    ensure(audit.file.is_none() || sink == AuditSink::File, "[audit] file", || {
        "is for sink = \"file\": take it out, or choose that sink".into()
    })?;
    ensure(audit.syslog_socket.is_none() || sink == AuditSink::Syslog, "[audit] syslog_socket", || {
        "is for sink = \"syslog\": take it out, or choose that sink".into()
    })?;
    ensure(audit.checkpoint_every > 0 && audit.checkpoint_s > 0, "[audit] checkpoint_every, checkpoint_s", || {
        "0 would write nothing but checkpoints: take 1 or more".into()
    })
}

fn registry(config: &Config) -> Outcome {
    let registry = &config.registry;
    let Some(Location::Postgres(database)) = &registry.url else {
        return ensure(registry.password_file.is_none(), "[registry] password_file", || {
            "is for url = \"postgres://…\": SQLite has no passwords".into()
        });
    };
    ensure(config.role != Role::Verifier, "[registry] url", || {
        "is for issuers: a verifier has no registry, but an [[issuer]] to follow".into()
    })?;
    let checked = if registry.allow_plaintext { Ok(()) } else { database.clone().require_tls().map(drop) };
    checked.map_err(|bad| ConfigError::Check { at: "[registry] url".into(), problem: bad.to_string() })
}

fn api(config: &Config) -> Outcome {
    let api = &config.api;
    certificate_and_key("[api]", &api.tls_cert, &api.tls_key)?;
    plaintext("[api]", api.listen, api.tls_cert.is_some(), api.allow_plaintext)
}

fn operator(config: &Config) -> Outcome {
    let operator = &config.operator;
    ensure(operator.socket.is_some() != operator.users.is_empty(), "[operator] socket, users", || {
        "only one of them is set: a socket answers the users that are named, and nobody else".into()
    })?;
    ensure(operator.socket.is_none() || config.role != Role::Verifier, "[operator] socket", || {
        "is for issuers: a verifier has no registry".into()
    })
}

fn rpc(config: &Config) -> Outcome {
    let rpc = &config.rpc;
    certificate_and_key("[rpc]", &rpc.tls_cert, &rpc.tls_key)?;
    plaintext("[rpc]", rpc.listen, rpc.tls_cert.is_some(), rpc.allow_plaintext)?;
    ensure(rpc.client_ca.is_none() || rpc.tls_cert.is_some(), "[rpc] client_ca", || {
        "client certificates need TLS: set tls_cert and tls_key as well".into()
    })?;
    ensure(rpc.anyone == Anyone::default() || config.caller.is_empty(), "[rpc] anyone", || {
        "there are callers, so that nobody else may ask: grant it to a [[caller]]".into()
    })?;
    ensure(is_loopback(rpc.listen) || !config.caller.is_empty(), "[rpc] listen", || {
        format!(
            "{} can be reached from other machines, and no [[caller]] says who may ask: add one for each service, \
             or listen on 127.0.0.1",
            rpc.listen
        )
    })
}

fn certificate_and_key(section: &str, cert: &Option<PathBuf>, key: &Option<PathBuf>) -> Outcome {
    ensure(cert.is_some() == key.is_some(), format!("{section} tls_cert, tls_key"), || {
        "only one of them is set: TLS needs both".into()
    })
}

fn plaintext(section: &str, listen: SocketAddr, tls: bool, allowed: bool) -> Outcome {
    ensure(tls || allowed || is_loopback(listen), format!("{section} listen"), || {
        format!(
            "{listen} can be reached from other machines, and without TLS: set tls_cert and tls_key, listen on \
             127.0.0.1, or say allow_plaintext = true if something in front of it does TLS"
        )
    })
}

fn is_loopback(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}

fn hsm(config: &Config) -> Outcome {
    let hsm = &config.hsm;
    ensure((1..=60_000).contains(&config.hsm_deadline_ms()), "[hsm] deadline_ms", || {
        "takes 1 to 60000 milliseconds".into()
    })?;
    ensure((1..=1_000_000).contains(&hsm.queue), "[hsm] queue", || "takes 1 to 1000000".into())?;
    ensure(hsm.per_account > 0, "[hsm] per_account", || "takes 1 and more".into())?;
    ensure(hsm.per_caller > 0, "[hsm] per_caller", || "takes 1 and more".into())?;
    ensure((1..=config.token.len().max(1)).contains(&hsm.min_replicas), "[hsm] min_replicas", || {
        format!("takes 1 to the number of tokens, which is {}", config.token.len())
    })
}

fn tokens(config: &Config) -> Outcome {
    let tokens = &config.token;
    ensure(!tokens.is_empty(), "[[token]]", || "missing: name the PKCS#11 token that holds the master keys".into())?;
    unique("[[token]]", tokens.iter().map(|token| &token.name))?;
    tokens.iter().try_for_each(|one| token(one, config))
}

fn token(token: &Token, config: &Config) -> Outcome {
    let at = |key: &str| format!("[[token]] {} {key}", token.name);
    exactly_one(
        at("module, socket"),
        token.module.is_some(),
        token.socket.is_some(),
        "it is how the token is reached",
    )?;
    match token.socket {
        None => of_module(token, "[[token]]")?,
        Some(_) => of_socket(token)?,
    }
    ensure((1..=64).contains(&token.workers), at("workers"), || "takes 1 to 64".into())?;
    ensure((1..=1000).contains(&token.weight), at("weight"), || "takes 1 to 1000".into())?;
    let deadline = config.token_deadline_ms(token);
    ensure((1..=60_000).contains(&deadline), at("deadline_ms"), || "takes 1 to 60000 milliseconds".into())?;
    ensure(deadline <= config.hsm_deadline_ms(), at("deadline_ms"), || {
        format!(
            "{deadline} is longer than a caller waits, which is {}: set deadline_ms in [hsm] as well",
            config.hsm_deadline_ms()
        )
    })
}

/// A token whose module we load, in a table of that name.
pub(super) fn of_module(token: &Token, table: &str) -> Outcome {
    let at = |key: &str| format!("{table} {} {key}", token.name);
    ensure(!token.shared, at("shared"), || {
        "is for tokens with a socket: a worker that we start has nobody else".into()
    })?;
    exactly_one(at("label, serial"), token.label.is_some(), token.serial.is_some(), "it is how the token is found")?;
    ensure(token.pin_sources().len() == 1, at("pin_file, pin_env, pin_credential, pin_prompt"), || {
        "one of them is needed, and only one may be set: the PIN comes from there".into()
    })?;
    ensure(token.pin_credential.as_ref().is_none_or(|name| is_file_name(name)), at("pin_credential"), || {
        "is the name that LoadCredential= gives it, without a path".into()
    })?;
    ensure((1..=64).contains(&token.sessions), at("sessions"), || "takes 1 to 64".into())?;
    of_generations(at("replicas"), &token.replicas)?;
    of_generations(at("session_copies"), &token.session_copies)
}

fn of_generations<'a>(at: String, numbers: impl IntoIterator<Item = &'a u8>) -> Outcome {
    let are_all = numbers.into_iter().all(|generation| *generation < 128);
    ensure(are_all, at, || "takes generations, which go from 0 to 127".into())
}

/// A token whose worker is one of its own: all that is said here about the token would be nobody's.
fn of_socket(token: &Token) -> Outcome {
    let strange = [
        ("label", token.label.is_some()),
        ("serial", token.serial.is_some()),
        ("pin_file", token.pin_file.is_some()),
        ("pin_env", token.pin_env.is_some()),
        ("pin_credential", token.pin_credential.is_some()),
        ("pin_prompt", token.pin_prompt),
        ("sessions", token.sessions != 1),
        ("replicas", !token.replicas.is_empty()),
        ("session_copies", !token.session_copies.is_empty()),
        ("cannot_tell", !token.cannot_tell.is_empty()),
        ("environment", !token.environment.is_empty()),
    ];
    strange.into_iter().try_for_each(|(key, is_set)| {
        ensure(!is_set, format!("[[token]] {} {key}", token.name), || {
            "stands in the configuration of the worker behind the socket, and not here".into()
        })
    })
}

fn callers(config: &Config) -> Outcome {
    unique("[[caller]]", config.caller.iter().map(|caller| &caller.name))?;
    unique("[[caller]] mtls_san", config.caller.iter().filter_map(|caller| caller.mtls_san.as_ref()))?;
    config.caller.iter().try_for_each(|one| caller(one, config))
}

fn caller(caller: &Caller, config: &Config) -> Outcome {
    let at = |key: &str| format!("[[caller]] {} {key}", caller.name);
    let by_certificate = caller.mtls_san.is_some();
    exactly_one(
        at("mtls_san, token_file"),
        by_certificate,
        caller.token_file.is_some(),
        "it is how the caller is known",
    )?;
    ensure(!by_certificate || config.rpc.client_ca.is_some(), at("mtls_san"), || {
        "client certificates are not asked for: set client_ca in [rpc]".into()
    })?;
    ensure(caller.hsm_per_second != Some(0), at("hsm_per_second"), || "takes 1 and more".into())?;
    ensure(!caller.services.is_empty(), at("services"), || "missing: list what it may ask for, or [\"*\"]".into())?;
    ensure(!caller.regions.is_empty(), at("regions"), || "missing: list what it may ask for, or [\"*\"]".into())
}

fn role(config: &Config) -> Outcome {
    let accepts = config.verify.unknown_keys == UnknownKeys::Accept;
    ensure((1..=3600).contains(&config.feed.max_staleness_s), "[feed] max_staleness_s", || "takes 1 to 3600".into())?;
    if config.role != Role::Verifier {
        ensure(!accepts, "[verify] unknown_keys", || {
            "\"accept\" is for role = \"verifier\": a node with a registry looks every key up".into()
        })?;
        return ensure(config.issuer.is_empty(), "[[issuer]]", || "is for role = \"verifier\"".into());
    }
    ensure(accepts, "[verify] unknown_keys", || {
        "a verifier has no registry to look keys up in: say unknown_keys = \"accept\", and see docs/operations.md for what \
         that means"
            .into()
    })?;
    ensure(!config.feed.public_keys.is_empty(), "[feed] public_keys", || {
        "missing: name the control keys of the issuers, as 'rederive feed key' prints them there".into()
    })?;
    ensure(!config.issuer.is_empty(), "[[issuer]]", || "missing: name an issuer whose deny feed is followed".into())?;
    config.issuer.iter().try_for_each(issuer)
}

fn issuer(issuer: &Issuer) -> Outcome {
    let at = |key: &str| format!("[[issuer]] {} {key}", issuer.url);
    let url: http::Uri = issuer.url.parse().map_err(|_| ConfigError::Check {
        at: at("url"),
        problem: "is no URL such as https://issuer.internal:9181".into(),
    })?;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_tls = url.scheme_str() == Some("https");
    ensure(is_tls || (url.scheme_str() == Some("http") && is_local), at("url"), || {
        "takes https://, or http:// on this machine".into()
    })?;
    ensure(!is_tls || issuer.ca.is_some(), at("ca"), || "missing: the authorities that sign its certificate".into())?;
    certificate_and_key(&format!("[[issuer]] {}", issuer.url), &issuer.tls_cert, &issuer.tls_key)
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !matches!(name, "." | "..")
}

fn exactly_one(at: String, one: bool, other: bool, why: &str) -> Outcome {
    ensure(one || other, &at, || format!("one of the two is needed, for {why}"))?;
    ensure(!(one && other), at, || "only one of the two may be set".into())
}

fn unique<'a>(at: &str, names: impl Iterator<Item = &'a String>) -> Outcome {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        ensure(!name.is_empty(), at, || "an empty name".into())?;
        ensure(seen.insert(name), at, || format!("`{name}` stands twice"))?;
    }
    Ok(())
}

fn limits(limits: &Limits) -> Outcome {
    let milliseconds = [
        ("head_timeout_ms", limits.head_timeout_ms),
        ("body_timeout_ms", limits.body_timeout_ms),
        ("drain_ms", limits.drain_ms),
    ];
    for (key, value) in milliseconds {
        ensure((1..=600_000).contains(&value), format!("[limits] {key}"), || "takes 1 to 600000 milliseconds".into())?;
    }
    ensure((1..=1_000_000).contains(&limits.connections), "[limits] connections", || "takes 1 to 1000000".into())
}
