//! Compiles `proto/` to Rust. protox stands in for `protoc`, so that a build needs no tool beside cargo.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/rederive/v1/feed.proto", "proto/rederive/v1/verifier.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".rederive.v1")
        // It may hold a signing key: its Debug is ours, in `src/rpc/grpc.rs`.
        .skip_debug([".rederive.v1.Accept"])
        // Few acceptances have one, and it would make room for itself in all of them.
        .boxed(".rederive.v1.Accept.form")
        // A refusal is much smaller.
        .boxed(".rederive.v1.VerifyResponse.decision.accept")
        .boxed(".rederive.v1.Outcome.outcome.accept")
        .compile_fds(files)?;
    Ok(())
}
