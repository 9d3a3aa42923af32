//! Over the public door, with stock clients, against a running `rederive dev`.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::common::{self, Dev, REDERIVE, sign};

fn audit_log(dev: &Dev) -> String {
    std::fs::read_to_string(dev.state.join("audit.log")).expect("a log")
}

fn events(dev: &Dev) -> Vec<Value> {
    audit_log(dev).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The newest event of that name.
fn event(dev: &Dev, name: &str) -> Value {
    let newest = events(dev).into_iter().rev().find(|event| event["eventName"] == name);
    newest.unwrap_or_else(|| panic!("no {name} in {}", audit_log(dev)))
}

fn rederive(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(REDERIVE).args(arguments).output().expect("rederive runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

fn verify(dev: &Dev) -> (bool, String) {
    rederive(&["audit", "verify", dev.state.join("audit.log").to_str().expect("a path")])
}

/// What clients and operators do is in the log, refusals too, and nothing that opens a door: secrets, signatures, presigned queries.
#[test]
fn the_audit_log_of_a_node() {
    let mut dev = Dev::start();
    let (root, alice) = (dev.ready.root.clone(), dev.user("alice"));
    let id = &alice.access_key_id;
    dev.aws_json(&root, &format!("iam update-access-key --user-name alice --access-key-id {id} --status Inactive"));
    dev.aws_json(&root, &format!("iam update-access-key --user-name alice --access-key-id {id} --status Active"));
    dev.aws_refused(&alice, "iam list-users", "AccessDenied");
    let wrong = common::Pair { secret_access_key: "wrong".repeat(8), ..alice.clone() };
    dev.aws_refused(&wrong, "sts get-caller-identity", "SignatureDoesNotMatch");
    for _ in 0..20 {
        let call = sign::s3_get(&wrong, "local", "h", "/b/k").call();
        assert_eq!(dev.verify(&call).1["decision"], "refuse");
    }
    let script = "import boto3, urllib.request\n\
                  url = boto3.client('sts').generate_presigned_url('get_caller_identity', HttpMethod='GET')\n\
                  urllib.request.urlopen(url).read()\n\
                  print(url)";
    let presigned = dev.client("python3", &alice).args(["-c", script]).output().expect("python3 runs");
    let presigned = String::from_utf8_lossy(&presigned.stdout).into_owned();

    let config = dev.state.join("rederive.toml");
    let config = config.to_str().expect("a path");
    let (done, printed) = rederive(&["account", "create", "--number", "000000000042", "--config", config]);
    assert!(done, "{printed}");
    for denied in
        [["deny", "key", id, "--config", config].as_slice(), &["deny", "key", id, "--lift", "--config", config]]
    {
        assert!(rederive(denied).0);
    }

    let created = event(&dev, "CreateAccessKey");
    assert_eq!(created["responseElements"]["accessKey"]["accessKeyId"], id.as_str());
    assert_eq!(
        (&created["awsRegion"], &created["sourceIPAddress"]),
        (&dev.ready.region.as_str().into(), &"127.0.0.1".into())
    );
    assert!(created["userAgent"].as_str().is_some_and(|agent| agent.contains("aws-cli")), "{created}");
    assert_eq!(event(&dev, "UpdateAccessKey")["requestParameters"]["status"], "Active");
    assert_eq!(event(&dev, "ListUsers")["errorCode"], "AccessDenied");
    let account = event(&dev, "CreateAccount");
    assert_eq!(
        (&account["userIdentity"]["type"], &account["recipientAccountId"]),
        (&"Operator".into(), &"000000000042".into())
    );
    assert_eq!(event(&dev, "Deny")["requestParameters"]["subject"], format!("key:{id}"));
    assert_eq!(event(&dev, "LiftDenial")["requestParameters"]["changed"], true);
    let refused = |source: &str| {
        let of = |event: &&Value| event["eventName"] == "VerifyRequest" && event["eventSource"] == source;
        events(&dev).iter().filter(of).cloned().collect::<Vec<_>>()
    };
    assert_eq!(refused("sts.amazonaws.com")[0]["errorCode"], "SignatureDoesNotMatch");
    assert_eq!(refused("sts.amazonaws.com")[0]["userIdentity"]["accessKeyId"], id.as_str());
    assert_eq!(refused("s3.amazonaws.com").len(), 5, "and the rest is counted");

    // Nothing in it opens a door. The same searches find what they are to find where it stands.
    let of_account = printed.split_whitespace().last().expect("a secret");
    let signature = presigned.split("Signature=").nth(1).and_then(|rest| rest.get(..64)).expect("a signature");
    let doors = format!("{presigned} {} {} {printed} SecretAccessKey", alice.secret_access_key, root.secret_access_key);
    let (log, told) = (audit_log(&dev), event(&dev, "GetCallerIdentity"));
    assert_eq!(told["userIdentity"]["userName"], "alice", "the presigned call is told");
    for word in [
        &alice.secret_access_key,
        &root.secret_access_key,
        of_account,
        signature,
        "X-Amz-",
        "Signature=",
        "SecretAccessKey",
    ] {
        assert!(doors.contains(word), "the control: {word}");
        assert!(!log.contains(word), "{word} in {log}");
    }

    // It survives kill -9, and says where it was edited.
    assert!(verify(&dev).0, "{}", verify(&dev).1);
    common::kill(dev.process.id(), "KILL");
    dev.process.wait().expect("it ends");
    let whole = audit_log(&dev);
    std::fs::write(dev.state.join("audit.log"), &whole[..whole.len() - 30]).expect("writable");
    let (sound, said) = verify(&dev);
    assert!(!sound && said.contains("torn") && said.contains("Start rederive"), "{said}");
    let again = Dev::start_in(&dev.state);
    event(&again, "AuditLogRecovered");
    assert!(verify(&again).0 && verify(&again).1.contains("1 torn"), "{}", verify(&again).1);
    drop(again);
    let (sound, said) = verify(&dev);
    assert!(sound, "{said}");
    // The last checkpoint stands in the ordinary log.
    let log = common::log_that_says(&dev.state.join("log"), "checkpoint=");
    let checkpoint = log.rsplit("checkpoint=").next().and_then(|rest| rest.split_whitespace().next()).expect("one");
    let path = dev.state.join("audit.log");
    let against = ["audit", "verify", path.to_str().expect("a path"), "--checkpoint", checkpoint];
    assert!(rederive(&against).0, "{checkpoint}");
    let shorter = audit_log(&dev).lines().take(4).map(|line| line.to_owned() + "\n").collect::<String>();
    std::fs::write(&path, shorter).expect("writable");
    assert!(verify(&dev).0 && rederive(&against).1.contains("its end was cut off"), "{}", rederive(&against).1);
    std::fs::write(&path, audit_log(&dev).replacen("root", "toor", 1)).expect("writable");
    assert!(verify(&dev).1.contains("was edited"), "{}", verify(&dev).1);
}

/// A log that goes away: what gives is refused with a clean error, switching off goes on, and verification does not notice.
#[test]
fn a_log_that_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("log.sock");
    // Syslog that is there at the start and goes away.
    let socket = std::os::unix::net::UnixDatagram::bind(&pipe).expect("a socket");
    let mut command = Command::new(REDERIVE);
    command.env("REDERIVE_AUDIT__SINK", "syslog").env("REDERIVE_AUDIT__SYSLOG_SOCKET", &pipe);
    let dev = Dev::start_by(command, &directory.path().join("state"));
    let alice = dev.user("alice");
    // Another user: a request like the one for alice's key has its signature if it comes within the same second.
    dev.aws_json(&dev.ready.root, "iam create-user --user-name carol");
    let mut datagram = vec![0; 1 << 20];
    let mut received = Vec::new();
    socket.set_nonblocking(true).expect("a socket");
    while let Ok(length) = socket.recv(&mut datagram) {
        received.extend([&datagram[..length], b"\n"].concat());
    }
    let journal = directory.path().join("journal");
    std::fs::write(&journal, &received).expect("writable");
    let (sound, said) = rederive(&["audit", "verify", "--mixed", journal.to_str().expect("a path")]);
    assert!(sound && said.contains("sound: entries 1 to"), "{said}");
    assert!(String::from_utf8_lossy(&received).contains("\"eventName\":\"CreateAccessKey\""));

    drop(socket);
    std::fs::remove_file(&pipe).expect("there");
    let root = &dev.ready.root;
    dev.aws_refused(root, "iam create-access-key --user-name carol", "ServiceUnavailable");
    dev.aws_refused(root, "iam create-user --user-name bob", "ServiceUnavailable");
    let keys = dev.aws_json(root, "iam list-access-keys --user-name carol");
    assert_eq!(keys["AccessKeyMetadata"].as_array().map(Vec::len), Some(0));
    let id = &alice.access_key_id;
    assert_eq!(dev.verify(&sign::s3_get(&alice, "local", "h", "/b/k").call()).1["decision"], "accept");
    dev.aws_json(root, &format!("iam update-access-key --user-name alice --access-key-id {id} --status Inactive"));
    dev.aws_refused(&alice, "sts get-caller-identity", "InvalidClientTokenId");
    assert!((dev.metric("rederive_audit_failing"), dev.metric("rederive_audit_events_lost_total")) > (0.5, 2.5));

    let socket = std::os::unix::net::UnixDatagram::bind(&pipe).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    dev.aws_json(root, "iam create-user --user-name bob");
    let length = socket.recv(&mut datagram).expect("a datagram");
    assert!(String::from_utf8_lossy(&datagram[..length]).contains("AuditEventsLost"));
    assert!(dev.metric("rederive_audit_failing") < 0.5);
}

/// Policies over the stock CLI: stored, read back as they were, in force in the next call, and gone again.
#[test]
fn policies_by_the_cli() {
    let dev = Dev::start();
    let (root, alice) = (&dev.ready.root, dev.user("alice"));
    dev.aws_refused(&alice, "iam list-access-keys", "AccessDenied");
    dev.aws_json(
        root,
        "iam attach-user-policy --user-name alice --policy-arn arn:aws:iam::aws:policy/IAMSelfManageAccessKeys",
    );
    assert_eq!(
        dev.aws_json(&alice, "iam list-access-keys")["AccessKeyMetadata"][0]["AccessKeyId"],
        alice.access_key_id
    );
    let attached = dev.aws_json(root, "iam list-attached-user-policies --user-name alice");
    assert_eq!(attached["AttachedPolicies"][0]["PolicyName"], "IAMSelfManageAccessKeys");

    let document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:CreateAccessKey","Resource":"*"}]}"#;
    dev.aws_json(root, &format!("iam put-user-policy --user-name alice --policy-name no --policy-document {document}"));
    let output = dev.aws(&alice, "iam create-access-key");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("AccessDenied") && error.contains("with an explicit deny"), "{error}");
    let read = dev.aws_json(root, "iam get-user-policy --user-name alice --policy-name no");
    assert_eq!(read["PolicyDocument"], serde_json::from_str::<Value>(document).expect("JSON"));
    dev.aws_refused(
        root,
        "iam put-user-policy --user-name alice --policy-name bad --policy-document {}",
        "MalformedPolicyDocument",
    );
    dev.aws_json(root, "iam delete-user-policy --user-name alice --policy-name no");
    dev.aws_json(&alice, "iam create-access-key");
    let version = "iam get-policy-version --policy-arn arn:aws:iam::aws:policy/AdministratorAccess --version-id v1";
    assert_eq!(dev.aws_json(root, version)["PolicyVersion"]["Document"]["Statement"][0]["Action"], "*");
    assert_eq!(
        event(&dev, "AttachUserPolicy")["requestParameters"]["policyArn"],
        "arn:aws:iam::aws:policy/IAMSelfManageAccessKeys"
    );
}

/// Users over the stock CLI: a new name is the key's in the next request, tags, summary, report; and keys that an operator makes.
#[test]
fn users_by_the_cli() {
    let dev = Dev::start();
    let (root, alice) = (&dev.ready.root, dev.user("alice"));
    let arn = || dev.verify(&sign::s3_get(&alice, "local", "h", "/b/k").call()).1["principal"]["arn"].clone();
    assert_eq!(arn(), "arn:aws:iam::123456789012:user/alice");
    dev.aws_json(root, "iam update-user --user-name alice --new-user-name alina --new-path /ops/");
    assert_eq!(arn(), "arn:aws:iam::123456789012:user/ops/alina");
    assert_eq!(dev.aws_json(&alice, "sts get-caller-identity")["Arn"], "arn:aws:iam::123456789012:user/ops/alina");
    dev.aws_json(root, "iam tag-user --user-name alina --tags Key=team,Value=red");
    assert_eq!(dev.aws_json(root, "iam list-user-tags --user-name alina")["Tags"][0]["Value"], "red");
    dev.aws_json(root, "iam untag-user --user-name alina --tag-keys team");
    assert_eq!(dev.aws_json(root, "iam get-account-summary")["SummaryMap"]["Users"], 1);
    assert_eq!(dev.aws_json(root, "iam generate-credential-report")["State"], "COMPLETE");
    assert_eq!(dev.aws_json(root, "iam get-credential-report")["ReportFormat"], "text/csv");

    let config = dev.state.join("rederive.toml");
    let create = |format: &str| {
        let account = ["--account", &dev.ready.account, "--user", "alina", "--format", format];
        let (done, printed) =
            rederive(&[&["key", "create"][..], &account, &["--config", config.to_str().expect("a path")]].concat());
        assert!(done, "{printed}");
        printed
    };
    let value = |text: &str, before: &str| {
        let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
        rest.split(['\n', ',', '"']).next().expect("a value").to_owned()
    };
    let made = |printed: &str, id: &str, secret: &str| {
        let pair = common::Pair { access_key_id: value(printed, id), secret_access_key: value(printed, secret) };
        assert_eq!(dev.aws_json(&pair, "sts get-caller-identity")["Account"], dev.ready.account, "it works at once");
        let delete = format!("iam delete-access-key --user-name alina --access-key-id {}", pair.access_key_id);
        dev.aws_json(root, &delete);
        pair
    };
    let quota = ["account", "set-quota", "--number", &dev.ready.account, "--config", config.to_str().expect("a path")];
    assert!(rederive(&[&quota[..], &["--keys-per-user", "5"]].concat()).0);
    assert_eq!(dev.aws_json(root, "iam get-account-summary")["SummaryMap"]["AccessKeysPerUserQuota"], 5);
    assert_eq!(event(&dev, "SetAccountQuota")["requestParameters"]["keysPerUser"], 5);
    assert!(!rederive(&[&quota[..], &["--keys-per-user", "0"]].concat()).0);
    let env = create("env");
    let pair = made(&env, "export AWS_ACCESS_KEY_ID=", "export AWS_SECRET_ACCESS_KEY=");
    assert_eq!(event(&dev, "DeleteAccessKey")["requestParameters"]["accessKeyId"], pair.access_key_id);
    let by_operator =
        |event: &&Value| event["eventType"] == "OperatorCommand" && event["eventName"] == "CreateAccessKey";
    assert_eq!(events(&dev).iter().filter(by_operator).count(), 1);
    made(&create("profile"), "[alina]\naws_access_key_id = ", "\naws_secret_access_key = ");
    made(
        &create("kubernetes"),
        "name: aws-key-alina\ntype: Opaque\nstringData:\n  AWS_ACCESS_KEY_ID: \"",
        "  AWS_SECRET_ACCESS_KEY: \"",
    );
    let csv = create("csv");
    let (id, secret) =
        csv.lines().nth(1).and_then(|line| line.strip_prefix("\"alina\",")?.split_once(',')).expect("two cells");
    assert!(csv.starts_with("User Name,Access key ID,Secret access key\n") && secret.len() == 40, "{csv}");
    assert!(!audit_log(&dev).contains(secret) && audit_log(&dev).contains(id));
}

/// A key with a time: R stands in its id, its status tells when it is over, and it is refused from then on, in use or not.
#[test]
fn a_key_that_expires() {
    let dev = Dev::start();
    let (root, _) = (&dev.ready.root, dev.user("alice"));
    let config = dev.state.join("rederive.toml");
    let config = config.to_str().expect("a path");
    let create = ["key", "create", "--account", &dev.ready.account, "--user", "alice", "--expires-in-hours", "1"];
    let (done, printed) = rederive(&[&create[..], &["--config", config]].concat());
    assert!(done, "{printed}");
    let line = |label: &str| printed.lines().find_map(|line| line.strip_prefix(label)).expect(label).trim();
    let (id, secret) = (line("access key id"), line("secret access key"));
    let pair = common::Pair { access_key_id: id.into(), secret_access_key: secret.into() };
    assert!(rederive(&["key", "decode", id]).1.contains("needs row   yes"));
    let verified = || dev.verify(&sign::s3_get(&pair, "local", "h", "/b/k").call()).1["decision"].clone();
    assert_eq!(verified(), "accept");
    let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1],timeout=9); \
                  c.execute('update access_keys set expires_at=? where id=?',(int(sys.argv[3]),sys.argv[2])); c.commit()";
    let soon = (sign::now() + 2).to_string();
    let registry = dev.state.join("registry.sqlite");
    let status = Command::new("python3").args(["-c", script]).arg(&registry).args([id, &soon]).status();
    assert!(status.expect("python3 runs").success());
    common::wait_until("refused", || verified() == "refuse");
    let keys = dev.aws_json(root, "iam list-access-keys --user-name alice");
    let key = keys["AccessKeyMetadata"].as_array().and_then(|keys| keys.iter().find(|key| key["AccessKeyId"] == id));
    assert_eq!(key.expect("listed")["Status"], "Expired");
    let on = format!("iam update-access-key --user-name alice --status Active --access-key-id {id}");
    dev.aws_refused(root, &on, "InvalidInput");
    dev.aws_refused(&pair, "sts get-caller-identity", "InvalidClientTokenId");
}

