# METADATA
# description: |
#   MinIO's sample of 2018 and 2022 for Rego v1, at the URL those set-ups know: /v1/data/httpapi/authz.
#   The owner may all; everybody else what the policies named in the token's `policy` claim grant; nothing by default.
#   The claim is a list, or a string of names between commas. An unknown name grants nothing.
package httpapi.authz

default allow := false

allow if input.owner == true

allow if {
	some name in names
	some pattern in granted[name]
	glob.match(pattern, null, input.action)
}

# What each policy name grants. Narrower than MinIO's readwrite (s3:*): making buckets public is not writing.
granted := {
	"readonly": {"s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"},
	"writeonly": {"s3:PutObject"},
	"readwrite": {
		"s3:AbortMultipartUpload",
		"s3:CreateBucket",
		"s3:DeleteObject",
		"s3:GetBucketLocation",
		"s3:GetObject",
		"s3:GetObjectTagging",
		"s3:ListAllMyBuckets",
		"s3:ListBucket",
		"s3:ListBucketMultipartUploads",
		"s3:ListMultipartUploadParts",
		"s3:PutObject",
		"s3:PutObjectTagging",
	},
	"consoleAdmin": {"admin:*", "s3:*"},
}

names contains trim_space(part) if {
	is_string(input.claims.policy)
	some part in split(input.claims.policy, ",")
}

names contains name if {
	is_array(input.claims.policy)
	some name in input.claims.policy
}
