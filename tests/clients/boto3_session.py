"""A user's life over boto3, with the key and endpoint of the environment."""

import boto3
from botocore.exceptions import ClientError

iam, sts = boto3.client("iam"), boto3.client("sts")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response
    raise AssertionError(f"{call} was not refused with {code}")


answer = sts.get_caller_identity()
assert answer["Arn"].endswith(":root"), answer
assert answer["ResponseMetadata"]["RequestId"] == answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]

user = iam.create_user(UserName="Dora", Path="/team/", Tags=[{"Key": "a", "Value": "b c"}])["User"]
assert user["Arn"] == "arn:aws:iam::123456789012:user/team/Dora" and len(user["UserId"]) == 21, user
refused("EntityAlreadyExists", iam.create_user, UserName="dora")
assert iam.get_user(UserName="Dora")["User"]["CreateDate"] == user["CreateDate"]

key = iam.create_access_key(UserName="Dora")["AccessKey"]
assert key["Status"] == "Active" and len(key["SecretAccessKey"]) == 40
own = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
assert boto3.client("sts", **own).get_caller_identity()["UserId"] == user["UserId"]
refused("AccessDenied", boto3.client("iam", **own).get_user)
iam.attach_user_policy(UserName="Dora", PolicyArn="arn:aws:iam::aws:policy/IAMSelfManageAccessKeys")
assert boto3.client("iam", **own).get_user()["User"]["UserName"] == "Dora"

for number in range(7):
    iam.create_user(UserName=f"page{number}")
names = [u["UserName"] for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 3}) for u in page["Users"]]
assert len(names) == 8 and len(set(names)) == 8, names
assert [u["UserName"] for u in iam.list_users(PathPrefix="/team/")["Users"]] == ["Dora"]

refused("NoSuchEntity", iam.list_access_keys, UserName="nobody")
refused("ValidationError", iam.create_user, UserName="no spaces")
iam.update_access_key(UserName="Dora", AccessKeyId=key["AccessKeyId"], Status="Inactive")
response = refused("InvalidClientTokenId", boto3.client("sts", **own).get_caller_identity)
assert response["ResponseMetadata"]["HTTPStatusCode"] == 403
