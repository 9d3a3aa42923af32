//! `rederive dev`: everything on one machine, with no configuration.
//!
//! Its state directory is open to whoever looks: `rederive.toml` (works with every other command), `softhsm2.conf`, `pin`,
//! `tokens/` and `registry.sqlite`.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use rederive::authority::RootKey;
use rederive::config::Config;
use rederive::node::Node;
use rederive::registry::{Location, Registry};
use rederive::site::Site;
use rederive_hsm::access_key_id::Account;
use rederive_hsm::client::Status;
use rederive_hsm::config::KeyClass;
use rederive_hsm::softhsm::{self, Store};
use rederive_hsm::worker::AdminRequest;
use zeroize::Zeroizing;

use super::config_file::site;
use super::{Failure, block_on, feed, generation, now, output};

/// The account of every `dev`: the one of AWS's own examples.
const ACCOUNT: &str = "123456789012";
/// No region of AWS's, so that SDKs presign with Signature V4: for us-east-1 they still use V2.
const REGION: &str = "local";
/// The token's label.
const TOKEN: &str = "rederive-dev";

#[derive(Args)]
pub struct Dev {
    /// Where the IAM and STS endpoint listens; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180")]
    listen: SocketAddr,
    /// Where the verification RPC listens; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9181")]
    rpc_listen: SocketAddr,
    /// Where token, registry and configuration are kept [default: $XDG_STATE_HOME/rederive/dev]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print one JSON line on standard output when ready, instead of the text for people
    #[arg(long)]
    json: bool,
}

impl Dev {
    pub fn run(self) -> Result<(), Failure> {
        let state = self.state_directory()?;
        let _lock = lock(&state)?;
        let store = Store::prepare(&state)?;
        let site = site(self.configure(&state)?);
        block_on(async {
            let registry = set_up(&site, &state).await?;
            registry.close().await;
            let node = site.node().await?;
            let root = root_key(&node).await?;
            self.announce(&node, &root, &state)?;
            drop((root, store));
            node.run().await;
            Ok(())
        })
    }

    fn state_directory(&self) -> Result<PathBuf, Failure> {
        let state = match &self.state {
            Some(state) => state.clone(),
            None => default_state().ok_or("neither XDG_STATE_HOME nor HOME is set: say where with --state DIR")?,
        };
        std::fs::create_dir_all(&state).map_err(|error| format!("cannot make {}: {error}", state.display()))?;
        Ok(std::fs::canonicalize(&state)?)
    }

    /// Writes the configuration of this `dev` beside its state, and reads it as any other.
    fn configure(&self, state: &Path) -> Result<Config, Failure> {
        let module = softhsm::module()?;
        let text = config_text(state, &module, self.listen, self.rpc_listen);
        std::fs::write(state.join("rederive.toml"), &text)?;
        Ok(Config::load(&state.join("rederive.toml"))?)
    }

    fn announce(&self, node: &Node, root: &RootKey, state: &Path) -> Result<(), Failure> {
        let (id, secret) = (root.id.as_str(), root.secret.expose());
        let (endpoint, rpc_endpoint) = (node.endpoint().ok_or("dev is an issuer")?, node.rpc_endpoint());
        let text = if self.json {
            // Neither base64 nor the other values hold a character that JSON escapes.
            format!(
                "{{\"endpoint\":\"{endpoint}\",\"rpc_endpoint\":\"{rpc_endpoint}\",\"access_key_id\":\"{id}\",\
                 \"secret_access_key\":\"{secret}\",\"region\":\"{REGION}\",\"account\":\"{ACCOUNT}\"}}\n"
            )
        } else {
            format!(
                "\nrederive is ready. Its state is in {}\n\n\
                 In another terminal:\n\n  \
                 export AWS_ACCESS_KEY_ID={id}\n  \
                 export AWS_SECRET_ACCESS_KEY={secret}\n  \
                 export AWS_DEFAULT_REGION={REGION}\n  \
                 export AWS_ENDPOINT_URL={endpoint}\n\n  \
                 aws --endpoint-url {endpoint} sts get-caller-identity\n\n\
                 Verify signed requests at {rpc_endpoint}/v1/verify. Stop with Ctrl-C.\n\n",
                state.display()
            )
        };
        Ok(output::text(&Zeroizing::new(text))?)
    }
}

