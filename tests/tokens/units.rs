//! The units for systemd and its users, as systemd itself reads them. Where it is not installed, nothing is run.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::REDERIVE;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd")
}

/// Whether a program of systemd succeeded, and all that it said; none where it is not installed.
fn said(program: &str, arguments: &[&str], files: &[PathBuf]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).args(files).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            Some((output.status.success(), said))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("NOT RUN: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// The units in a directory of their own, with the binary where it is here, and with a change.
fn units(directory: &Path, change: impl Fn(String) -> String) -> Vec<PathBuf> {
    ["rederive.service", "rederive-hsm.service"]
        .map(|name| {
            let unit = std::fs::read_to_string(packaging().join(name)).expect("a unit");
            let here = unit.replace("/usr/local/bin/rederive", REDERIVE);
            assert_ne!(unit, here, "{name} starts the binary where the documentation puts it");
            std::fs::write(directory.join(name), change(here)).expect("writable");
            directory.join(name)
        })
        .into()
}

#[test]
fn systemd_takes_every_line_of_the_units() {
    const VERIFY: [&str; 3] = ["verify", "--man=no", "--recursive-errors=no"];
    let directory = tempfile::tempdir().expect("a directory");
    let files = units(directory.path(), |unit| unit);
    let Some(verified) = said("systemd-analyze", &VERIFY, &files) else { return };
    assert_eq!(verified, (true, String::new()));
    let files = units(directory.path(), |unit| unit.replace("NoNewPrivileges", "NoNewPrivilege"));
    let (_, control) = said("systemd-analyze", &VERIFY, &files).expect("installed");
    assert!(control.contains("NoNewPrivilege"), "the control: {control:?}");
}

#[test]
fn systemd_makes_both_users() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("usr/lib/sysusers.d");
    std::fs::create_dir_all(&folder).expect("a directory");
    std::fs::create_dir(directory.path().join("etc")).expect("a directory");
    std::fs::copy(packaging().join("rederive.sysusers"), folder.join("rederive.conf")).expect("copied");
    let root = format!("--root={}", directory.path().display());
    let Some((_, users)) = said("systemd-sysusers", &["--dry-run", &root], &[]) else { return };
    for user in ["rederive", "rederive-hsm"] {
        assert!(users.contains(&format!("Creating user '{user}'")), "{users}");
    }
}
