//! A key ceremony: a master that two tokens hold, of which a third party can be shown how it came there.
//!
//! What is done on the tokens is `rederive_hsm`'s, each step in a process of its own; here is their order, what is undone when one
//! of them fails, and the transcript. It holds no secret: the wrapped master is not in it, though only one token could open it.

use rederive_hsm::config::PinSource;
use rederive_hsm::pkcs11::ceremony::{Attempt, Done, Master, Step, TokenDescription, WrappingKey};
use rederive_hsm::worker::{AdminAnswer, AdminRequest};
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::Token;
use crate::site::{Failure, Site};

/// What is to be done, in the order of its steps. For people, before they begin.
pub const PLAN: [&str; 7] = [
    "the receiving token makes an RSA key pair; its private half never leaves it",
    "the security officer of the origin lets the public half wrap keys, which nobody else can",
    "the origin makes the master of a new generation, and wraps it under that half (RSA-OAEP)",
    "the receiving token unwraps it, compares the check value, and seals it: a copy that cannot be modified, the original destroyed",
    "the origin seals its own in the same way; from here on it can be let out no more",
    "on both tokens everything is tried that somebody with the PIN could: each attempt must be refused",
    "the wrapping keys are destroyed",
];

/// Who takes part.
pub struct Ceremony<'s> {
    /// The node, for its workers and their environment.
    pub site: &'s Site,
    /// Where the master is made.
    pub origin: &'s Token,
    /// Where it goes.
    pub receiver: &'s Token,
    /// Where the PIN of the origin's security officer comes from.
    pub officer: PinSource,
    /// Who looks on.
    pub witnesses: Vec<String>,
}

/// What happened, for those who were not there.
#[derive(Serialize)]
pub struct Transcript {
    /// The program that has written it.
    pub program: String,
    /// When it began (RFC 3339).
    pub began_at: String,
    /// When it ended.
    pub ended_at: String,
    /// Who has looked on, and signs the hash of this file.
    pub witnesses: Vec<String>,
    /// The generation of the master, 0 to 127.
    pub generation: u8,
    /// Its check value, 64 hexadecimal digits: `doctor` compares it on each token, ever after.
    pub check_value: String,
    /// SHA-256 of the modulus of the wrapping key.
    pub wrapping_key_sha256: String,
    /// Where the master was made.
    pub origin: Party,
    /// Where it went.
    pub receiver: Party,
    /// What was done, in its order.
    pub steps: Vec<StepDone>,
}

/// A token, and what was tried on it.
#[derive(Serialize)]
pub struct Party {
    /// Its name in the configuration.
    pub name: String,
    /// The PKCS#11 module.
    pub module: String,
    /// SHA-256 of the module's file; `None` where it could not be read.
    pub module_sha256: Option<String>,
    /// What it says of itself.
    pub token: TokenDescription,
    /// All of them refused.
    pub attempts: Vec<Attempt>,
}

/// A step, done.
#[derive(Serialize)]
pub struct StepDone {
    /// When (RFC 3339).
    pub at: String,
    /// On which token, by its name in the configuration.
    pub token: String,
    /// What.
    pub what: &'static str,
}

/// What has come of a ceremony so far.
struct Course<'t> {
    steps: Vec<StepDone>,
    tell: &'t mut dyn FnMut(&str),
    sent: Option<Master>,
}

