// The certified npm oidc-provider: one client by client_credentials, one for people. Prints its issuer when it listens.
// node server.mjs PORT MODULES [JWKS]: JWKS is a file with its private keys; it signs with the first.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[3] + "/package.json");
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);
const issuer = `http://127.0.0.1:${process.argv[2]}`;
const keys = process.argv[4] ? { jwks: JSON.parse(readFileSync(process.argv[4], "utf8")) } : {};

const provider = new Provider(issuer, {
  ...keys,
  clients: [
    {
      client_id: "certified",
      client_secret: "certified-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: "web",
      client_secret: "web-secret",
      grant_types: ["authorization_code"],
      redirect_uris: ["http://127.0.0.1/callback"],
      response_types: ["code"],
    },
  ],
  scopes: ["openid", "s3"],
  cookies: { keys: ["a-key-of-the-tests"] },
  pkce: { required: () => false },
  // The policy is a claim of UserInfo: an ID token that comes with an access token has the subject only.
  claims: { openid: ["sub"], s3: ["policy"] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, policy: "readwrite" }) }),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client) => (client.clientId === "certified" ? "urn:minio-gw" : undefined),
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "s3",
        audience: "urn:minio-gw",
        accessTokenTTL: 1200,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: (ctx, token) => ({ policy: "readwrite", azp: token.clientId }),
});

provider.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(`listening ${issuer}`));
