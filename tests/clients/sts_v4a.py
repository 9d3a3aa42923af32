"""Asks STS who it is, and IAM too, with Signature V4A; prints the ARN and IAM's error code."""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

asymmetric = {"config": Config(signature_version="v4a")}
print(boto3.client("sts", **asymmetric).get_caller_identity()["Arn"])
try:
    boto3.client("iam", **asymmetric).get_user()
    print("accepted")
except ClientError as error:
    print(error.response["Error"]["Code"])
