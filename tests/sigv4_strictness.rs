//! What verifiers have let through, each with its honest twin: `tests/vectors/strictness`.

mod sigv4_support;

use rederive::explain::{Decision, ExplainOptions, explain};
use serde::Deserialize;
use sigv4_support::{case_folders, read, read_text, tests_path, unix};

const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    service: String,
    now: String,
    /// Another time for the control, where time is what the case is about.
    control_now: Option<String>,
    code: String,
    source: String,
    why: String,
}

impl Case {
    fn options(&self, now: &str) -> ExplainOptions<'_> {
        let (service, region) = (Some(self.service.as_str()), Some("local"));
        ExplainOptions { secret: Some(SECRET), at: unix(now), service, region, ..ExplainOptions::default() }
    }
}

#[test]
fn what_verifiers_have_let_through_is_refused_and_its_honest_twin_is_not() {
    let folders = case_folders(&tests_path("vectors/strictness"));
    let folders: Vec<_> = folders.iter().filter(|folder| folder.join("case.toml").exists()).collect();
    assert!(folders.len() >= 100, "{} cases", folders.len());
    let mut problems = Vec::new();
    for folder in folders {
        let name = folder.file_name().expect("a folder").to_string_lossy();
        let case: Case = toml::from_str(&read_text(&folder.join("case.toml"))).expect("a case");
        assert!(case.source.len() > 10 && case.why.len() > 8, "{name} needs a source and a reason");
        let attack = explain(&read(&folder.join("request.http")), &case.options(&case.now));
        if (attack.decision, attack.code.as_deref()) != (Decision::Refuse, Some(&case.code)) {
            problems.push(format!("{name}: {attack:?}"));
        }
        let now = case.control_now.as_ref().unwrap_or(&case.now);
        let control = explain(&read(&folder.join("control.http")), &case.options(now));
        if control.decision != Decision::Accept {
            problems.push(format!("the control of {name}: {control:?}"));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
