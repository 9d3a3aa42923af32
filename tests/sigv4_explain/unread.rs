//! Requests that cannot be read: the rule, and where in the request, row by row.

use rederive::explain::{Decision, ExplainOptions, Explanation, explain};
use serde::Deserialize;

use super::sigv4_support::{read_text, tests_path, unix};
use super::{SECRET, vanilla};

/// A row of `unread.toml`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The head; that of the published request where it is not given. `TARGET` in it stands for the target.
    lines: Option<Vec<String>>,
    /// In place of its target, `/`.
    target: Option<String>,
    /// Text in it, and what is put in its place.
    replace: Option<[String; 2]>,
    /// Lines that are added to its end.
    #[serde(default)]
    headers: Vec<String>,
    names: Vec<String>,
    says: String,
}

#[derive(Deserialize)]
struct Rows {
    case: Vec<Row>,
}

impl Row {
    fn explained(&self) -> Explanation {
        let published = String::from_utf8(vanilla()).expect("text");
        let own = || published.trim_end().lines().map(str::to_owned).collect();
        let mut lines = self.lines.clone().unwrap_or_else(own);
        lines.extend(self.headers.clone());
        let mut text = lines.join("\r\n") + "\r\n\r\n";
        if let Some(target) = &self.target {
            text = text.replacen("GET / ", "GET TARGET ", 1).replacen("TARGET", target, 1);
        }
        if let Some([from, to]) = &self.replace {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let at = unix("20150830T123600Z");
        explain(text.as_bytes(), &ExplainOptions { secret: Some(SECRET), at, ..ExplainOptions::default() })
    }
}

#[test]
fn the_rule_is_named_and_where_it_is_broken() {
    let Rows { case: rows } = toml::from_str(&read_text(&tests_path("vectors/explain/unread.toml"))).expect("rows");
    assert!(rows.len() >= 25, "{} rows", rows.len());
    for row in &rows {
        let explanation = row.explained();
        let named: Vec<_> = explanation.deviations.iter().map(|deviation| deviation.name.clone()).collect();
        assert_eq!((explanation.decision, &named), (Decision::Refuse, &row.names), "{:?}", explanation.message);
        let message = &explanation.deviations[0].message;
        assert!(message.starts_with("is read if ") && message.contains(&row.says), "{message}");
    }
    let explanation = Row::default().explained();
    assert_eq!((explanation.decision, explanation.deviations), (Decision::Accept, vec![]), "the control");
}
