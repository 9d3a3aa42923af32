//! Whether a form is what its policy demands: every condition is met, and nothing stands in the form without one.

use super::super::refusal::{FormFault, shown};
use super::SignedForm;
use super::policy::Condition;

/// So many uncovered fields are named to the client.
const MOST_NAMED: usize = 10;

/// Gives the bounds on the file's size, if there are any and the size is not known yet.
pub(super) fn check(form: &SignedForm<'_>) -> Result<Option<(u64, u64)>, FormFault> {
    form.policy.conditions.iter().try_for_each(|condition| check_one(form, condition))?;
    let uncovered: Vec<_> = uncovered(form).take(MOST_NAMED).map(|name| shown(name.as_bytes())).collect();
    if !uncovered.is_empty() {
        return Err(FormFault::ExtraFields(uncovered));
    }
    check_size(form)
}

fn check_one(form: &SignedForm<'_>, condition: &Condition) -> Result<(), FormFault> {
    let (is_met, operator, field, operand) = match condition {
        Condition::Equals { field, value } => (value_of(form, field) == Some(value), "eq", field, value),
        Condition::StartsWith { field, prefix } => {
            let is_met = value_of(form, field).is_some_and(|value| starts_with(field, value, prefix));
            (is_met, "starts-with", field, prefix)
        }
        Condition::ContentLength { .. } => return Ok(()),
    };
    match is_met {
        true => Ok(()),
        false => {
            let [field, operand] = [field, operand].map(|text| shown(text.as_bytes()));
            Err(FormFault::ConditionFailed(format!("[\"{operator}\", \"${field}\", \"{operand}\"]")))
        }
    }
}

/// The value that counts: for the bucket where the file really goes, never what the form says of it.
fn value_of<'f>(form: &'f SignedForm<'_>, field: &str) -> Option<&'f str> {
    match field {
        "bucket" => Some(&form.bucket),
        "key" => Some(&form.key),
        _ => form.fields.get(field),
    }
}

/// Commas in a Content-Type make a list, each of which must begin so.
fn starts_with(field: &str, value: &str, prefix: &str) -> bool {
    match field {
        "content-type" => value.split(',').all(|item| item.trim_start().starts_with(prefix)),
        _ => value.starts_with(prefix),
    }
}

/// Fields that no condition names; `bucket`, whether it is a field or not.
fn uncovered<'f>(form: &'f SignedForm<'_>) -> impl Iterator<Item = &'f str> {
    let is_covered = |name: &str| {
        form.policy.conditions.iter().any(|condition| match condition {
            Condition::Equals { field, .. } | Condition::StartsWith { field, .. } => field.eq_ignore_ascii_case(name),
            Condition::ContentLength { .. } => false,
        })
    };
    let differs = form.fields.get("bucket").is_some_and(|bucket| bucket != form.bucket);
    let bucket = (differs || !is_covered("bucket")).then_some("bucket");
    let fields = form.fields.names().filter(move |name| !name.eq_ignore_ascii_case("bucket") && !is_exempt(name));
    bucket.into_iter().chain(fields.filter(move |name| !is_covered(name)))
}

/// Fields that need no condition: the policy itself, what signs it, and those that S3 ignores.
fn is_exempt(name: &str) -> bool {
    const IGNORED: &str = "x-ignore-";
    let is_ignored = || name.get(..IGNORED.len()).is_some_and(|start| start.eq_ignore_ascii_case(IGNORED));
    // The last two are of Signature V2: in a form of Signature V4 they are refused before this.
    const EXEMPT: [&str; 4] = ["policy", "x-amz-signature", "AWSAccessKeyId", "signature"];
    EXEMPT.iter().any(|exempt| name.eq_ignore_ascii_case(exempt)) || is_ignored()
}

fn check_size(form: &SignedForm<'_>) -> Result<Option<(u64, u64)>, FormFault> {
    let ranges = form.policy.conditions.iter().filter_map(|condition| match condition {
        Condition::ContentLength { least, most } => Some((*least, *most)),
        Condition::Equals { .. } | Condition::StartsWith { .. } => None,
    });
    let Some((least, most)) = ranges.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1))) else { return Ok(None) };
    match form.file.size {
        _ if least > most => Err(FormFault::Policy(format!("no file has from {least} to {most} bytes"))),
        None => Ok(Some((least, most))),
        Some(size) if size < least => Err(FormFault::FileTooSmall { size, least }),
        Some(size) if size > most => Err(FormFault::FileTooLarge { size, most }),
        Some(_) => Ok(None),
    }
}