/// A key with a scope, asked for by parameters and by headers, signs what is in it and nothing else, IAM included.
#[test]
fn a_key_that_is_good_for_some_services_and_regions() {
    let dev = Dev::start();
    let root = &dev.ready.root;
    dev.aws_json(root, "iam create-user --user-name alice");
    let create = |by: &common::Pair, body: &str, extra: &[(&str, &str)]| {
        let host = dev.ready.endpoint.trim_start_matches("http://");
        let body = format!("Action=CreateAccessKey&UserName=alice&Version=2010-05-08{body}");
        let form = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers = [form].into_iter().chain(extra).collect();
        let hash = sign::hex(&Sha256::digest(&body));
        sign::sign(by, ("POST", "/", &body), ("iam", "local"), host, headers, &hash, sign::now())
    };
    let send = |call: &sign::Signed| {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let headers = call.headers.iter().filter(|(name, _)| name != "host");
        let request =
            headers.fold(agent.post(&dev.ready.endpoint), |request, (name, value)| request.header(name, value));
        let mut answer = request.send(&call.body).expect("an answer");
        (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
    };
    let pair = |(status, xml): (u16, String)| {
        assert_eq!(status, 200, "{xml}");
        let field =
            |tag: &str| xml.split(&format!("<{tag}>")).nth(1).expect(tag).split('<').next().expect(tag).to_owned();
        common::Pair { access_key_id: field("AccessKeyId"), secret_access_key: field("SecretAccessKey") }
    };
    let scope = [
        ("x-rederive-services", "s3,iam"),
        ("x-rederive-regions", "eu-*,local"),
        ("x-rederive-description", "by headers"),
    ];
    let by_headers = pair(send(&create(root, "", &scope)));
    let by_parameters = pair(send(&create(root, "&Services=s3&Regions=eu-*", &[])));
    let mut unsigned = create(root, "", &[]);
    unsigned.headers.push(("x-rederive-services".into(), "s3".into()));
    assert_eq!(send(&unsigned).0, 403, "else somebody on the way could widen it");

    let decided = |pair: &common::Pair, service: &'static str, region: &str| {
        let request = match service {
            "s3" => sign::s3_get(pair, region, "h", "/b/k"),
            _ => sign::query(pair, region, "h", service, "Action=Any"),
        };
        let answer = dev.verify(&request.call()).1;
        answer["code"].as_str().unwrap_or_else(|| answer["decision"].as_str().expect("a decision")).to_owned()
    };
    for (service, region, expected) in [
        ("s3", "eu-1", "accept"),
        ("s3", "eu-", "accept"),
        ("s3", "us-1", "AccessDenied"),
        ("s3", "local", "AccessDenied"),
        ("sqs", "eu-1", "AccessDenied"),
    ] {
        for _ in 0..2 {
            assert_eq!(decided(&by_parameters, service, region), expected, "{service} {region}, new and known");
        }
    }
    let wrong = common::Pair { secret_access_key: "wrong".repeat(8), ..by_parameters.clone() };
    assert_eq!(decided(&wrong, "s3", "us-1"), "SignatureDoesNotMatch", "who has not the key is not told its scope");
    dev.aws_refused(&by_parameters, "sts get-caller-identity", "AccessDenied");
    dev.aws_refused(&by_parameters, "iam list-users", "AccessDenied");
    // The other one manages keys, within its scope: no key without, nor one for more.
    dev.aws_json(root, "iam attach-user-policy --user-name alice --policy-arn arn:aws:iam::aws:policy/IAMFullAccess");
    let id = &by_parameters.access_key_id;
    let list = || {
        let config = dev.state.join("rederive.toml");
        rederive(&["key", "list", "--account", &dev.ready.account, "--config", config.to_str().expect("a path")]).1
    };
    let listed = list();
    assert!(listed.lines().any(|line| line.contains(id) && line.ends_with("services s3  regions eu-*")), "{listed}");
    let described = |line: &str| line.contains(&by_headers.access_key_id) && line.ends_with("\"by headers\"");
    assert!(listed.lines().any(described), "{listed}");
    dev.aws_json(root, &format!("iam delete-access-key --user-name alice --access-key-id {id}"));
    for body in ["", "&Services=s3", "&Services=s3,iam,sts&Regions=eu-1"] {
        let (status, xml) = send(&create(&by_headers, body, &[]));
        assert!(status == 403 && xml.contains("<Code>AccessDenied</Code>"), "{body}: {xml}");
    }
    pair(send(&create(&by_headers, "&Services=s3&Regions=eu-west-*", &[])));

    // The stock SDK, as docs/api.md has it.
    dev.aws_json(root, "iam create-user --user-name bob");
    let script = "import boto3\n\
                  iam = boto3.client('iam')\n\
                  iam.meta.events.register('before-sign.iam.CreateAccessKey', lambda request, **_: \
                  request.headers.add_header('x-rederive-services', 's3'))\n\
                  print(iam.create_access_key(UserName='bob')['AccessKey']['AccessKeyId'])";
    let made = dev.client("python3", root).args(["-c", script]).output().expect("python3 runs");
    let made = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    assert!(list().lines().any(|line| line.contains(&made) && line.ends_with("services s3")), "{made}: {}", list());
}

