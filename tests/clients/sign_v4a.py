"""Signs an S3 request with Signature V4A, by AWS's own signer, and prints it as a call of /v1/verify.

Arguments: `header`, `presigned`, `chunks` or `chunks-and-trailer`; a region set; the service.
"""

import base64
import datetime
import json
import os
import sys

from awscrt import auth, http, io

kind, region_set, service = sys.argv[1:4]
body = b"hello" if kind == "header" else b""
method = "GET" if kind == "presigned" else "PUT"
headers = [("Host", "s3.example.test:8080"), ("x-amz-meta-colour", "blue")]
path = "/b/a%20key/%2B"
if kind.startswith("chunks"):
    headers += [("x-amz-decoded-content-length", "70000"), ("Content-Encoding", "aws-chunked")]
if kind == "chunks-and-trailer":
    headers.append(("x-amz-trailer", "x-amz-checksum-crc32"))
if kind == "presigned":
    headers = headers[:1]

provider = auth.AwsCredentialsProvider.new_static(
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
)
signed_body_values = {
    "chunks": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "chunks-and-trailer": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
}
when = datetime.datetime.now(datetime.timezone.utc)


def config(signature_type, **more):
    return auth.AwsSigningConfig(
        algorithm=auth.AwsSigningAlgorithm.V4_ASYMMETRIC,
        signature_type=signature_type,
        credentials_provider=provider,
        region=region_set,
        service=service,
        date=when,
        use_double_uri_encode=False,
        should_normalize_uri_path=False,
        **more,
    )


stream = io.InputStream(__import__("io").BytesIO(body)) if body else None
request = http.HttpRequest(method, path, http.HttpHeaders(headers), stream)
if kind == "presigned":
    signing = config(
        auth.AwsSignatureType.HTTP_REQUEST_QUERY_PARAMS, expiration_in_seconds=600, signed_body_value="UNSIGNED-PAYLOAD"
    )
else:
    signing = config(
        auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        signed_body_value=signed_body_values.get(kind),
        signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
signed = auth.aws_sign_request(request, signing).result(10)
call = {
    "method": method,
    "target": signed.path,
    "headers": [list(pair) for pair in signed.headers],
    "expect": {"service": service, "region": None},
}
if body:
    call["body"] = base64.b64encode(body).decode()
print(json.dumps(call))
