"""An S3 client's life over minio-py, at the endpoint of the environment."""

import io
import json
import os
import urllib.request
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject

endpoint = urlsplit(os.environ["S3_ENDPOINT"])
secure = endpoint.scheme == "https"
pool = urllib3.PoolManager(ca_certs=os.environ.get("AWS_CA_BUNDLE"))
client = Minio(
    endpoint.netloc,
    os.environ["AWS_ACCESS_KEY_ID"],
    os.environ["AWS_SECRET_ACCESS_KEY"],
    secure=secure,
    region=os.environ["AWS_DEFAULT_REGION"],
    http_client=pool,
)
# minio-py refuses `..` itself.
keys = [key for key in json.loads((Path(__file__).parent / "keys.json").read_text()) if ".." not in key]
bucket = "minio-tls" if secure else "minio"
client.make_bucket(bucket)
assert client.bucket_exists(bucket)

for key in keys:
    body = f"content of {key}".encode()
    client.put_object(bucket, key, io.BytesIO(body), len(body), metadata={"colour": "blue"})
    assert client.get_object(bucket, key).read() == body, key
    assert client.stat_object(bucket, key).size == len(body), key
    url = client.presigned_get_object(bucket, key, expires=timedelta(minutes=1))
    assert pool.request("GET", url).data == body or secure, url
    put = client.presigned_put_object(bucket, key, expires=timedelta(minutes=1))
    assert pool.request("PUT", put, body=b"presigned").status == 200, put
    assert client.get_object(bucket, key).read() == b"presigned", key

assert sorted(entry.object_name for entry in client.list_objects(bucket, recursive=True)) == sorted(keys)
large = os.urandom(6 * 1024 * 1024)
client.put_object(bucket, "large+ file", io.BytesIO(large), -1, part_size=5 * 1024 * 1024)
assert client.get_object(bucket, "large+ file").read() == large

errors = client.remove_objects(bucket, [DeleteObject(key) for key in keys])
assert not list(errors)
client.remove_object(bucket, "large+ file")
assert not list(client.list_objects(bucket, recursive=True))
client.remove_bucket(bucket)
