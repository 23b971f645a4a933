// The AWS SDK for JavaScript with nothing but the environment: each line on standard input is one call, answered by one line.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.MATRIX_MODULES}/`);
const { S3Client, ListBucketsCommand } = require("@aws-sdk/client-s3");
const s3 = new S3Client({ forcePathStyle: true });
for await (const _ of createInterface({ input: process.stdin })) {
  await s3.send(new ListBucketsCommand({}));
  console.log((await s3.config.credentials()).accessKeyId);
}
