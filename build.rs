//! Compiles `proto/` to Rust. protox stands in for `protoc`, so that a build needs no tool beside cargo.

use tonic_prost_build::manual::{Method, MethodBuilder, Service};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let verifier = protox::compile(["proto/rederive/v1/verifier.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // Its answers are not built as messages: see `verifier_server`.
        .build_server(false)
        .bytes(".rederive.v1")
        // It may hold a signing key: its Debug is ours, in `src/rpc/grpc.rs`.
        .skip_debug([".rederive.v1.Accept"])
        // Few acceptances have one, and it would make room for itself in all of them.
        .boxed(".rederive.v1.Accept.form")
        // A refusal is much smaller.
        .boxed(".rederive.v1.VerifyResponse.decision.accept")
        .boxed(".rederive.v1.Outcome.outcome.accept")
        // Few requests have one.
        .boxed(".rederive.v1.VerifyRequest.form")
        .compile_fds(verifier)?;
    verifier_server();
    let feed = protox::compile(["proto/rederive/v1/feed.proto"], ["proto"])?;
    let out = std::path::Path::new(&std::env::var("OUT_DIR")?).join("feed");
    std::fs::create_dir_all(&out)?;
    tonic_prost_build::configure().build_transport(false).out_dir(out).bytes(".rederive.v1").compile_fds(feed)?;
    Ok(())
}

/// The service of `verifier.proto`, with requests that are read from their bytes (`src/rpc/asked.rs`) and answers that are written as they
/// are (`src/rpc/written.rs`): to build an acceptance as a message first costs as much as to decide it.
fn verifier_server() {
    let one = method("verify", "Verify").build();
    let batch = method("verify_batch", "VerifyBatch").build();
    let stream = method("verify_stream", "VerifyStream").client_streaming().server_streaming().build();
    let service = Service::builder().name("Verifier").package("rederive.v1").method(one).method(batch).method(stream);
    tonic_prost_build::manual::Builder::new().build_client(false).build_transport(false).compile(&[service.build()]);
}

fn method(name: &str, route: &str) -> MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type("bytes::Bytes")
        .output_type("crate::rpc::written::Written")
        .codec_path("crate::rpc::written::Codec")
}
