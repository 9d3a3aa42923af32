//! Faults of forms with a POST policy, as S3 words them.

use super::super::form::MAX_FORM_FIELDS;
use super::super::refusal::FormFault;
use super::Outside;

pub(super) fn outside(fault: &FormFault) -> Outside {
    match fault {
        FormFault::NotMultipart => Outside::new(
            "RequestIsNotMultiPartContent",
            412,
            "A bucket POST request must be of the enclosure-type multipart/form-data.",
        ),
        FormFault::NotToABucket => Outside::new(
            "MethodNotAllowed",
            405,
            "The specified method is not allowed against this resource: a form is posted to a bucket.",
        ),
        FormFault::Query => invalid_policy("the request has a query, which the signature of a form does not cover."),
        FormFault::Malformed(why) => Outside::new(
            "MalformedPOSTRequest",
            400,
            format!("The body of your POST request is not well-formed multipart/form-data: {why}."),
        ),
        FormFault::FieldsTooLong => Outside::new(
            "MaxPostPreDataLengthExceededError",
            400,
            "Your POST request fields preceding the upload file were too large.",
        )
        .with("MaxPostPreDataLengthBytes", MAX_FORM_FIELDS.to_string()),
        FormFault::NotOneFile => Outside::new(
            "IncorrectNumberOfFilesInPostRequest",
            400,
            "POST requires exactly one file upload per request.",
        ),
        FormFault::RepeatedField(name) => invalid(name, format!("The form field '{name}' may be given only once.")),
        FormFault::MissingField(name) => missing_field(name),
        FormFault::NoFileName => invalid("key", "The key names ${filename}, and the file has no name."),
        FormFault::KeyTooLong { length, limit } => Outside::new("KeyTooLongError", 400, "Your key is too long")
            .with("Size", length.to_string())
            .with("MaxSizeAllowed", limit.to_string()),
        FormFault::Policy(why) => Outside::new("InvalidPolicyDocument", 400, format!("Invalid Policy: {why}.")),
        FormFault::Expired => invalid_policy("Policy expired."),
        FormFault::ConditionFailed(condition) => invalid_policy(format!("Policy Condition failed: {condition}")),
        FormFault::ExtraFields(names) => invalid_policy(format!("Extra input fields: {}", names.join(", "))),
        FormFault::FileTooSmall { size, least } => {
            Outside::new("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size")
                .with("ProposedSize", size.to_string())
                .with("MinSizeAllowed", least.to_string())
        }
        FormFault::FileTooLarge { size, most } => {
            Outside::new("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size")
                .with("ProposedSize", size.to_string())
                .with("MaxSizeAllowed", most.to_string())
        }
    }
}

pub(super) fn missing_field(name: &str) -> Outside {
    invalid(
        name,
        format!(
            "Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields."
        ),
    )
}

fn invalid(field: &str, message: impl Into<String>) -> Outside {
    Outside::new("InvalidArgument", 400, message).with("ArgumentName", field)
}

fn invalid_policy(why: impl std::fmt::Display) -> Outside {
    Outside::new("AccessDenied", 403, format!("Invalid according to Policy: {why}"))
}
