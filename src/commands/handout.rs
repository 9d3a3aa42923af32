//! How a new key is handed to whoever asked for it: in one of the forms that programs read.

use clap::ValueEnum;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::secret::SecretAccessKey;
use zeroize::Zeroizing;

/// A form.
#[derive(Clone, Copy, ValueEnum)]
pub enum Form {
    /// Lines for people
    Text,
    /// What `aws configure import --csv` takes
    Csv,
    /// Variables for a shell
    Env,
    /// A profile for ~/.aws/credentials
    Profile,
    /// A Secret of Kubernetes
    Kubernetes,
}

/// The key of a user in a form. Neither ids nor base64 hold a character that any of them escapes.
pub fn write(form: Form, user: &str, id: &AccessKeyId, secret: &SecretAccessKey) -> Zeroizing<String> {
    let (id, secret) = (id.as_str(), secret.expose());
    Zeroizing::new(match form {
        Form::Text => format!("user               {user}\naccess key id      {id}\nsecret access key  {secret}\n"),
        Form::Csv => {
            // A name may hold a comma.
            format!("User Name,Access key ID,Secret access key\n\"{user}\",{id},{secret}\n")
        }
        Form::Env => format!("export AWS_ACCESS_KEY_ID={id}\nexport AWS_SECRET_ACCESS_KEY={secret}\n"),
        Form::Profile => format!("[{user}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"),
        Form::Kubernetes => format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\ntype: Opaque\nstringData:\n  \
             AWS_ACCESS_KEY_ID: \"{id}\"\n  AWS_SECRET_ACCESS_KEY: \"{secret}\"\n",
            object_name(user)
        ),
    })
}

/// A name as RFC 1123 has labels: small letters, digits, hyphens within.
fn object_name(user: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = user.chars().map(plain).take(50).collect();
    format!("aws-key-{name}").trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (user, name) in [("alice", "aws-key-alice"), ("A.b@c_", "aws-key-a-b-c"), ("--", "aws-key")] {
            assert_eq!(object_name(user), name);
        }
    }
}
