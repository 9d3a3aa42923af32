//! A command that makes a key: with a worker of its own, beside a node that may run.

use std::sync::Arc;

use rederive::authority::Authority;
use rederive::site::Site;
use rederive_hsm::client::Status;
use tokio::task::JoinHandle;

use super::Failure;

/// The authority of a site for the time of one command.
pub struct Issuer {
    pub authority: Arc<Authority>,
    supervisor: JoinHandle<()>,
}

impl Issuer {
    /// Its worker is starting.
    pub async fn start(site: &Site) -> Result<Self, Failure> {
        let (authority, supervisor) = site.authority().await?;
        Ok(Self { authority, supervisor })
    }

    /// Waits until its worker can make keys.
    pub async fn ready(&self) -> Result<(), Failure> {
        match self.authority.hsm().settled().await {
            Status::Ready => Ok(()),
            Status::Down(reason) | Status::Latched(reason) => Err(reason.into()),
            Status::Starting => Err("the HSM worker did not start".into()),
        }
    }

    /// Lets the worker end.
    pub async fn stop(self) -> Result<(), Failure> {
        self.authority.hsm().stop().await;
        Ok(self.supervisor.await?)
    }
}
