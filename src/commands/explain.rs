//! `rederive explain`: why a signed request is accepted or refused, offline, by the same core that decides online.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rederive::explain::{Decision, ExplainOptions, Explanation, explain};
use zeroize::Zeroizing;

use super::{Failure, now, output, unix_time};

#[derive(Args)]
pub struct Explain {
    /// The raw HTTP/1.1 request, head and body, lines ending in CRLF or LF; `-` for standard input
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// A file with the secret access key in one line; without it nothing can be accepted
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The time to judge by (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME", value_parser = unix_time)]
    at: Option<i64>,
    /// The service that is expected [default: the one of the credential scope]
    #[arg(long)]
    service: Option<String>,
    /// The region that is expected [default: the one of the credential scope]
    #[arg(long)]
    region: Option<String>,
    /// A name, with its port, that the service is known by: the signer may have used it. Can be given several times
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    hosts: Vec<String>,
    /// A file with the secret of another key, which may have been mistaken for this one. Can be given several times
    #[arg(long = "other-secret-file", value_name = "FILE")]
    other_secret_files: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Gives the exit status 2 for whatever keeps it from a verdict: 1 says that the request is refused.
    pub fn run(self) -> Result<ExitCode, Failure> {
        self.judge().or_else(|failure| {
            eprintln!("rederive: {failure}");
            Ok(ExitCode::from(2))
        })
    }

    fn judge(self) -> Result<ExitCode, Failure> {
        let request = read(&self.request)?;
        let secret = self.secret_file.as_deref().map(read_secret).transpose()?;
        let other_secrets =
            self.other_secret_files.iter().map(|path| read_secret(path)).collect::<Result<Vec<_>, _>>()?;
        let other_secrets: Vec<&[u8]> = other_secrets.iter().map(|secret| &secret[..]).collect();
        let options = ExplainOptions {
            secret: secret.as_deref().map(Vec::as_slice),
            at: self.at.unwrap_or_else(now),
            service: self.service.as_deref(),
            region: self.region.as_deref(),
            hosts: &self.hosts,
            other_secrets: &other_secrets,
        };
        let explanation = explain(&request, &options);
        match self.json {
            true => output::line(&serde_json::to_string(&explanation)?)?,
            false => output::text(&describe(&explanation))?,
        }
        Ok(ExitCode::from(match explanation.decision {
            Decision::Accept => 0,
            Decision::Refuse => 1,
            Decision::Undecided => 2,
        }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(|error| format!("cannot read the request {}: {error}", path.display()).into())
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = std::fs::read(path).map(Zeroizing::new);
    let bytes = bytes.map_err(|error| format!("cannot read the secret {}: {error}", path.display()))?;
    let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    if line.is_empty() {
        return Err(format!("the first line of {} is empty: it takes the secret access key", path.display()).into());
    }
    Ok(Zeroizing::new(line.to_vec()))
}

fn describe(explanation: &Explanation) -> String {
    let mut text = String::new();
    for (title, part) in
        [("Canonical request", &explanation.canonical_request), ("String to sign", &explanation.string_to_sign)]
    {
        if let Some(part) = part {
            text += &format!("{title}:\n{part}\n\n");
        }
    }
    for note in &explanation.notes {
        text += &format!("Note: {note}\n");
    }
    let verdict = match explanation.decision {
        Decision::Accept => "accept",
        Decision::Refuse => "refuse",
        Decision::Undecided => "undecided",
    };
    text += &format!("Verdict: {verdict}");
    let parts = [&explanation.code, &explanation.message];
    for part in parts.into_iter().flatten() {
        text += &format!(" - {part}");
    }
    text.push('\n');
    for deviation in &explanation.deviations {
        let same_as = match &deviation.same_as[..] {
            [] => String::new(),
            names => format!(", which is here the same as {}", names.join(", ")),
        };
        text += &format!("  {} [{}{same_as}]\n", deviation.message, deviation.name);
    }
    text
}
