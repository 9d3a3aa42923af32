"""Signs an S3 request with boto3, without sending it, and prints it as a call of /v1/verify."""

import base64
import json
import sys
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

kind = sys.argv[1]
s3 = boto3.client(
    "s3",
    endpoint_url="http://s3.example.test:8080",
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
)
if kind == "presigned":
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "a key/+ü"}, ExpiresIn=600))
    call = {"method": "GET", "target": f"{url.path}?{url.query}", "headers": [["Host", url.netloc]]}
elif kind == "form":
    post = s3.generate_presigned_post(
        "b",
        "up/${filename}",
        Fields={"acl": "private"},
        Conditions=[{"acl": "private"}, ["content-length-range", 1, 100]],
        ExpiresIn=600,
    )
    call = {
        "method": "POST",
        "target": "/b",
        "headers": [["Host", "s3.example.test:8080"], ["Content-Type", "multipart/form-data; boundary=b"]],
        "form": {"fields": list(post["fields"].items()), "file_name": "a.txt"},
    }
else:
    caught = []

    def catch(request, **_):
        caught.append(request)
        return AWSResponse(request.url, 200, {}, None)

    s3.meta.events.register("before-send.s3.*", catch)
    try:
        if kind == "put":
            s3.put_object(Bucket="b", Key="a key/+ü", Body=b"hello", Metadata={"colour": "blue"})
        else:
            s3.list_objects_v2(Bucket="b", Prefix="x y/", Delimiter="/")
    except Exception:
        pass  # the answer is empty; the request is what counts
    request = caught[0]
    url = urlsplit(request.url)
    headers = [[k, v.decode() if isinstance(v, bytes) else str(v)] for k, v in request.headers.items()]
    if not any(k.lower() == "host" for k, _ in headers):
        headers.append(["Host", url.netloc])
    call = {"method": request.method, "target": url.path + (f"?{url.query}" if url.query else ""), "headers": headers}
    body = request.body
    if hasattr(body, "read"):
        body.seek(0)
        body = body.read()
    call["body"] = base64.b64encode(body or b"").decode()
call["expect"] = {"service": "s3", "region": None}
print(json.dumps(call))
