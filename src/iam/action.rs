//! The actions of both services.

use super::error::{ApiError, excerpt};
use super::parameters::Parameters;

/// A service, as the credential scope of a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Identity and Access Management.
    Iam,
    /// Security Token Service.
    Sts,
}

/// An action of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    CreateUser,
    GetUser,
    ListUsers,
    DeleteUser,
    CreateAccessKey,
    ListAccessKeys,
    UpdateAccessKey,
    DeleteAccessKey,
    GetAccessKeyLastUsed,
    AttachUserPolicy,
    DetachUserPolicy,
    ListAttachedUserPolicies,
    PutUserPolicy,
    GetUserPolicy,
    DeleteUserPolicy,
    ListUserPolicies,
    ListPolicies,
    GetPolicy,
    GetPolicyVersion,
    UpdateUser,
    TagUser,
    UntagUser,
    ListUserTags,
    GetAccountSummary,
    GenerateCredentialReport,
    GetCredentialReport,
    GetCallerIdentity,
    GetAccessKeyInfo,
}

const ACTIONS: [(Service, &str, Action); 28] = [
    (Service::Iam, "CreateUser", Action::CreateUser),
    (Service::Iam, "GetUser", Action::GetUser),
    (Service::Iam, "ListUsers", Action::ListUsers),
    (Service::Iam, "DeleteUser", Action::DeleteUser),
    (Service::Iam, "CreateAccessKey", Action::CreateAccessKey),
    (Service::Iam, "ListAccessKeys", Action::ListAccessKeys),
    (Service::Iam, "UpdateAccessKey", Action::UpdateAccessKey),
    (Service::Iam, "DeleteAccessKey", Action::DeleteAccessKey),
    (Service::Iam, "GetAccessKeyLastUsed", Action::GetAccessKeyLastUsed),
    (Service::Iam, "AttachUserPolicy", Action::AttachUserPolicy),
    (Service::Iam, "DetachUserPolicy", Action::DetachUserPolicy),
    (Service::Iam, "ListAttachedUserPolicies", Action::ListAttachedUserPolicies),
    (Service::Iam, "PutUserPolicy", Action::PutUserPolicy),
    (Service::Iam, "GetUserPolicy", Action::GetUserPolicy),
    (Service::Iam, "DeleteUserPolicy", Action::DeleteUserPolicy),
    (Service::Iam, "ListUserPolicies", Action::ListUserPolicies),
    (Service::Iam, "ListPolicies", Action::ListPolicies),
    (Service::Iam, "GetPolicy", Action::GetPolicy),
    (Service::Iam, "GetPolicyVersion", Action::GetPolicyVersion),
    (Service::Iam, "UpdateUser", Action::UpdateUser),
    (Service::Iam, "TagUser", Action::TagUser),
    (Service::Iam, "UntagUser", Action::UntagUser),
    (Service::Iam, "ListUserTags", Action::ListUserTags),
    (Service::Iam, "GetAccountSummary", Action::GetAccountSummary),
    (Service::Iam, "GenerateCredentialReport", Action::GenerateCredentialReport),
    (Service::Iam, "GetCredentialReport", Action::GetCredentialReport),
    (Service::Sts, "GetCallerIdentity", Action::GetCallerIdentity),
    (Service::Sts, "GetAccessKeyInfo", Action::GetAccessKeyInfo),
];

impl Service {
    /// Reads the signing name: `iam` or `sts`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Iam, Self::Sts].into_iter().find(|service| service.name() == name)
    }

    /// The signing name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::Sts => "sts",
        }
    }

    /// The only version of the API there is.
    pub fn version(self) -> &'static str {
        match self {
            Self::Iam => "2010-05-08",
            Self::Sts => "2011-06-15",
        }
    }

    /// The XML namespace of answers.
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Iam => "https://iam.amazonaws.com/doc/2010-05-08/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        }
    }
}

impl Action {
    /// The action that the parameters ask of a service, by name and version.
    pub fn of(service: Service, parameters: &Parameters) -> Result<Self, ApiError> {
        let name = parameters.get("Action").ok_or_else(|| {
            ApiError::sender(400, "MissingAction", "The request must contain the parameter Action".into())
        })?;
        let version = parameters.get("Version").unwrap_or("NO_VERSION_SPECIFIED");
        let known = ACTIONS.iter().find(|(of, known, _)| *of == service && *known == name);
        known.filter(|_| version == service.version()).map(|(_, _, action)| *action).ok_or_else(|| {
            let (name, version) = (excerpt(name), excerpt(version));
            let text = format!("Could not find operation {name} for version {version}");
            ApiError::sender(400, "InvalidAction", text)
        })
    }

    /// Whether it changes anything.
    pub fn changes(self) -> bool {
        match self {
            Self::CreateUser
            | Self::DeleteUser
            | Self::CreateAccessKey
            | Self::UpdateAccessKey
            | Self::DeleteAccessKey
            | Self::AttachUserPolicy
            | Self::DetachUserPolicy
            | Self::PutUserPolicy
            | Self::DeleteUserPolicy
            | Self::UpdateUser
            | Self::TagUser
            | Self::UntagUser => true,
            Self::GetUser
            | Self::ListUsers
            | Self::ListAttachedUserPolicies
            | Self::GetUserPolicy
            | Self::ListUserPolicies
            | Self::ListPolicies
            | Self::GetPolicy
            | Self::GetPolicyVersion
            | Self::ListUserTags
            | Self::GetAccountSummary
            | Self::GenerateCredentialReport
            | Self::GetCredentialReport
            | Self::ListAccessKeys
            | Self::GetAccessKeyLastUsed
            | Self::GetCallerIdentity
            | Self::GetAccessKeyInfo => false,
        }
    }

    /// Whether it takes rights away and gives none: it is done even while it cannot be recorded, for nothing may keep an owner from
    /// switching off a stolen key.
    pub fn only_takes_away(self, parameters: &Parameters) -> bool {
        match self {
            Self::DeleteUser | Self::DeleteAccessKey => true,
            Self::UpdateAccessKey => parameters.get("Status") == Some("Inactive"),
            _ => false,
        }
    }

    /// Whether its answer holds a secret.
    pub fn gives_secret(self) -> bool {
        self == Self::CreateAccessKey
    }

    /// The name in requests and answers.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The name in policies: `iam:CreateUser`.
    pub fn permission(self) -> String {
        let (service, name, _) = self.row();
        format!("{}:{name}", service.name())
    }

    /// The service it belongs to.
    pub fn service(self) -> Service {
        self.row().0
    }

    fn row(self) -> &'static (Service, &'static str, Self) {
        ACTIONS.iter().find(|(_, _, action)| *action == self).expect("every action has a row")
    }
}
