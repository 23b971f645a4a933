// What report.py is for Python: where the store is, and one JSON line for each call.
import { createHash } from "node:crypto";

const given = process.env;
export const place = {
  endpoint: given.AWS_ENDPOINT_URL,
  host: given.AWS_ENDPOINT_URL.split("://")[1],
  accessKey: given.AWS_ACCESS_KEY_ID,
  secretKey: given.AWS_SECRET_ACCESS_KEY,
  token: given.AWS_SESSION_TOKEN || undefined,
  bucket: given.MATRIX_BUCKET,
  folder: given.MATRIX_FOLDER,
};

// What a server invents for each request, and what tells of the request rather than of its answer.
const INVENTED = new Set([
  "UploadId", "VersionId", "DeleteMarkerVersionId", "uploadId", "versionId", "requestId", "extendedRequestId", "cfId", "attempts", "totalRetryDelay",
  "x-amz-request-id", "x-minio-gw-backend-request-id", "amzRequestid", "requestid", "hostid", "amzId2", "server", "date",
]);

export function start(client, version) {
  console.log(JSON.stringify({ client, version }));
}

export async function call(name, run, fails = "") {
  let ok, answer;
  try {
    answer = plain(await run());
    ok = !fails;
  } catch (error) {
    const code = error.Code ?? error.code ?? error.name;
    const status = error.$metadata?.httpStatusCode ?? 0;
    answer = { Error: { Code: String(code) }, ResponseMetadata: { HTTPStatusCode: status } };
    ok = Boolean(fails) && String(code) === fails;
  }
  console.log(JSON.stringify({ call: name, ok, answer }));
}

function plain(value, name = "") {
  if (INVENTED.has(name) && value !== undefined) return "(invented)";
  if (value instanceof Uint8Array) return `${value.length} bytes, sha256 ${createHash("sha256").update(value).digest("hex").slice(0, 16)}`;
  if (value instanceof Date) return "(time)";
  if (Array.isArray(value)) return value.map((one) => plain(one));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).filter(([n, v]) => v !== undefined && !n.startsWith("seaweed-")).map(([n, v]) => [n, plain(v, n)]));
  }
  return typeof value === "string" ? value.replaceAll(place.endpoint, "(endpoint)").replaceAll(place.host, "(host)").replaceAll(place.bucket, "(bucket)") : value ?? null;
}
