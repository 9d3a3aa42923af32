//! A ceremony between two SoftHSM tokens, looked at from outside with pkcs11-tool.

use std::path::PathBuf;
use std::process::{Command, Output};

use rederive_hsm::softhsm::{Store, module};

use crate::common::{REDERIVE, sign};

/// Two new tokens of one SoftHSM store, with a configuration that names both.
struct TwoTokens {
    directory: tempfile::TempDir,
}

impl TwoTokens {
    const OFFICER: &str = "officer-pin";

    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::prepare(directory.path()).expect("a store");
        let two = Self { directory };
        let pin = two.pin();
        let mut tables = String::new();
        for name in ["first", "second"] {
            let made = two
                .tool("softhsm2-util")
                .args(["--init-token", "--free", "--label", name, "--pin", pin.trim(), "--so-pin", Self::OFFICER])
                .output();
            assert!(made.expect("softhsm2-util runs").status.success());
            let token = store.token(name).expect("SoftHSM is installed");
            tables += &format!(
                "[[token]]\nname = \"{name}\"\nlabel = \"{name}\"\nmodule = {:?}\npin_file = {:?}\n\
                 environment = {{ SOFTHSM2_CONF = {:?} }}\n",
                token.module,
                two.path("pin"),
                two.path("softhsm2.conf")
            );
        }
        let state = two.path("state");
        std::fs::write(two.path("rederive.toml"), format!("state_dir = {state:?}\n{tables}")).expect("writable");
        two
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pin(&self) -> String {
        std::fs::read_to_string(self.path("pin")).expect("a PIN")
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    /// What pkcs11-tool, which knows nothing of us, says of a token.
    fn pkcs11_tool(&self, token: &str, arguments: &[&str]) -> Vec<u8> {
        let pin = self.pin();
        let output = self
            .tool("pkcs11-tool")
            .arg("--module")
            .arg(module().expect("SoftHSM is installed"))
            .args(["--token-label", token, "--login", "--pin", pin.trim()])
            .args(arguments)
            .output()
            .expect("pkcs11-tool runs");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        output.stdout
    }

    /// What a command prints that is expected to work.
    fn done(&self, arguments: &[&str]) -> String {
        let output = Command::new(REDERIVE)
            .args(arguments)
            .arg("--config")
            .arg(self.path("rederive.toml"))
            .output()
            .expect("runs");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    fn ceremony(&self, officer: &str) -> Output {
        self.ceremony_with(officer, "transcript.json", &[])
    }

    fn ceremony_with(&self, officer: &str, transcript: &str, further: &[&str]) -> Output {
        Command::new(REDERIVE)
            .args(["ceremony", "--from", "first", "--to", "second", "--witness", "Ada", "--witness", "Grace", "--yes"])
            .args(["--officer-pin-env", "OFFICER_PIN", "--transcript"])
            .arg(self.path(transcript))
            .args(further)
            .arg("--config")
            .arg(self.path("rederive.toml"))
            .env("OFFICER_PIN", officer)
            .output()
            .expect("rederive runs")
    }
}

#[test]
fn a_ceremony_puts_one_master_on_two_tokens_and_seals_it() {
    let two = TwoTokens::new();
    let output = two.ceremony(TwoTokens::OFFICER);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("class replica"), "{}", text(&output));
    let transcript = std::fs::read(two.path("transcript.json")).expect("a transcript");
    assert!(text(&output).contains(&sign::hex(&<sha2::Sha256 as sha2::Digest>::digest(&transcript))));
    let transcript: serde_json::Value = serde_json::from_slice(&transcript).expect("JSON");
    assert_eq!(transcript["witnesses"], serde_json::json!(["Ada", "Grace"]));
    for party in ["origin", "receiver"] {
        let attempts = transcript[party]["attempts"].as_array().expect("attempts");
        assert!(attempts.iter().all(|attempt| attempt["refused"].is_string()), "{attempts:?}");
        // The control: on a key that is not sealed, most of them work.
        let real = attempts.iter().filter(|attempt| attempt["decoy_refused"].is_null()).count();
        assert!(real >= 11, "{real} of {attempts:?}");
    }
    // The same HMAC by both, as somebody without a line of our code sees it.
    std::fs::write(two.path("message"), "AKIARZPUZDIKAAERULUU").expect("writable");
    let message = two.path("message");
    let hmac = |token| {
        let input = message.to_str().expect("a path");
        two.pkcs11_tool(token, &["--sign", "-m", "SHA256-HMAC", "--id", "726564657269766500", "-i", input])
    };
    assert_eq!((hmac("first").len(), hmac("first")), (32, hmac("second")));
    for token in ["first", "second"] {
        let objects = String::from_utf8(two.pkcs11_tool(token, &["-O"])).expect("text");
        assert_eq!(objects.matches("Secret Key Object").count(), 1, "{objects}");
        assert!(!objects.contains("RSA"), "the wrapping keys are gone: {objects}");
    }
    // A node takes it from either token.
    let doctor = two.done(&["doctor"]);
    assert!(!doctor.contains("FAIL"), "{doctor}");
    assert!(two.done(&["account", "create", "--number", "000000000042"]).contains("AKIA"));
    let again = two.ceremony(TwoTokens::OFFICER);
    assert!(!again.status.success() && text(&again).contains("not there yet"), "{}", text(&again));

    // A rotation onto a master of a ceremony.
    let pending = two.ceremony_with(TwoTokens::OFFICER, "second.json", &["--pending"]);
    assert!(text(&pending).contains("generation   1  pending"), "{}", text(&pending));
    let rotated = two.done(&["rotate", "--to", "1", "--yes"]);
    assert!(rotated.contains("its check value was computed by first, second"), "{rotated}");
    assert!(two.done(&["generation", "list"]).contains("generation   1  issuing"));
}

#[test]
fn a_ceremony_that_is_broken_off_leaves_nothing() {
    let two = TwoTokens::new();
    let refused = two.ceremony("wrong");
    assert!(!refused.status.success(), "{}", text(&refused));
    assert!(text(&refused).contains("does not take the PIN of the security officer"), "{}", text(&refused));
    assert!(text(&refused).contains("what was made is destroyed again"), "{}", text(&refused));
    for token in ["first", "second"] {
        let objects = String::from_utf8(two.pkcs11_tool(token, &["-O"])).expect("text");
        assert!(!objects.contains("Object"), "{objects}");
    }
    assert!(!two.path("transcript.json").exists());
    assert!(two.done(&["generation", "list"]).contains("no generation yet"));
    // The same with the right PIN goes through: nothing was in its way.
    assert!(two.ceremony(TwoTokens::OFFICER).status.success());
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
