//! Managed policies: those of AWS that are about IAM, and one for users who look after their own keys.

use std::sync::LazyLock;

use super::Policy;

/// A managed policy. Nobody can change one.
pub struct Managed {
    /// `AdministratorAccess`.
    pub name: &'static str,
    /// Its unique id.
    pub id: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its document.
    pub document: &'static str,
    /// The document, read.
    pub policy: LazyLock<Policy>,
}

macro_rules! managed {
    ($name:literal, $id:literal, $description:literal) => {
        Managed {
            name: $name,
            id: $id,
            description: $description,
            document: include_str!(concat!("managed/", $name, ".json")),
            policy: LazyLock::new(|| {
                let document = include_str!(concat!("managed/", $name, ".json"));
                Policy::parse(document).expect("a test reads every managed policy")
            }),
        }
    };
}

/// All of them, by name.
pub static MANAGED: [Managed; 4] = [
    managed!("AdministratorAccess", "ANPAREDERIVEADMINIST2", "Provides full access to all actions and resources."),
    managed!("IAMFullAccess", "ANPAREDERIVEIAMFULL22", "Provides full access to IAM."),
    managed!("IAMReadOnlyAccess", "ANPAREDERIVEIAMREAD22", "Provides read only access to IAM."),
    managed!(
        "IAMSelfManageAccessKeys",
        "ANPAREDERIVESELFMAN22",
        "Lets a user look at itself and manage its own access keys. (AWS has no such managed policy.)"
    ),
];

/// How the ARN of every managed policy begins.
const ARN: &str = "arn:aws:iam::aws:policy/";

impl Managed {
    /// The policy with that ARN.
    pub fn by_arn(arn: &str) -> Option<&'static Self> {
        let name = arn.strip_prefix(ARN)?;
        MANAGED.iter().find(|managed| managed.name == name)
    }

    /// `arn:aws:iam::aws:policy/NAME`.
    pub fn arn(&self) -> String {
        format!("{ARN}{}", self.name)
    }
}