fn default_state() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("rederive/dev"))
}

/// Holds the state directory until dropped.
fn lock(state: &Path) -> Result<File, Failure> {
    let file = File::create(state.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(format!(
            "another 'rederive dev' runs on {}: stop it, or give this one its own place with --state DIR",
            state.display()
        )
        .into()),
    }
}

fn config_text(state: &Path, module: &Path, listen: SocketAddr, rpc_listen: SocketAddr) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    format!(
        "# Written by 'rederive dev' at each start.\n\
         state_dir = {state_dir}\n\n\
         [api]\nlisten = \"{listen}\"\nallow_plaintext = true\n\n\
         [rpc]\nlisten = \"{rpc_listen}\"\nanyone = {{ want_signing_key = true, explain = true }}\n\n\
         [[token]]\nname = \"{TOKEN}\"\nmodule = {module}\nlabel = \"{TOKEN}\"\npin_file = {pin}\n\
         environment = {{ SOFTHSM2_CONF = {conf} }}\n",
        state_dir = quoted(state),
        module = quoted(module),
        pin = quoted(&state.join("pin")),
        conf = quoted(&state.join("softhsm2.conf")),
    )
}

/// Token, generation 0 and the account, each made if it is missing. A set-up that was interrupted is begun anew, which
/// loses nothing: no key was issued before it was complete.
async fn set_up(site: &Site, state: &Path) -> Result<Registry, Failure> {
    let tokens = state.join("tokens");
    let location = site.registry()?;
    // Of a database it cannot be told whether its set-up was interrupted, or whether it is another one.
    let is_old = matches!(&location, Location::File(path) if path.exists());
    let lost = || {
        let text =
            "holds a token, but no registry: its keys cannot be looked after. To start anew, remove the directory";
        Failure::from(format!("{} {text}", state.display()))
    };
    if matches!(location, Location::File(_)) && !is_old && has_entries(&tokens)? {
        return Err(lost());
    }
    let (registry, _) = site.open_registry().await?;
    if registry.generations().await?.is_empty() {
        if !is_old && has_entries(&tokens)? {
            return Err(lost());
        }
        std::fs::remove_dir_all(&tokens)?;
        Store::prepare(state)?;
        let token = site.token(None)?;
        site.administrate(token, &AdminRequest::Initialise { token: site.token_config(token)? })?;
        generation::make(site, token, &registry, generation::Wanted::for_all(KeyClass::Strict)).await?;
    } else if let Err(failure) = feed::control_key(site, site.token(None)?) {
        // The state may be older than the feed. Nobody can have pinned a key that is not there.
        eprintln!("Note: the token has no control key, so verifiers cannot follow this issuer: {failure}");
    }
    let account = account();
    if !registry.account_exists(account).await? {
        registry.create_account(account, now()).await?;
    }
    Ok(registry)
}

fn has_entries(directory: &Path) -> Result<bool, std::io::Error> {
    Ok(std::fs::read_dir(directory)?.next().is_some())
}

async fn root_key(node: &Node) -> Result<RootKey, Failure> {
    match node.authority().hsm().settled().await {
        Status::Ready => {}
        Status::Latched(reason) | Status::Down(reason) => return Err(reason.into()),
        Status::Starting => return Err("the HSM worker did not start".into()),
    }
    node.authority().ask_for_tag_keys().await;
    node.authority().hsm().check().await;
    Ok(node.authority().fixed_root_key(account(), now()).await?)
}

fn account() -> Account {
    Account::parse(ACCOUNT).expect("twelve digits")
}
