//! An S3 client's life over the AWS SDK for Rust, at the endpoint of the environment.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BUCKET: &str = "rust";

fn client() -> Outcome<Client> {
    let set = |name: &str| std::env::var(name);
    let (id, secret) = (set("AWS_ACCESS_KEY_ID")?, set("AWS_SECRET_ACCESS_KEY")?);
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new(id, secret, None, None, "environment"))
        .region(Region::new(set("AWS_DEFAULT_REGION")?))
        .endpoint_url(set("S3_ENDPOINT")?)
        .force_path_style(true)
        .build();
    Ok(Client::from_conf(config))
}

async fn content(client: &Client, key: &str) -> Outcome<Vec<u8>> {
    Ok(client.get_object().bucket(BUCKET).key(key).send().await?.body.collect().await?.to_vec())
}

async fn one(client: &Client, key: &str) -> Outcome<()> {
    let body = format!("content of {key}").into_bytes();
    client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.clone())).send().await?;
    assert_eq!(content(client, key).await?, body);
    let presigning = PresigningConfig::expires_in(Duration::from_secs(60))?;
    let presigned = client.get_object().bucket(BUCKET).key(key).presigned(presigning).await?;
    let url = presigned.uri().to_owned();
    let got = tokio::task::spawn_blocking(move || ureq::get(&url).call()?.body_mut().read_to_vec()).await??;
    assert_eq!(got, body, "{key}");
    Ok(())
}

async fn multipart(client: &Client) -> Outcome<()> {
    let (key, part) = ("large file+", vec![7; 5 * 1024 * 1024]);
    let begun = client.create_multipart_upload().bucket(BUCKET).key(key).send().await?;
    let id = begun.upload_id().expect("an id");
    let mut parts = CompletedMultipartUpload::builder();
    for number in 1..=2 {
        let upload = client.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number);
        let uploaded = upload.body(ByteStream::from(part.clone())).send().await?;
        parts = parts.parts(CompletedPart::builder().part_number(number).e_tag(uploaded.e_tag().expect("one")).build());
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id);
    complete.multipart_upload(parts.build()).send().await?;
    assert_eq!(content(client, key).await?, [part.clone(), part].concat());
    client.delete_object().bucket(BUCKET).key(key).send().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let client = client()?;
    let keys: Vec<String> = serde_json::from_str(include_str!("../../keys.json"))?;
    client.create_bucket().bucket(BUCKET).send().await?;
    for key in &keys {
        one(&client, key).await?;
    }
    let listed = client.list_objects_v2().bucket(BUCKET).send().await?;
    let mut found: Vec<_> = listed.contents().iter().filter_map(|entry| entry.key().map(str::to_owned)).collect();
    let mut expected = keys.clone();
    (found.sort(), expected.sort());
    assert_eq!(found, expected);
    multipart(&client).await?;
    for key in &keys {
        client.delete_object().bucket(BUCKET).key(key).send().await?;
    }
    assert_eq!(client.list_objects_v2().bucket(BUCKET).send().await?.key_count(), Some(0));
    client.delete_bucket().bucket(BUCKET).send().await?;
    Ok(())
}
