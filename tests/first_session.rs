//! A first session, with stock clients and nothing but what `rederive dev` prints.

mod common;

use common::Dev;

#[test]
fn the_aws_cli_from_first_user_to_deleted_key() {
    let dev = Dev::start();
    let root = &dev.ready.root;
    let identity = dev.aws_json(root, "sts get-caller-identity");
    assert_eq!(identity["Arn"], "arn:aws:iam::123456789012:root");
    assert_eq!(identity["Account"], dev.ready.account);

    let user = dev.aws_json(root, "iam create-user --user-name alice");
    assert_eq!(user["User"]["Arn"], "arn:aws:iam::123456789012:user/alice");
    assert!(user["User"]["UserId"].as_str().is_some_and(|id| id.starts_with("AIDA")));

    let alice = dev.key("alice");
    assert_eq!(alice.secret_access_key.len(), 40);
    let identity = dev.aws_json(&alice, "sts get-caller-identity");
    assert_eq!(identity["Arn"], "arn:aws:iam::123456789012:user/alice");
    assert_eq!(identity["UserId"], user["User"]["UserId"]);

    dev.aws_refused(&alice, "iam list-access-keys", "AccessDenied");
    let policy = "--user-name alice --policy-arn arn:aws:iam::aws:policy/IAMSelfManageAccessKeys";
    dev.aws_json(root, &format!("iam attach-user-policy {policy}"));
    let keys = dev.aws_json(&alice, "iam list-access-keys");
    assert_eq!(keys["AccessKeyMetadata"][0]["AccessKeyId"], alice.access_key_id);
    assert_eq!(keys["AccessKeyMetadata"][0]["Status"], "Active");
    let last_used = format!("iam get-access-key-last-used --access-key-id {}", alice.access_key_id);
    let used = dev.aws_json(&alice, &last_used);
    assert_eq!(used["AccessKeyLastUsed"]["ServiceName"], "iam");
    assert_eq!(used["AccessKeyLastUsed"]["Region"], dev.ready.region);
    let info = format!("sts get-access-key-info --access-key-id {}", alice.access_key_id);
    assert_eq!(dev.aws_json(&alice, &info)["Account"], dev.ready.account);

    let second = dev.key("alice");
    dev.aws_refused(root, "iam create-access-key --user-name alice", "LimitExceeded");

    let update = format!("iam update-access-key --user-name alice --access-key-id {} --status", alice.access_key_id);
    dev.aws_json(root, &format!("{update} Inactive"));
    dev.aws_refused(&alice, "sts get-caller-identity", "InvalidClientTokenId");
    dev.aws_refused(root, "iam create-access-key --user-name alice", "LimitExceeded");
    dev.aws_json(root, &format!("{update} Active"));
    dev.aws_json(&alice, "sts get-caller-identity");

    let delete = format!("iam delete-access-key --user-name alice --access-key-id {}", alice.access_key_id);
    dev.aws_json(root, &delete);
    dev.aws_refused(&alice, "sts get-caller-identity", "InvalidClientTokenId");
    dev.aws_refused(root, &delete, "NoSuchEntity");
    dev.aws_refused(root, "iam delete-user --user-name alice", "DeleteConflict");
    dev.aws_json(&second, &format!("iam delete-access-key --access-key-id {}", second.access_key_id));
    dev.aws_refused(root, "iam delete-user --user-name alice", "DeleteConflict");
    dev.aws_json(root, &format!("iam detach-user-policy {policy}"));
    dev.aws_json(root, "iam delete-user --user-name alice");
    dev.aws_refused(root, "iam get-user --user-name alice", "NoSuchEntity");
}

#[test]
fn a_user_manages_its_own_keys_and_nothing_else() {
    let dev = Dev::start();
    let (alice, bob) = (dev.user("alice"), dev.user("bob"));
    let policy = "arn:aws:iam::aws:policy/IAMSelfManageAccessKeys";
    dev.aws_json(&dev.ready.root, &format!("iam attach-user-policy --user-name alice --policy-arn {policy}"));
    dev.aws_refused(&alice, "iam create-user --user-name carol", "AccessDenied");
    dev.aws_refused(&alice, "iam list-access-keys --user-name bob", "AccessDenied");
    let delete = format!("iam delete-access-key --user-name bob --access-key-id {}", bob.access_key_id);
    dev.aws_refused(&alice, &delete, "AccessDenied");
    let own = dev.aws_json(&alice, "iam create-access-key");
    assert_eq!(own["AccessKey"]["UserName"], "alice");
    dev.aws_json(&bob, "sts get-caller-identity");
}

#[test]
fn any_region_is_accepted_by_iam_and_sts() {
    let dev = Dev::start();
    for region in ["us-east-1", "eu-west-1", "us-gov-west-1", "foo"] {
        dev.aws_json(&dev.ready.root, &format!("--region {region} sts get-caller-identity"));
        dev.aws_json(&dev.ready.root, &format!("--region {region} iam list-users"));
    }
}

#[test]
fn a_wrong_secret_is_told_as_such() {
    let dev = Dev::start();
    let mut wrong = dev.ready.root.clone();
    wrong.secret_access_key = "A".repeat(40);
    dev.aws_refused(&wrong, "sts get-caller-identity", "SignatureDoesNotMatch");
    wrong.access_key_id = "AKIAIOSFODNN7EXAMPLE".into();
    dev.aws_refused(&wrong, "sts get-caller-identity", "InvalidClientTokenId");
}

#[test]
fn boto3_and_curl_are_clients_too() {
    let dev = Dev::start();
    let output = dev.python("boto3_session.py", &dev.ready.root, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let root = &dev.ready.root;
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--fail-with-body", "--aws-sigv4", "aws:amz:local:sts", "--user"])
        .arg(format!("{}:{}", root.access_key_id, root.secret_access_key))
        .args(["--data", "Action=GetCallerIdentity&Version=2011-06-15", &dev.ready.endpoint])
        .output()
        .expect("curl runs");
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.contains("<Arn>arn:aws:iam::123456789012:root</Arn>"), "{answer}");
}

#[test]
fn dev_started_again_serves_the_same_keys() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let first = Dev::start_in(directory.path());
    let alice = first.user("alice");
    let (root, state) = (first.ready.root.clone(), directory.path().to_owned());
    drop(first);
    let second = Dev::start_in(&state);
    assert_eq!(second.ready.root.access_key_id, root.access_key_id);
    assert_eq!(second.ready.root.secret_access_key, root.secret_access_key);
    assert_eq!(second.aws_json(&alice, "sts get-caller-identity")["Account"], second.ready.account);
    let third =
        std::process::Command::new(common::REDERIVE).args(["dev", "--state"]).arg(&state).output().expect("runs");
    assert!(String::from_utf8_lossy(&third.stderr).contains("another 'rederive dev' runs"));
}

#[test]
fn pkcs11_tool_recomputes_the_secret_that_was_issued() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    let script = format!(
        "printf %s {} | pkcs11-tool --module \"$MODULE\" --token-label rederive-dev --login --pin \"$(cat pin)\" \
         --sign -m SHA256-HMAC --id 726564657269766500 2>/dev/null | head -c 30 | base64",
        alice.access_key_id
    );
    let module = rederive_hsm::softhsm::module().expect("SoftHSM is installed");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(&dev.state)
        .env("SOFTHSM2_CONF", dev.state.join("softhsm2.conf"))
        .env("MODULE", module)
        .output()
        .expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), alice.secret_access_key);
}
