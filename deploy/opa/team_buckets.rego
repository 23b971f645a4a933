# METADATA
# description: |
#   Buckets of teams: a group of the token's `groups` claim opens the buckets whose names begin with its prefixes, to
#   requests from our networks, as long as the session lives. A service has no groups, so its client (`azp`) has some.
#   Members of `readers`, and tokens whose `policy` claim names `readonly`, read only, whatever else they say. The owner
#   may all from anywhere. Ask it at /v1/data/team_buckets; the tables below are yours to change.
#
#   A copy is two questions, s3:PutObject on the target and s3:GetObject on the source; DeleteObjects is one per key.
package team_buckets

default allow := false

allow if input.owner == true

allow if {
	input.account != ""
	alive
	from_our_networks
	in_own_bucket
	input.action in permitted
}

# Written out, not made from the group's name: else group "bio" would open group "bio-secret"'s "bio-secret-1".
# A prefix ends with its separator for the same reason.
prefixes := {
	"genomics": {"genomics-"},
	"imaging": {"imaging-", "scans-"},
}

# Only clients that get tokens for themselves: a user's token names the client he came through, too.
clients := {"s3-nightly": {"imaging", "readers"}}

readers := "readers"

networks := {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"}

reading := {
	"s3:GetBucketLocation",
	"s3:GetObject",
	"s3:GetObjectTagging",
	"s3:GetObjectVersion",
	"s3:ListBucket",
	"s3:ListBucketVersions",
}

writing := {
	"s3:AbortMultipartUpload",
	"s3:DeleteObject",
	"s3:ListBucketMultipartUploads",
	"s3:ListMultipartUploadParts",
	"s3:PutObject",
	"s3:PutObjectTagging",
}

groups contains group if {
	is_array(input.claims.groups)
	some group in input.claims.groups
}

groups contains group if some group in clients[input.claims.azp]

permitted := reading if read_only

permitted := reading | writing if not read_only

read_only if readers in groups

read_only if {
	is_string(input.claims.policy)
	some name in split(input.claims.policy, ",")
	trim_space(name) == "readonly"
}

read_only if {
	is_array(input.claims.policy)
	"readonly" in input.claims.policy
}

# The gateway's clock, which judged the signature. Rego orders every string after every number: hence is_number.
alive if {
	[epoch] := input.conditions.EpochTime
	is_number(input.claims.exp)
	regex.match(`^[0-9]+$`, epoch)
	input.claims.exp > to_number(epoch)
}

in_own_bucket if {
	some group in groups
	some prefix in prefixes[group]
	startswith(input.bucket, prefix)
}

# One address and no other: two values would mean that somebody else wrote one of them.
from_our_networks if {
	[address] := input.conditions.SourceIp
	plain := trim(address, "[]")
	net.cidr_is_valid(concat("/", [plain, "32"]))
	some network in networks
	net.cidr_contains(network, plain)
}
