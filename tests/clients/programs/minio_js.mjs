// minio-js: its client's calls on buckets, objects, parts, tags, policies and presigned URLs.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { call, place, start } from "./report.mjs";

const require = createRequire(`${process.env.MATRIX_MODULES}/`);
const minio = require("minio");
start("minio-js", JSON.parse(readFileSync(`${process.env.MATRIX_MODULES}/node_modules/minio/package.json`)).version);

const [endPoint, port] = place.host.split(":");
const client = new minio.Client({
  endPoint, port: Number(port), useSSL: false, accessKey: place.accessKey, secretKey: place.secretKey,
  sessionToken: place.token, region: "us-east-1", partSize: 5 * 2 ** 20,
});
const bucket = place.bucket;
const does = (method, args = [], label = "", fails = "") => call(`${method}${label}`, () => client[method](bucket, ...args), fails);
const big = Buffer.alloc(11 * 2 ** 20, "p");

const all = (stream) => new Promise((done, failed) => {
  const found = [];
  stream.on("data", (one) => found.push(one)).on("end", () => done(found)).on("error", failed);
});
const bytes = async (stream) => Buffer.concat(await all(stream));

await does("bucketExists", [], " before");
await does("makeBucket", ["us-east-1"]);
await does("bucketExists");
await call("listBuckets", async () => (await client.listBuckets()).filter((b) => b.name === bucket));
await does("putObject", ["k", "content", 7, { "Content-Type": "text/x", "x-amz-meta-a": "b" }]);
await does("putObject", ["ümläut +&?/日本", "awkward"], " awkward key");
await does("putObject", ["big", big], " in parts");
await does("statObject", ["k"]);
await does("statObject", ["absent"], " absent", "NotFound");
await call("getObject", async () => bytes(await client.getObject(bucket, "k")));
await call("getObject in parts", async () => bytes(await client.getObject(bucket, "big")));
await call("getObject awkward key", async () => bytes(await client.getObject(bucket, "ümläut +&?/日本")));
await call("getPartialObject", async () => bytes(await client.getPartialObject(bucket, "k", 1, 3)));
await does("getObject", ["absent"], " absent", "NoSuchKey");
writeFileSync(`${place.folder}/file`, big);
await does("fPutObject", ["file", `${place.folder}/file`, {}]);
await does("fGetObject", ["file", `${place.folder}/back`]);
await does("copyObject", ["copy", `/${bucket}/k`, new minio.CopyConditions()]);
await call("composeObject", () => client.composeObject(
  new minio.CopyDestinationOptions({ Bucket: bucket, Object: "composed" }),
  [new minio.CopySourceOptions({ Bucket: bucket, Object: "big" }), new minio.CopySourceOptions({ Bucket: bucket, Object: "k" })],
));
await call("listObjects", () => all(client.listObjects(bucket, "", true)));
await call("listObjectsV2", () => all(client.listObjectsV2(bucket, "", false)));
await call("listObjects versions", () => all(client.listObjects(bucket, "", true, { IncludeVersion: true })));
await call("listIncompleteUploads", () => all(client.listIncompleteUploads(bucket, "", true)));
await does("setObjectTagging", ["k", { a: "b c" }]);
await does("getObjectTagging", ["k"]);
await does("removeObjectTagging", ["k"]);
await does("setBucketTagging", [{ a: "b" }]);
await does("getBucketTagging");
await does("removeBucketTagging");
for (const [method, key, body] of [["PUT", "signed", "signed"], ["GET", "signed"], ["DELETE", "signed"]]) {
  await call(`presignedUrl ${method}`, async () => {
    const answer = await fetch(await client.presignedUrl(method, bucket, key, 60), { method, body });
    return [answer.status, await answer.text()];
  });
}
const policy = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Principal: "*", Action: ["s3:GetObject"], Resource: [`arn:aws:s3:::${bucket}/public/*`] }] };
await does("setBucketPolicy", [JSON.stringify(policy)]);
await does("getBucketPolicy");
await does("setBucketPolicy", [""], " none");
await does("getBucketVersioning");
await does("setBucketVersioning", [{ Status: "Enabled" }]);
await does("getBucketVersioning", [], " after");
await does("setBucketLifecycle", [{ Rule: [{ ID: "a", Status: "Enabled", Filter: { Prefix: "x/" }, Expiration: { Days: 3 } }] }]);
await does("getBucketLifecycle");
await does("removeBucketLifecycle");
await does("getBucketEncryption");
await does("getBucketNotification");
await does("getObjectLockConfig");
await does("removeObject", ["copy"]);
await does("removeObjects", [["k", "big", "file"]]);
await does("removeBucket", [], " not empty", "BucketNotEmpty");
process.stdout.write("", () => process.exit()); // kept connections would keep the process for two minutes