impl Ceremony<'_> {
    /// Carries it out, for the first generation from `from` on that is free on the origin. `tell` is called after each step.
    ///
    /// # Errors
    /// What a token says when it refuses a step, or which attempt was not refused. What was made is destroyed before.
    pub fn carry_out(&self, from: u8, tell: &mut dyn FnMut(&str)) -> Result<Transcript, Failure> {
        let mut course = Course { steps: Vec::new(), tell, sent: None };
        self.take_steps(from, &mut course).map_err(|failure| self.undo(&course, failure))
    }

    fn take_steps(&self, from: u8, course: &mut Course<'_>) -> Result<Transcript, Failure> {
        let began_at = now();
        let (receiver, key) = self.receive(course)?;
        let trust = Step::Trust { officer: self.officer.clone(), key: key.clone() };
        self.take(course, self.origin, 1, trust)?;
        let (origin, master) = self.send(course, from)?;
        self.take(course, self.receiver, 3, Step::Accept(master.clone()))?;
        self.take(course, self.origin, 4, Step::Seal(master.clone()))?;
        let on_origin = self.attack(course, self.origin, master.generation)?;
        let on_receiver = self.attack(course, self.receiver, master.generation)?;
        self.take(course, self.origin, 6, Step::Clear)?;
        self.take(course, self.receiver, 6, Step::Clear)?;
        Ok(Transcript {
            program: format!("rederive {}", env!("CARGO_PKG_VERSION")),
            began_at,
            ended_at: now(),
            witnesses: self.witnesses.clone(),
            generation: master.generation,
            check_value: master.check_value,
            wrapping_key_sha256: sha256(&key.modulus),
            origin: party(self.origin, origin, on_origin),
            receiver: party(self.receiver, receiver, on_receiver),
            steps: std::mem::take(&mut course.steps),
        })
    }

    fn receive(&self, course: &mut Course<'_>) -> Result<(TokenDescription, WrappingKey), Failure> {
        match self.take(course, self.receiver, 0, Step::Receive)? {
            Done::Received { token, key } => Ok((token, key)),
            _ => Err(another_kind()),
        }
    }

    fn send(&self, course: &mut Course<'_>, from: u8) -> Result<(TokenDescription, Master), Failure> {
        match self.take(course, self.origin, 2, Step::Send { from })? {
            Done::Sent { token, master } => {
                course.sent = Some(master.clone());
                Ok((token, master))
            }
            _ => Err(another_kind()),
        }
    }

    fn attack(&self, course: &mut Course<'_>, token: &Token, generation: u8) -> Result<Vec<Attempt>, Failure> {
        let Done::Attacked { attempts } = self.take(course, token, 5, Step::Attack { generation })? else {
            return Err(another_kind());
        };
        match attempts.iter().find(|attempt| attempt.refused.is_none()) {
            None => Ok(attempts),
            Some(attempt) => Err(format!("token '{}' lets somebody with the PIN {}", token.name, attempt.what).into()),
        }
    }

    fn take(&self, course: &mut Course<'_>, token: &Token, number: usize, step: Step) -> Result<Done, Failure> {
        let done = self.ask(token, step)?;
        (course.tell)(&format!("{}. [{}] {}", number + 1, token.name, PLAN[number]));
        course.steps.push(StepDone { at: now(), token: token.name.clone(), what: PLAN[number] });
        Ok(done)
    }

    fn ask(&self, token: &Token, step: Step) -> Result<Done, Failure> {
        let request = AdminRequest::Ceremony { token: self.site.token_config(token)?, step };
        match self.site.administrate(token, &request)? {
            AdminAnswer::Ceremony { done } => Ok(done),
            _ => Err(another_kind()),
        }
    }

    /// Destroys what was made: nothing depends on it yet, and until it is sealed the security officer could let it out.
    fn undo(&self, course: &Course<'_>, failure: Failure) -> Failure {
        let generation = course.sent.as_ref().map(|master| master.generation);
        let left: Vec<String> = [self.origin, self.receiver]
            .into_iter()
            .filter_map(|token| Some((token, self.ask(token, Step::Abandon { generation }).err()?)))
            .map(|(token, why)| format!("; what was made on '{}' is still there ({why}): destroy it", token.name))
            .collect();
        let undone = if left.is_empty() { "; what was made is destroyed again" } else { "" };
        format!("the ceremony is broken off: {failure}{undone}{}", left.concat()).into()
    }
}

fn party(token: &Token, description: TokenDescription, attempts: Vec<Attempt>) -> Party {
    // A token without a module was refused at the first step.
    let module = token.module.clone().unwrap_or_default();
    Party {
        name: token.name.clone(),
        module: module.display().to_string(),
        module_sha256: std::fs::read(&module).ok().map(|bytes| sha256(&bytes)),
        token: description,
        attempts,
    }
}

fn another_kind() -> Failure {
    "the admin worker gave an answer of another kind".into()
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).expect("RFC 3339 has every time of the calendar")
}
