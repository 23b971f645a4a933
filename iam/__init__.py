"""Who may do what. Knows nothing of HTTP servers or of S3's wire codes.

model      the words: Credentials, Principal, AccessRequest, Allow, Deny
policy, conditions, evaluate    IAM policy documents: parse, say exactly what is wrong, decide
authorize, opa    Authorizer = AllOf(session policy, OPA | IAM policies); no answer is a denial
store, embedded, etcd    where sessions and revocations live: one SQLite file, or etcd for many gateways
keys, codec       how a record is named and written there
view, watch       the immutable IamView, swapped whole as the store changes
"""
