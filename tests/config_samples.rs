//! Configurations that must be taken and ones that must be refused: every file in `tests/samples/`.

use std::path::{Path, PathBuf};

use rederive::config::{Config, ConfigError, WorkerFile};

struct Sample {
    path: PathBuf,
    text: String,
}

impl Sample {
    fn all(kind: &str) -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(kind);
        let mut paths: Vec<_> = std::fs::read_dir(&directory)
            .expect("the samples are there")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "no samples in {}", directory.display());
        paths.into_iter().map(|path| Self { text: std::fs::read_to_string(&path).expect("readable"), path }).collect()
    }

    /// The rest of each line that begins with `# key: `.
    fn notes(&self, key: &str) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(": ")).collect()
    }

    fn parse(&self) -> Result<Config, ConfigError> {
        let overrides = self.notes("env").into_iter().map(|note| {
            let (name, value) = note.split_once('=').expect("NAME=value");
            (name.to_owned(), value.to_owned())
        });
        Config::parse(&self.text, overrides)
    }
}

#[test]
fn accepted() {
    are_accepted("accepted", Sample::parse);
    are_accepted("worker_accepted", |sample| WorkerFile::parse(&sample.text));
}

#[test]
fn refused() {
    are_refused("refused", Sample::parse);
    are_refused("worker_refused", |sample| WorkerFile::parse(&sample.text));
}

fn are_accepted<C: std::fmt::Debug>(kind: &str, parse: impl Fn(&Sample) -> Result<C, ConfigError>) {
    for sample in Sample::all(kind) {
        let config = parse(&sample).unwrap_or_else(|error| panic!("{}: {error}", sample.path.display()));
        let shown = format!("{config:?}");
        assert!(!sample.notes("expect").is_empty(), "{} expects nothing", sample.path.display());
        for expected in sample.notes("expect") {
            assert!(shown.contains(expected), "{}: no `{expected}` in {shown}", sample.path.display());
        }
    }
}

fn are_refused<C>(kind: &str, parse: impl Fn(&Sample) -> Result<C, ConfigError>) {
    for sample in Sample::all(kind) {
        let error =
            parse(&sample).err().unwrap_or_else(|| panic!("{} was accepted", sample.path.display())).to_string();
        assert!(!sample.notes("error").is_empty(), "{} expects no error", sample.path.display());
        for expected in sample.notes("error") {
            assert!(error.contains(expected), "{}: no `{expected}` in: {error}", sample.path.display());
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("no/such/file.toml")).expect_err("there is none").to_string();
    assert!(error.contains("no/such/file.toml"), "{error}");
}

/// Every single value outside of `[[…]]` can be set by the environment, under the name made from section and key.
#[test]
fn every_scalar_has_a_variable() {
    let full = Sample::all("accepted").into_iter().find(|sample| sample.path.ends_with("every_key.toml"));
    let full = full.expect("the sample with every key");
    let table: toml::Table = full.text.parse().expect("TOML");
    let mut variables = Vec::new();
    scalars("REDERIVE", &toml::Value::Table(table), &mut variables);
    assert!(variables.len() > 20, "only {variables:?}");
    for (name, value) in variables {
        if let Err(error) = Config::parse(&full.text, [(name, value)]) {
            panic!("{error}");
        }
    }
}

fn scalars(name: &str, value: &toml::Value, found: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            let separator = if name == "REDERIVE" { "_" } else { "__" };
            for (key, value) in table {
                scalars(&format!("{name}{separator}{}", key.to_ascii_uppercase()), value, found);
            }
        }
        toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
            let names: Vec<_> = items.iter().filter_map(toml::Value::as_str).collect();
            found.push((name.to_owned(), names.join(",")));
        }
        toml::Value::Array(_) => {}
        toml::Value::String(text) => found.push((name.to_owned(), text.clone())),
        other => found.push((name.to_owned(), other.to_string())),
    }
}
