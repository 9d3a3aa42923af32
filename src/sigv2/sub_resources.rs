//! The parameters that are part of the resource that is signed.

/// Parameters that choose what is done, or to which version or part.
///
/// A name that is missing here would let a signature be used for something else: a signed GET of an object with an
/// unsigned `?acl` added. So the list holds every such name of S3, also those that no V2 client knows.
const SUB_RESOURCES: [&str; 42] = [
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Parameters that change headers of the answer.
const RESPONSE: &str = "response-";

/// Whether a parameter is signed with the resource.
pub(super) fn is_sub_resource(name: &[u8]) -> bool {
    name.starts_with(RESPONSE.as_bytes()) || SUB_RESOURCES.iter().any(|known| known.as_bytes() == name)
}
