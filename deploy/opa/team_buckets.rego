# METADATA
# description: |
#   Buckets of teams: a group of the token's `groups` claim opens the buckets whose names begin with its prefixes, to
#   requests from our networks. Members of `readers` read only, whatever their other groups say. The owner may all from
#   anywhere. Ask it at /v1/data/team_buckets; the tables below are yours to change.
package team_buckets

default allow := false

allow if input.owner == true

allow if {
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

readers := "readers"

networks := {"10.0.0.0/8", "192.168.0.0/16", "fd00::/8"}

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

permitted := reading if readers in groups

permitted := reading | writing if not readers in groups

in_own_bucket if {
	some group in groups
	some prefix in prefixes[group]
	startswith(input.bucket, prefix)
}

# One address and no other: two values would mean that somebody else wrote one of them.
from_our_networks if {
	[address] := input.conditions.SourceIp
	some network in networks
	net.cidr_contains(network, trim(address, "[]"))
}
