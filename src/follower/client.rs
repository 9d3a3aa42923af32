//! The connection to an issuer: its deny feed, over gRPC.

use std::time::Duration;

use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::feed_head::FeedHead;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Streaming};

use crate::config::Issuer;
use crate::feed::{Chain, Epoch, NotSigned, PublicKey, SignedHead};
use crate::rpc::v1;
use crate::rpc::v1::deny_feed_client::DenyFeedClient;
use crate::site::Failure;

const CONNECT: Duration = Duration::from_secs(2);
/// How long a report may take.
const REPORT: Duration = Duration::from_secs(5);
/// A message of the feed is a thousand entries at most.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// An issuer as it is configured.
pub(super) struct Remote {
    pub url: String,
    endpoint: Endpoint,
    token: Option<MetadataValue<Ascii>>,
}

/// An open connection.
#[derive(Clone)]
pub(super) struct Connection {
    client: DenyFeedClient<Channel>,
    token: Option<MetadataValue<Ascii>>,
}

impl Remote {
    /// Reads certificates, key and token.
    pub fn new(issuer: &Issuer) -> Result<Self, Failure> {
        let failed = |what: &str, error: String| format!("[[issuer]] {} {what}: {error}", issuer.url);
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| failed(&path.display().to_string(), error.to_string()))
        };
        let mut endpoint = Endpoint::from_shared(issuer.url.clone())?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5));
        if let Some(ca) = &issuer.ca {
            let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
            if let (Some(cert), Some(key)) = (&issuer.tls_cert, &issuer.tls_key) {
                tls = tls.identity(Identity::from_pem(read(cert)?, zeroize::Zeroizing::new(read(key)?)));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| failed("ca, tls_cert, tls_key", error.to_string()))?;
        }
        let token = match &issuer.token_file {
            None => None,
            Some(path) => {
                let text = zeroize::Zeroizing::new(read(path)?);
                let line = zeroize::Zeroizing::new([b"Bearer ", text.trim_ascii()].concat());
                let mut token = MetadataValue::try_from(&line[..])
                    .map_err(|_| failed("token_file", "does not hold one line of visible ASCII characters".into()))?;
                token.set_sensitive(true);
                Some(token)
            }
        };
        Ok(Self { url: issuer.url.clone(), endpoint, token })
    }

    pub async fn connect(&self) -> Result<Connection, Failure> {
        let channel = self.endpoint.connect().await?;
        let client = DenyFeedClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        Ok(Connection { client, token: self.token.clone() })
    }
}

impl Connection {
    /// The feed after a position; from its beginning for one who has nothing.
    pub async fn watch(&mut self, after: Option<(Epoch, Chain)>) -> Result<Streaming<v1::DenialBatch>, tonic::Status> {
        let request = match after {
            None => v1::WatchDenialsRequest::default(),
            Some((epoch, chain)) => v1::WatchDenialsRequest {
                epoch: epoch.to_vec().into(),
                after: chain.number.unsigned_abs(),
                hash: chain.hash.to_vec().into(),
            },
        };
        let request = self.request(request);
        Ok(self.client.watch_denials(request).await?.into_inner())
    }

    /// Reports ids; gives those that nobody issued.
    pub async fn report(&mut self, ids: &[AccessKeyId]) -> Result<Vec<String>, tonic::Status> {
        let access_key_ids = ids.iter().map(ToString::to_string).collect();
        let mut request = self.request(v1::ReportKeysRequest { access_key_ids });
        request.set_timeout(REPORT);
        Ok(self.client.report_keys(request).await?.into_inner().denied)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }
}

/// A head as it came, its signature checked.
pub(super) fn signed_head(head: &v1::SignedHead, pinned: &[PublicKey]) -> Option<Result<SignedHead, NotSigned>> {
    let told = FeedHead {
        epoch: head.epoch[..].try_into().ok()?,
        number: head.number,
        hash: head.hash[..].try_into().ok()?,
        time: head.time,
    };
    let (public_key, signature) = (head.public_key[..].try_into().ok()?, head.signature[..].try_into().ok()?);
    Some(SignedHead::check(told, public_key, signature, pinned))
}
