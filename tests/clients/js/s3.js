// An S3 client's life over the AWS SDK for JavaScript v3, at the endpoint of the environment.

import assert from "node:assert";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const client = new s3.S3Client({ endpoint: process.env.S3_ENDPOINT, forcePathStyle: true, maxAttempts: 1 });
const keys = JSON.parse(readFileSync(new URL("../keys.json", import.meta.url)));
const Bucket = "javascript";
const send = (command, input) => client.send(new s3[`${command}Command`]({ Bucket, ...input }));
const content = async (Key) => Buffer.from(await (await send("GetObject", { Key })).Body.transformToByteArray());

await send("CreateBucket", {});
for (const Key of keys) {
  const body = `content of ${Key}`;
  await send("PutObject", { Key, Body: body, Metadata: { colour: "blue" } });
  assert.equal(String(await content(Key)), body);
  assert.equal((await send("HeadObject", { Key })).Metadata.colour, "blue");
  const url = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key }), { expiresIn: 60 });
  const answer = await fetch(url);
  // fetch itself takes `..` out of a path.
  assert.ok(Key.includes("..") || (await answer.text()) === body, url);
}

const listed = await send("ListObjectsV2", { MaxKeys: 1000 });
assert.deepEqual(listed.Contents.map((entry) => entry.Key).sort(), [...keys].sort());

// Of a stream nobody knows the hash before: it comes in chunks, with its checksum in the trailer.
const stream = Readable.from([Buffer.alloc(20000, "a"), Buffer.alloc(9, "b")]);
await send("PutObject", { Key: "stream", Body: stream, ContentLength: 20009 });
assert.equal((await content("stream")).length, 20009);

const large = randomBytes(11 * 1024 * 1024);
await new Upload({ client, params: { Bucket, Key: "large file+", Body: Readable.from([large]) } }).done();
assert.ok(large.equals(await content("large file+")));

await send("DeleteObjects", { Delete: { Objects: keys.map((Key) => ({ Key })) } });
await send("DeleteObject", { Key: "stream" });
await send("DeleteObject", { Key: "large file+" });
assert.equal((await send("ListObjectsV2", {})).KeyCount, 0);
await send("DeleteBucket", {});
