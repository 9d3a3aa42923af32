"""Signs a request with Signature V2 by boto3, without sending it, and prints it as a call of /v1/verify.

Arguments: `get`, `put`, `presigned`, `virtual`, `form`, `query` or `post`.
"""

import base64
import json
import sys
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV2Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config

kind = sys.argv[1]
session = boto3.Session()


def call_of(method, url, headers, body, service):
    url = urlsplit(url)
    headers = [[name, value.decode() if isinstance(value, bytes) else str(value)] for name, value in headers]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.append(["Host", url.netloc])
    target = url.path + (f"?{url.query}" if url.query else "")
    call = {"method": method, "target": target, "headers": headers, "expect": {"service": service, "region": None}}
    if body is not None:
        call["body"] = base64.b64encode(body).decode()
    return call


def s3(style="path"):
    config = Config(signature_version="s3", s3={"addressing_style": style})
    return session.client("s3", endpoint_url="http://s3.example.test:8080", config=config)


if kind in ("presigned", "virtual"):
    client = s3("path" if kind == "presigned" else "virtual")
    parameters = {"Bucket": "b", "Key": "a key/+ü", "ResponseContentType": "text/plain; a=1&b=2", "VersionId": "v"}
    url = client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=600)
    call = call_of("GET", url, [], None, "s3")
elif kind == "form":
    post = s3().generate_presigned_post("b", "up/${filename}", ExpiresIn=600)
    call = call_of("POST", post["url"], [("Content-Type", "multipart/form-data; boundary=b")], None, "s3")
    call["form"] = {"fields": list(post["fields"].items()), "file_name": "a.txt"}
elif kind in ("query", "post"):
    parameters = {"Action": "ReceiveMessage", "Version": "2012-11-05", "QueueUrl": "q a", "Attribute.1": "All"}
    request = AWSRequest(method="POST", url="http://sqs.example.test:8080/q", data=parameters)
    SigV2Auth(session.get_credentials()).add_auth(request)
    prepared = request.prepare()
    body = prepared.body if isinstance(prepared.body, bytes) else prepared.body.encode()
    if kind == "query":
        # The same parameters in the URL are another string to sign: the method is part of it.
        request = AWSRequest(method="GET", url="http://sqs.example.test:8080/q", params=parameters)
        SigV2Auth(session.get_credentials()).add_auth(request)
        prepared, body = request.prepare(), None
    call = call_of(prepared.method, prepared.url, prepared.headers.items(), body, "sqs")
else:
    caught = []

    def catch(request, **_):
        caught.append(request)
        return AWSResponse(request.url, 200, {}, None)

    client = s3()
    client.meta.events.register("before-send.s3.*", catch)
    try:
        if kind == "put":
            client.put_object(Bucket="b", Key="a key/+ü", Body=b"hello", Metadata={"colour": "blue"})
        else:
            client.get_object(Bucket="b", Key="a key/+ü", VersionId="v")
    except Exception:
        pass  # the answer is empty; the request is what counts
    request = caught[0]
    body = request.body
    if hasattr(body, "read"):
        body.seek(0)
        body = body.read()
    call = call_of(request.method, request.url, request.headers.items(), body or b"", "s3")
print(json.dumps(call))
