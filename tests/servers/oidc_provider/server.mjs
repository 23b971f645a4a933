// The certified npm oidc-provider with one client_credentials client; prints its issuer when it listens.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[3] + "/package.json");
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);
const issuer = `http://127.0.0.1:${process.argv[2]}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "certified",
      client_secret: "certified-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  scopes: ["s3"],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:minio-gw",
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
