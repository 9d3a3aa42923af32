"""An S3 client's life over boto3, at the endpoint of the environment."""

import hashlib
import io
import json
import os
import urllib.request
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=config)
keys = json.loads((Path(__file__).parent / "keys.json").read_text())
bucket = "boto3"
s3.create_bucket(Bucket=bucket)

for key in keys:
    body = f"content of {key}".encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"colour": "blue"}, ContentType="text/x-test")
    answer = s3.get_object(Bucket=bucket, Key=key)
    assert answer["Body"].read() == body and answer["Metadata"] == {"colour": "blue"}, key
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(body), key
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
    if url.startswith("http:"):
        assert urllib.request.urlopen(url).read() == body, url

pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
assert sorted(entry["Key"] for page in pages for entry in page["Contents"]) == sorted(keys)
listed = s3.list_objects_v2(Bucket=bucket, Prefix="a folder/", Delimiter="/")
assert [entry["Key"] for entry in listed["Contents"]] == ["a folder/with blanks"], listed
assert "up/" in [group["Prefix"] for group in s3.list_objects_v2(Bucket=bucket, Delimiter="/")["CommonPrefixes"]]

for algorithm in ["CRC32", "SHA1", "SHA256"]:
    s3.put_object(Bucket=bucket, Key="sum", Body=io.BytesIO(b"summed"), ChecksumAlgorithm=algorithm)

large = os.urandom(11 * 1024 * 1024)
transfer = TransferConfig(multipart_threshold=5 * 1024 * 1024, multipart_chunksize=5 * 1024 * 1024)
s3.upload_fileobj(io.BytesIO(large), bucket, "large file+", Config=transfer)
assert hashlib.sha256(s3.get_object(Bucket=bucket, Key="large file+")["Body"].read()).digest() == hashlib.sha256(large).digest()
assert s3.get_object(Bucket=bucket, Key="large file+", Range="bytes=5-9")["Body"].read() == large[5:10]

s3.copy_object(Bucket=bucket, Key="copy of ü", CopySource={"Bucket": bucket, "Key": "ünï/鍵/🔑"})
assert s3.get_object(Bucket=bucket, Key="copy of ü")["Body"].read() == "content of ünï/鍵/🔑".encode()

deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})["Deleted"]
assert len(deleted) == len(keys)
for key in ["sum", "large file+", "copy of ü"]:
    s3.delete_object(Bucket=bucket, Key=key)
assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
s3.delete_bucket(Bucket=bucket)

wrong = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=config, aws_secret_access_key="A" * 40,
                     aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"])
try:
    wrong.list_buckets()
    raise AssertionError("another secret was let in")
except ClientError as error:
    assert error.response["Error"]["Code"] == "SignatureDoesNotMatch", error