/// The maximum age of an account's keys: set by the operator, told to users before a key ends.
#[test]
fn keys_that_grow_too_old() {
    let dev = Dev::start();
    let (root, alice) = (&dev.ready.root, dev.user("alice"));
    let config = dev.state.join("rederive.toml");
    let config = config.to_str().expect("a path");
    let (account, age) = (dev.ready.account.as_str(), ["--max-days", "30", "--warn-days", "10"]);
    let run = |arguments: &[&str]| rederive(&[arguments, &["--config", config]].concat());
    let set = [&["account", "set-key-age", "--number", account][..], &age].concat();
    let made = |days: i64| {
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1],timeout=9); \
                      c.execute('update access_keys set created_at=? where id=?',(int(sys.argv[3]),sys.argv[2])); c.commit()";
        let at = (sign::now() - days * 86_400).to_string();
        let registry = dev.state.join("registry.sqlite");
        let status =
            Command::new("python3").args(["-c", script]).arg(&registry).args([&alice.access_key_id, &at]).status();
        assert!(status.expect("python3 runs").success());
    };
    let summary = |name: &str| dev.aws_json(root, "iam get-account-summary")["SummaryMap"][name].clone();
    let header = || {
        let call = sign::query(
            &alice,
            "local",
            dev.ready.endpoint.trim_start_matches("http://"),
            "sts",
            "Action=GetCallerIdentity&Version=2011-06-15",
        );
        let headers = call.headers.iter().filter(|(name, _)| name != "host");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request =
            headers.fold(agent.post(&dev.ready.endpoint), |request, (name, value)| request.header(name, value));
        let answer = request.send(&call.body).expect("an answer");
        (answer.status().as_u16(), answer.headers().contains_key("x-rederive-key-expires"))
    };
    assert_eq!((summary("AccessKeysEndingSoon"), summary("AccessKeyMaxAgeDays")), (0.into(), Value::Null));
    let (done, printed) = run(&set);
    assert!(done && printed.contains("keys end after 30 days, warning 10 days before"), "{printed}");
    assert!(run(&["account", "list"]).1.contains("keys end after 30 days"));
    assert_eq!((header(), summary("AccessKeyMaxAgeDays")), ((200, false), 30.into()));
    made(25);
    assert_eq!((header(), summary("AccessKeysEndingSoon")), ((200, true), 1.into()));
    let listed = run(&["key", "list", "--account", account, "--user", "alice"]).1;
    assert!(listed.contains("  expires ") && listed.contains(" (soon)"), "{listed}");

    assert!(run(&[&set[..4], &["--max-days", "20"]].concat()).1.contains("say --ends 1"), "it would end a key at once");
    made(31);
    common::wait_until("over", || header().0 == 403);
    let keys = dev.aws_json(root, "iam list-access-keys --user-name alice");
    assert_eq!(keys["AccessKeyMetadata"][0]["Status"], "Expired");
    let create = ["key", "create", "--account", account, "--user", "alice", "--description", "build server"];
    let (done, printed) = run(&create);
    assert!(done, "{printed}");
    let tags = dev.aws_json(root, "iam list-user-tags --user-name alice");
    assert_eq!(tags["Tags"][0]["Value"], "build server");
    assert!(run(&["key", "list", "--account", account]).1.contains("\"build server\""));
}
