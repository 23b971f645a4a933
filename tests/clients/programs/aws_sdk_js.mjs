// AWS SDK for JavaScript v3: objects, streams, parts, tags, listings, copies and presigned URLs.
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { call, place, start } from "./report.mjs";

const require = createRequire(`${process.env.MATRIX_MODULES}/`);
const sdk = require("@aws-sdk/client-s3");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");
start("AWS SDK for JavaScript", require("@aws-sdk/client-s3/package.json").version);

const s3 = new sdk.S3Client({
  endpoint: place.endpoint, region: "us-east-1", forcePathStyle: true, maxAttempts: 1,
  credentials: { accessKeyId: place.accessKey, secretAccessKey: place.secretKey, sessionToken: place.token },
});
const Bucket = place.bucket;
const send = (name, input = {}) => s3.send(new sdk[`${name}Command`]({ Bucket, ...input }));
const does = (name, input, label = "", fails = "") => call(`${name}${label}`, () => send(name, input), fails);
const big = Buffer.alloc(5 * 2 ** 20, "p");

await does("CreateBucket", {});
await does("HeadBucket", {});
await does("PutObject", { Key: "k", Body: "content", ContentType: "text/x", Metadata: { a: "b c" }, Tagging: "t=1" });
await does("PutObject", { Key: "ümläut +&?/日本", Body: "awkward" }, " awkward key");
await does("PutObject", { Key: "stream", Body: Readable.from([Buffer.from("a"), Buffer.from("b")]), ContentLength: 2 }, " stream");
for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
  await does("PutObject", { Key: "sum", Body: "checked", ChecksumAlgorithm }, ` ${ChecksumAlgorithm}`);
  await does("HeadObject", { Key: "sum", ChecksumMode: "ENABLED" }, ` ${ChecksumAlgorithm}`);
}
await does("PutObject", { Key: "k", Body: "again", IfNoneMatch: "*" }, " if none", "PreconditionFailed");
await call("GetObject", async () => (await send("GetObject", { Key: "k" })).Body.transformToByteArray());
await call("GetObject awkward key", async () => (await send("GetObject", { Key: "ümläut +&?/日本" })).Body.transformToString());
await call("GetObject range", async () => (await send("GetObject", { Key: "k", Range: "bytes=1-3" })).Body.transformToString());
await call("GetObject stream", async () => (await send("GetObject", { Key: "stream" })).Body.transformToString());
await does("GetObject", { Key: "absent" }, " absent", "NoSuchKey");
await does("HeadObject", { Key: "k" });
await does("HeadObject", { Key: "absent" }, " absent", "NotFound");
await does("GetObjectAttributes", { Key: "k", ObjectAttributes: ["ETag", "ObjectSize"] });
await does("GetObjectTagging", { Key: "k" });
await does("PutObjectTagging", { Key: "k", Tagging: { TagSet: [{ Key: "a", Value: "b" }] } });
await does("DeleteObjectTagging", { Key: "k" });
await does("GetObjectAcl", { Key: "k" });
await does("CopyObject", { Key: "copy", CopySource: `${Bucket}/k` });
await does("CopyObject", { Key: "copy", CopySource: `${Bucket}/${encodeURIComponent("ümläut +&?/日本")}` }, " awkward key");
await does("ListObjectsV2", {});
await does("ListObjectsV2", { Delimiter: "/", MaxKeys: 1 }, " folders");
await does("ListObjects", {});
await does("ListObjectVersions", {});
await call("paginateListObjectsV2", async () => {
  const keys = [];
  for await (const page of sdk.paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket })) keys.push(...page.Contents.map((o) => o.Key));
  return keys;
});
await call("ListBuckets", async () => (await s3.send(new sdk.ListBucketsCommand({ Prefix: Bucket }))).Buckets);
const { UploadId } = await send("CreateMultipartUpload", { Key: "parts" });
const one = await send("UploadPart", { Key: "parts", UploadId, PartNumber: 1, Body: big });
const two = await send("UploadPartCopy", { Key: "parts", UploadId, PartNumber: 2, CopySource: `${Bucket}/k` });
await does("ListParts", { Key: "parts", UploadId });
await does("ListMultipartUploads", {});
const Parts = [{ PartNumber: 1, ETag: one.ETag }, { PartNumber: 2, ETag: two.CopyPartResult.ETag }];
await does("CompleteMultipartUpload", { Key: "parts", UploadId, MultipartUpload: { Parts } });
await call("GetObject parts", async () => (await send("GetObject", { Key: "parts" })).Body.transformToByteArray());
await does("AbortMultipartUpload", { Key: "parts", UploadId: "none" }, " absent");
for (const [method, input, name] of [["PUT", { Key: "signed", Body: "signed" }, "PutObject"], ["GET", { Key: "signed" }, "GetObject"], ["HEAD", { Key: "signed" }, "HeadObject"], ["DELETE", { Key: "signed" }, "DeleteObject"]]) {
  await call(`getSignedUrl ${name}`, async () => {
    const url = await getSignedUrl(s3, new sdk[`${name}Command`]({ Bucket, ...input }), { expiresIn: 60 });
    const answer = await fetch(url, { method, body: method === "PUT" ? "signed" : undefined });
    return [answer.status, await answer.text()];
  });
}
await does("PutBucketVersioning", { VersioningConfiguration: { Status: "Enabled" } });
await does("GetBucketVersioning", {});
await does("GetBucketLocation", {});
await does("PutBucketCors", { CORSConfiguration: { CORSRules: [{ AllowedMethods: ["GET"], AllowedOrigins: ["*"] }] } });
await does("GetBucketCors", {});
await does("GetBucketPolicy", {}, "", "NoSuchBucketPolicy");
await does("GetBucketLifecycleConfiguration", {}, "", "NoSuchLifecycleConfiguration");
await call("waitUntilObjectExists", () => sdk.waitUntilObjectExists({ client: s3, maxWaitTime: 20 }, { Bucket, Key: "k" }));
await does("DeleteObjects", { Delete: { Objects: [{ Key: "k" }, { Key: "a&<b>" }] } });
await does("DeleteObject", { Key: "sum" });
await does("DeleteBucket", {}, " not empty", "BucketNotEmpty");
process.stdout.write("", () => process.exit()); // kept connections would keep the process for two minutes
